"""Call options: how TensorFlow may rewrite a function that is called here for the first time.

Its memory optimizer lets a sum of three or more tensors that come late accumulate in a variable, which all calls of a
function share: of two threads in one function, one then fails with `AlreadyExistsError`. Sums in pairs do not help, as
another optimizer joins them first. So the memory optimizer is left out, for our calls alone: a process has one setting
for all of its functions, and it is not ours.

Its remapper fuses convolutions with the sums behind them into kernels that threads cannot share (`passes.sums`); where
nothing else keeps them apart it is left out too, which costs about a sixth of the speed.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.eager import context


@contextlib.contextmanager
def without_shared_sums(fuse: bool = True) -> Iterator[None]:
    """Lets threads share the functions that are called inside; holds for the calling thread.

    Args:
        fuse: whether TensorFlow may fuse layers: only if no sum stands right behind a convolution.
    """
    eager = context.context()
    before = eager.function_call_options
    eager.function_call_options = _shareable(before.executor_type, before.config_proto_serialized, fuse)
    try:
        yield
    finally:
        eager.function_call_options = before


@functools.lru_cache(maxsize=16)
def _shareable(executor: str | None, serialized: bytes, fuse: bool) -> context.FunctionCallOptions:
    config = ConfigProto.FromString(serialized)
    config.graph_options.rewrite_options.memory_optimization = RewriterConfig.NO_MEM_OPT
    if not fuse:
        config.graph_options.rewrite_options.remapping = RewriterConfig.OFF
    return context.FunctionCallOptions(executor, config)
