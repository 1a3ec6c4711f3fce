"""Reads PyTorch's legacy checkpoints as NumPy arrays, without PyTorch and without running their code.

The layout (`torch/serialization.py`, `_legacy_save`) is a sequence of pickles, then raw data:

    magic number | protocol | system info | state dict | list of storage keys | for each key: int64 count, elements

A pickle is a program that may call any function that it names. This reader resolves only a short list of names:
the ordered dictionary; the tensor rebuilder, which it replaces with a dataclass; and the
storage types, which stand for element types.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ELEMENT_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


class CheckpointError(ValueError):
    """The file is not a legacy checkpoint, is damaged, or names something that may not be loaded."""


def read_legacy_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the tensors of the state dict at `path`, by name, in the file's order and element types.

    Raises:
        CheckpointError: the file is not a legacy checkpoint, is damaged, or names something that may not be loaded;
            nothing was executed.
        FileNotFoundError: there is no such file.
    """
    with open(path, "rb") as stream:
        try:
            tensors = _read_state_dict(stream)
            storages = _read_storages(stream, {tensor.storage.key: tensor.storage for tensor in tensors.values()})
            return {name: tensor.array(storages[tensor.storage.key]) for name, tensor in tensors.items()}
        except CheckpointError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from error
        except Exception as error:  # a damaged pickle may raise almost any exception
            raise CheckpointError(f"{os.fspath(path)}: not a readable legacy checkpoint ({error!r})") from error


@dataclass(frozen=True)
class _Storage:
    key: str
    element_type: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, elements: np.ndarray) -> np.ndarray:
        """Returns the tensor as a view of its storage; NumPy refuses views beyond it."""
        width = elements.itemsize
        strides = tuple(width * stride for stride in self.strides)
        return np.ndarray(self.shape, elements.dtype, elements, width * self.offset, strides)


class _Unpickler(pickle._Unpickler):
    """Resolves no name at all.

    The unpickler in Python, whose memo is a dict: in the one in C, a single hostile index allocates gigabytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        raise CheckpointError(f"the pickle names {module}.{name}, which may not be loaded")


class _StateDictUnpickler(_Unpickler):
    """Resolves only the names of which a state dict consists."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _ELEMENT_TYPES:
            return _ELEMENT_TYPES[name]
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        kind, element_type, key, _location, count, view = pid
        if kind != "storage" or view is not None or element_type not in _ELEMENT_TYPES.values():
            raise CheckpointError(f"unknown persistent id {pid!r}")
        return _Storage(key, element_type, count)


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_gradient_state: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _read_state_dict(stream: IO[bytes]) -> dict[str, _Tensor]:
    if _Unpickler(stream).load() != _MAGIC:
        raise CheckpointError("no magic number")
    if (protocol := _Unpickler(stream).load()) != _PROTOCOL:
        raise CheckpointError(f"protocol {protocol!r} instead of {_PROTOCOL}")
    if not (system := _Unpickler(stream).load())["little_endian"]:
        raise CheckpointError(f"written on a big-endian machine: {system!r}")
    state = _StateDictUnpickler(stream).load()
    if not isinstance(state, Mapping):
        raise CheckpointError(f"holds a {type(state).__name__} instead of a state dict")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor) or not isinstance(tensor.storage, _Storage):
            raise CheckpointError(f"{name!r} is not a tensor")
    return dict(state)


def _read_storages(stream: IO[bytes], declared: Mapping[str, _Storage]) -> dict[str, np.ndarray]:
    keys = _Unpickler(stream).load()
    if sorted(keys) != sorted(declared):
        raise CheckpointError("the storages listed are not those that the tensors use")
    return {key: _read_elements(stream, declared[key]) for key in keys}


def _read_elements(stream: IO[bytes], storage: _Storage) -> np.ndarray:
    dtype = np.dtype(storage.element_type)
    if int.from_bytes(stream.read(8), "little", signed=True) != storage.count:
        raise CheckpointError(f"storage {storage.key} does not hold the {storage.count} elements that it declares")
    length = storage.count * dtype.itemsize
    if length > os.fstat(stream.fileno()).st_size - stream.tell():
        raise CheckpointError(f"storage {storage.key} is cut off")
    return np.frombuffer(stream.read(length), dtype)
