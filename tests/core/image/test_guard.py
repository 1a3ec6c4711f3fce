"""An image that ruins its decoder costs itself: a DecodeError, no process left, and the next image is fine."""

from __future__ import annotations

import functools
import gc
import io
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest

from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from transforms.core.explain import attributor
from transforms.core.explain.settings import Settings
from transforms.core.image import guard_process
from transforms.core.image.arrays import to_npy
from transforms.core.image.decode import DecodeError, Decoding, decode, decode_mask
from transforms.core.image.guard import Guards
from transforms.core.model import classifier
from transforms.core.record import Explanation, Failure, Image
from transforms.core.vocabulary import IMAGE_FORMATS, MAX_PIXELS, RESIZES

ROOT = Path(__file__).parents[3]
SIZE = (24, 40)
MEMORY = 256 << 20
HOSTILE = functools.partial(Guards, decoder="tests.hostile_decoder", memory=MEMORY, seconds=1.0)


@pytest.fixture
def guards() -> Iterator[Guards]:
    made = HOSTILE(2)
    yield made
    made.close()


def children() -> set[int]:
    """Returns the child processes of this one, zombies too."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("resize", RESIZES)
def test_pixels_are_those_of_decode(resize):
    how = Decoding(resize)
    with closing(HOSTILE(1, how)) as guards:
        for format in IMAGE_FORMATS:
            for picture in pictures(2, size=60):
                stream = io.BytesIO()
                PIL.Image.fromarray(picture).save(stream, format)
                found, expected = guards.decode(stream.getvalue(), SIZE), decode(stream.getvalue(), SIZE, how)
                np.testing.assert_array_equal(found.array, expected.array)
                assert (found.height, found.width, found.mask) == (expected.height, expected.width, None)
                assert expected.array.any()


@pytest.mark.parametrize(
    ("how", "array"),
    [
        (Decoding(channels=1), np.arange(12, dtype=np.uint8).reshape(3, 4)),
        (Decoding(channels=13, value_range=(-1.5, 90)), np.arange(78, dtype=np.float32).reshape(2, 3, 13)),
        (Decoding("crop", alpha_color=(9, 0, 255), value_range=(0, 4095)), np.full((5, 5), 99, np.int16)),
    ],
)
def test_channels_and_ranges_arrive(how, array):
    with closing(HOSTILE(1, how)) as guards:
        found, expected = guards.decode(to_npy(array), SIZE), decode(to_npy(array), SIZE, how)
        np.testing.assert_array_equal(found.array, expected.array)
        assert found.array.shape == (*SIZE, how.channels) and found.array.any()


def test_damaged_pictures_of_every_format_neither_crash_nor_hang_a_guard():
    generator, seeds = np.random.default_rng(0), [to_npy(pictures(1, size=20)[0].astype(np.float16))]
    for format in IMAGE_FORMATS:
        stream = io.BytesIO()
        PIL.Image.fromarray(pictures(1, size=20)[0]).save(stream, format)
        seeds.append(stream.getvalue())
    how, decoded = Decoding(max_pixels=1 << 20, value_range=(-2e5, 2e5)), 0
    with closing(Guards(1, how, seconds=10.0)) as guards:
        guards.decode(seeds[-1], SIZE)
        before = children()
        for seed in seeds:
            for _ in range(25):
                data = bytearray(seed)
                for position in generator.integers(0, len(data), generator.integers(1, 4)):
                    data[position] = generator.integers(0, 256)
                try:
                    found = guards.decode(bytes(data[: min(len(data), generator.integers(4 * len(data)))]), SIZE)
                except DecodeError as error:
                    assert not re.search(r"crashed|took more than", str(error))
                else:
                    decoded += 1
                    assert np.isfinite(found.array).all()
        assert children() == before and decoded > 50


def test_every_choice_of_a_decoding_arrives():
    for how in (Decoding(), Decoding("crop", 2**40, 13, (1, 2, 255), (-0.1, 1e300))):
        head = guard_process.request(True, (2, 3), (4, 5), how, 2**33)
        assert len(head) == guard_process.REQUEST.size
        assert guard_process.parse_request(head) == (True, (2, 3), (4, 5), how, 2**33)


def test_more_pixels_than_pillow_allows_by_itself_are_a_matter_of_max_pixels():
    """Of one bit each, and as a mask, so that they are decoded soon; Pillow checks a TIFF again when it loads it."""
    stream = io.BytesIO()
    PIL.Image.new("1", (13_500, 13_500), 1).save(stream, "TIFF")
    assert 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0) < 13_500**2
    with closing(Guards(1, Decoding(max_pixels=13_500**2))) as guards:
        assert guards.decode_mask(stream.getvalue(), (20, 20), (8, 8)).all()
    with closing(Guards(1, Decoding(max_pixels=13_500**2 - 1))) as guards:
        for decode_one in (guards.decode, lambda data, size: guards.decode_mask(data, (20, 20), size)):
            with pytest.raises(DecodeError, match=r"13500 x 13500 is more than the 182249999 .*\(max_pixels\)"):
                decode_one(stream.getvalue(), (8, 8))


def test_text_beside_the_pixels_is_limited_by_memory_only():
    stream, about = io.BytesIO(), PIL.PngImagePlugin.PngInfo()
    about.add_text("long", "x" * (3 << 20), zip=True)
    about.add_text("bomb", "x" * (90 << 20), zip=True)
    picture = PIL.Image.fromarray(pictures(1)[0])
    picture.save(stream, "PNG", pnginfo=about)
    with closing(Guards(1)) as guards:
        found = guards.decode(stream.getvalue(), SIZE)
    np.testing.assert_array_equal(found.array, decode(png(pictures(1)[0]), SIZE).array)
    with closing(Guards(1, memory=50 << 20)) as guards, pytest.raises(DecodeError, match="takes more memory"):
        guards.decode(stream.getvalue(), SIZE)


def test_more_pixels_may_take_longer(monkeypatch):
    monkeypatch.setattr("transforms.core.image.guard.DECODE_SECONDS", 0.3)
    for max_pixels, seconds in ((1, "0.3"), (MAX_PIXELS * 3, "0.9")):
        guards = Guards(1, Decoding(max_pixels=max_pixels), decoder="tests.hostile_decoder")
        with closing(guards), pytest.raises(DecodeError, match=rf"took more than {seconds} s"):
            guards.decode(b"sleep", SIZE)


def test_a_mask_is_that_of_decode_mask(guards):
    inside = np.zeros([30, 50], np.uint8)
    inside[5:20, 10:45] = 255
    stream = io.BytesIO()
    PIL.Image.fromarray(inside).save(stream, "PNG")
    found = guards.decode_mask(stream.getvalue(), (60, 100), SIZE)
    np.testing.assert_array_equal(found, decode_mask(stream.getvalue(), (60, 100), SIZE))
    assert found.dtype == bool and 0 < found.sum() < found.size


def test_what_decode_refuses_is_refused_in_the_same_words(guards):
    for data in (b"", b"no image", png(pictures(1)[0])[:60]):
        with pytest.raises(DecodeError) as expected:
            decode(data, SIZE)
        with pytest.raises(DecodeError) as found:
            guards.decode(data, SIZE)
        assert str(found.value) == str(expected.value)
    with pytest.raises(DecodeError, match="more than the 50 pixels allowed"):
        HOSTILE(1, Decoding(max_pixels=50)).decode(png(pictures(1)[0]), SIZE)
    with pytest.raises(DecodeError, match=r"^mask: empty"):
        guards.decode_mask(b"", SIZE, SIZE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"loop", r"took more than 1 s"),
        (b"sleep", r"took more than 1 s"),
        (b"segv", r"crashed \(SIGSEGV\)"),
        (b"abort", r"crashed \(SIGABRT\)"),
        (b"exit", r"crashed \(exit code 3\)"),
        (b"raise", r"crashed \(exit code 1\)"),
        (b"small", r"crashed"),
        (b"grow", r"takes more memory"),
    ],
)
def test_a_hostile_image_costs_itself(guards, data, message):
    good = png(pictures(1)[0])
    before = children()
    for _ in range(2):
        with pytest.raises(DecodeError, match=message):
            guards.decode(data, SIZE)
        np.testing.assert_array_equal(guards.decode(good, SIZE).array, decode(good, SIZE).array)
    assert len(children() - before) == 1, "one guard, and none that is dead"
    guards.close()
    assert children() <= before


def test_one_that_ignores_its_alarm_is_killed(guards, monkeypatch):
    monkeypatch.setattr("transforms.core.image.guard._GRACE", 0.2)
    with pytest.raises(DecodeError, match="took more than 1 s"):
        guards.decode(b"deaf", SIZE)
    assert guards.decode(png(pictures(1)[0]), SIZE).array.any()


def test_a_hostile_mask_is_called_one(guards):
    with pytest.raises(DecodeError, match=r"^mask: .*SIGSEGV"):
        guards.decode_mask(b"segv", SIZE, SIZE)


def test_a_guard_that_something_else_kills_costs_no_image(guards, tmp_path):
    assert guards.decode(b"once " + os.fsencode(tmp_path / "seen"), SIZE).array.mean() == 0.5
    pid = guards.decode(b"pid", SIZE).height
    os.kill(pid, signal.SIGKILL)
    assert guards.decode(b"pid", SIZE).height not in (pid, os.getpid())


def test_what_a_decoder_prints_goes_nowhere(guards, capfd):
    good = png(pictures(1)[0])
    np.testing.assert_array_equal(guards.decode(b"print " + good, SIZE).array, decode(good, SIZE).array)
    assert capfd.readouterr() == ("", "")


def test_threads_get_their_own_answers(guards):
    data = [png(picture) for picture in pictures(40)]
    data[7], data[23] = b"segv", b"exit"

    def outcome(item: bytes) -> np.ndarray | None:
        try:
            return guards.decode(item, SIZE).array
        except DecodeError:
            return None

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(outcome, data))
    for index, (item, array) in enumerate(zip(data, found, strict=True)):
        if index in (7, 23):
            assert array is None
        else:
            np.testing.assert_array_equal(array, decode(item, SIZE).array)


def test_guards_end_with_their_owner():
    made = HOSTILE(1)
    pid = made.decode(b"pid", SIZE).height
    assert alive(pid)
    del made
    gc.collect()
    assert wait_until(lambda: not alive(pid))
    assert pid not in children()


PARENT = """
import os, sys, threading, time
from transforms.core.image.guard import Guards
guards = Guards(2, decoder="tests.hostile_decoder", seconds=2.0)
print(guards.decode(b"pid", (8, 8)).height, flush=True)
if sys.argv[1] == "forked":
    child = os.fork()  # holds the pipes open
    if child:
        print(child, flush=True)
    else:
        time.sleep(60)
        os._exit(0)
if sys.argv[1] == "hung":
    threading.Thread(target=guards.decode, args=(b"loop", (8, 8)), daemon=True).start()
if sys.argv[1] == "ends":
    sys.exit()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["ends", "idle", "hung", "forked"])
def test_a_guard_doesnt_outlive_its_parent(how):
    with subprocess.Popen([sys.executable, "-c", PARENT, how], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = int(parent.stdout.readline()) if how == "forked" else None
        if how != "ends":
            assert parent.stdout.readline() == "ready\n" and alive(pid)
            time.sleep(0.5)
            parent.kill()
        try:
            assert wait_until(lambda: not alive(pid))
        finally:
            if child:
                os.kill(child, signal.SIGKILL)


FORK = """
import os
from transforms.core.image.guard import Guards
guards = Guards(1, decoder="tests.hostile_decoder")
mine = guards.decode(b"pid", (8, 8)).height
child = os.fork()
if not child:
    os._exit(guards.decode(b"pid", (8, 8)).height == mine)
assert os.waitpid(child, 0)[1] == 0, "the child asked its parent's guard"
assert guards.decode(b"pid", (8, 8)).height == mine
"""


def test_a_forked_process_has_guards_of_its_own():
    subprocess.run([sys.executable, "-W", "error", "-c", FORK], cwd=ROOT, check=True, timeout=60)


LIMITED = """
import resource, sys
from transforms.core.image.arrays import to_npy
from transforms.core.image.decode import DecodeError
from transforms.core.image.guard import Guards
soft, hard, memory = (int(size) << 20 for size in sys.argv[1:])
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
guards = Guards(1, decoder="tests.hostile_decoder", memory=memory)
pid = guards.decode(b"pid", (8, 8)).height
with open(f"/proc/{pid}/statm") as statm:
    now = int(statm.read().split()[0]) * resource.getpagesize()
print(now >> 20, *(size >> 20 for size in resource.prlimit(pid, resource.RLIMIT_AS)))
try:
    guards.decode(b"grow", (8, 8))
except DecodeError as error:
    print(error)
"""


@pytest.mark.parametrize(("soft", "hard", "memory"), [(9000, 9000, 100), (700, 9000, 5000)])
def test_a_guard_is_limited_below_a_finite_hard_limit(soft, hard, memory):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(soft), str(hard), str(memory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    sizes, message = done.stdout.splitlines()
    now, found, kept = map(int, sizes.split())
    assert kept == hard
    assert found == soft if soft < now + memory else now < found <= now + memory
    assert "takes more memory" in message


def test_a_limit_that_cannot_be_set_is_an_error_where_there_are_limits(monkeypatch):
    def refuse(kind, limits):
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(ValueError, match="not allowed"):
        guard_process._limit(MEMORY)
    set_limits = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: set_limits.append(kind))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(sys, "platform", "darwin")
    guard_process._limit(MEMORY)
    assert set_limits == [resource.RLIMIT_CORE]


def test_a_guard_that_cant_start_is_no_fault_of_the_image():
    with pytest.raises(RuntimeError, match="cannot be started"):
        Guards(1, decoder="no.such.module").decode(png(pictures(1)[0]), SIZE)


def test_images_that_ruin_the_decoder_are_error_rows_among_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(attributor, "Guards", HOSTILE)
    model = classifier.load(smooth(tmp_path / "smooth"))
    made = attributor.Attributor(model, Settings(rule="midpoint", steps=4), batch_size=8)
    words = {3: b"segv", 4: b"loop", 9: b"grow", 12: b"abort"}
    images = [Image(f"i{n}", "s", n, words.get(n) or png(picture)) for n, picture in enumerate(pictures(16))]
    outcomes = list(made.attribute(images))
    failed = {outcome.index: outcome for outcome in outcomes if isinstance(outcome, Failure)}
    assert {(n, failure.stage, failure.error) for n, failure in failed.items()} == {
        (n, "decode", "DecodeError") for n in words
    }
    monkeypatch.undo()
    direct = attributor.Attributor(model, Settings(rule="midpoint", steps=4), batch_size=8)
    expected = list(direct.attribute([image for image in images if image.index not in words]))
    found = [outcome for outcome in outcomes if isinstance(outcome, Explanation)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.pixels.array, other.pixels.array)


def test_a_guard_whose_parent_is_gone_ends_without_a_word():
    read, write = os.pipe()
    os.close(read)
    start = "import sys; from transforms.core.image.guard_process import main; main(sys.argv[1:])"
    arguments = ["transforms.core.image.decode", "60", str(1 << 30), str(os.getpid())]
    done = subprocess.run(
        [sys.executable, "-c", start, *arguments], stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
