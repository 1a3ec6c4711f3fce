"""Chunks of a run → explanations of chosen pictures, one after the other, whatever parts they come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.refine.choose import Picture, Task
from transforms import formats
from transforms.core.record import Asked, Chunk, Explanation, Failure, Image
from transforms.formats import STANDS_FOR, ReadOptions
from transforms.store.parts import read_footer
from transforms.store.run import Run

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor


def explain(
    run: Run, tasks: Sequence[Task], options: ReadOptions, attributor: Attributor
) -> Iterator[Explanation | Failure]:
    """Yields what becomes of the pictures of `tasks`: of those of a task, one after another, as many as it has.

    Raises:
        UnavailableError: the storage fails.
    """
    classes = max(1, attributor.classifier.classes)
    images = (_read(_chunk_of(run, task), task.pictures, options, classes) for task in tasks)
    yield from attributor.attribute(itertools.chain.from_iterable(images))


def _chunk_of(run: Run, task: Task) -> Chunk:
    return read_footer(run.uri_of(task.part.attributions.name)).chunk


def _read(chunk: Chunk, pictures: Sequence[Picture], options: ReadOptions, classes: int) -> Iterator[Asked | Failure]:
    """Yields each of some pictures of a chunk once, as it is read or, last, as a failure if it is not there."""
    left = {picture.image_id: picture for picture in pictures}
    reason = ("MissingError", "the shard holds no such picture any more")
    for item in formats.read(chunk, options):
        if isinstance(item, Image) and item.id in left:
            yield _ask(item, left.pop(item.id), classes)
        elif isinstance(item, Failure) and item.image_id in left:
            del left[item.image_id]
            yield item
        elif isinstance(item, Failure):
            reason = (item.error, item.message.partition(STANDS_FOR)[0])
        if not left:
            return
    for picture in left.values():
        yield Failure(picture.image_id, chunk.shard, picture.first["index"], "read", *reason)


def _ask(image: Image, picture: Picture, classes: int) -> Asked | Failure:
    if all(0 <= target < classes for target in picture.targets):
        return Asked(image, picture.targets)
    message = f"the run's row explains class {max(picture.targets)}, and the model has {classes}"
    return Failure(image.id, image.shard, image.index, "target", "NoTargetError", message)
