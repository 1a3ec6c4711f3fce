"""The restricted checkpoint reader, on files put together from pickle opcodes, as PyTorch is not here to write them."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.samples.legacy_checkpoint import CheckpointError, read_legacy_checkpoint

MAGIC, PROTOCOL, SYSTEM, STATE, KEYS = range(5)
ELEMENTS = np.arange(10, dtype="<f4")


def body(value: Any) -> bytes:
    """Returns the opcodes that push `value`, without a pickle's head and end."""
    return pickle.dumps(value, 2)[2:-1]


def global_name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def tensor(shape: tuple, strides: tuple, offset: int = 0, storage: str = "FloatStorage", count: int = 10) -> bytes:
    identifier = b"(" + body("storage") + global_name("torch", storage) + body("7") + body("cpu") + body(count) + b"Nt"
    hooks = global_name("collections", "OrderedDict") + b")R"
    arguments = b"(" + identifier + b"Q" + body(offset) + body(shape) + body(strides) + body(False) + hooks + b"t"
    return global_name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def state_dict(**tensors: bytes) -> bytes:
    items = b"".join(body(name) + opcodes for name, opcodes in tensors.items())
    return b"\x80\x02" + global_name("collections", "OrderedDict") + b")R(" + items + b"u."


def checkpoint(state: bytes | None = None, replace: dict[int, bytes] | None = None) -> bytes:
    """Returns a checkpoint whose only storage holds `ELEMENTS`, with some of its five pickles replaced."""
    pickles = {
        MAGIC: pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        PROTOCOL: pickle.dumps(1001, 2),
        SYSTEM: pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2),
        STATE: state or state_dict(weight=tensor((2, 3), (3, 1), offset=4)),
        KEYS: pickle.dumps(["7"], 2),
    } | (replace or {})
    return b"".join(pickles.values()) + struct.pack("<q", ELEMENTS.size) + ELEMENTS.tobytes()


def read(folder: Path, content: bytes) -> dict[str, np.ndarray]:
    path = folder / "weights.pth"
    path.write_bytes(content)
    return read_legacy_checkpoint(path)


def test_tensors_are_views_of_their_storage(tmp_path: Path) -> None:
    state = state_dict(rows=tensor((2, 3), (3, 1), offset=4), columns=tensor((3, 2), (1, 3)), scalar=tensor((), (), 9))
    tensors = read(tmp_path, checkpoint(state))
    assert list(tensors) == ["rows", "columns", "scalar"]
    np.testing.assert_array_equal(tensors["rows"], [[4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(tensors["columns"], [[0, 3], [1, 4], [2, 5]])
    assert tensors["scalar"] == 9


class Evil:
    """Pickles into a call of `os.mkdir`: loading it leaves a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_the_malicious_pickle_works_where_pickle_is_not_restricted(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran"), 2))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("position", [MAGIC, PROTOCOL, SYSTEM, STATE, KEYS])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_wherever_it_stands(tmp_path: Path, position: int, protocol: int) -> None:
    content = checkpoint(replace={position: pickle.dumps(Evil(tmp_path / "ran"), protocol)})
    with pytest.raises(CheckpointError, match=r"names posix\.mkdir, which may not be loaded"):
        read(tmp_path, content)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "namedtuple"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch.FloatStorage", "__class__"),
    ],
)
def test_names_off_the_list_are_refused(tmp_path: Path, module: str, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"names {module}.{name}"):
        read(tmp_path, checkpoint(b"\x80\x02" + global_name(module, name) + b"."))


@pytest.mark.parametrize("position", [MAGIC, PROTOCOL, SYSTEM, KEYS])
def test_only_the_state_dict_may_hold_tensors(tmp_path: Path, position: int) -> None:
    with pytest.raises(CheckpointError, match=r"names collections\.OrderedDict"):
        read(tmp_path, checkpoint(replace={position: state_dict(weight=tensor((1,), (1,)))}))


@pytest.mark.parametrize(
    "opcodes",
    [
        tensor((2, 6), (6, 1)),
        tensor((4,), (1,), offset=7),
        tensor((4,), (1,), offset=-1),
        tensor((2,), (-1,)),
        tensor((2, 2), (1 << 40, 1)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path: Path, opcodes: bytes) -> None:
    with pytest.raises(CheckpointError):
        read(tmp_path, checkpoint(state_dict(weight=opcodes)))


@pytest.mark.parametrize("count", [11, 1 << 60])
def test_a_storage_larger_than_the_file_is_refused(tmp_path: Path, count: int) -> None:
    content = checkpoint(state_dict(weight=tensor((1,), (1,), count=count)))
    declared = content[: -8 - ELEMENTS.nbytes] + struct.pack("<q", count) + ELEMENTS.tobytes()
    with pytest.raises(CheckpointError, match="cut off"):
        read(tmp_path, declared)
    with pytest.raises(CheckpointError, match="does not hold"):
        read(tmp_path, content)


def test_a_value_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'weight' is not a tensor"):
        read(tmp_path, checkpoint(state_dict(weight=body("text"))))


@given(length=st.integers(0, len(checkpoint()) - 1))
def test_a_truncated_file_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    with pytest.raises(CheckpointError):
        read(tmp_path_factory.getbasetemp(), checkpoint()[:length])


@given(position=st.integers(0, len(checkpoint()) - 1), value=st.integers(0, 255))
def test_a_damaged_byte_gives_arrays_or_a_checkpoint_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    content = bytearray(checkpoint())
    content[position] = value
    try:
        tensors = read(tmp_path_factory.getbasetemp(), bytes(content))
    except CheckpointError:
        return
    assert all(isinstance(array, np.ndarray) for array in tensors.values())
