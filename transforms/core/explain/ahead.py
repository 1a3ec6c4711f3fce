"""Work done ahead by threads, in order: images are decoded while earlier ones are attributed."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(threads: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """Yields `function(item)` in order, computed by `threads` up to `most` items early."""
    futures: collections.deque[Future[R]] = collections.deque()
    for item in items:
        futures.append(threads.submit(function, item))
        if len(futures) > most:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()
