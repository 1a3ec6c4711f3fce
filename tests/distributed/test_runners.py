"""The job on every engine: the same bytes as in one process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.distributed.cluster import free_port
from support.distributed.engines import UnavailableError
from support.distributed.runners import RUNNERS, services, start_portable
from tests.pipeline.job import pictures, png, run
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms.store.lock import LOCK

pytestmark = pytest.mark.distributed

COUNTS = (5, 8)  # of two shards
CHUNK = 2
LOCAL, *OTHERS = [name for name in RUNNERS if "Flink" not in name]  # which has tests of its own


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("inputs")
    images = [png(picture) for picture in pictures(sum(COUNTS))]
    inputs = []
    for name, part in (("first", images[: COUNTS[0]]), ("second", images[COUNTS[0] :])):
        (folder / name).mkdir()
        inputs.append(str(write_shard(folder / name, "tfrecord", part, [len(image) % 5 for image in part])))
    shaping = {"rule": "midpoint", "steps": 20, "dtype": "float32", "chunk_images": CHUNK}
    return {"input": inputs, "model": smooth(folder / "model"), **shaping}


@pytest.fixture(scope="module")
def reference(tmp_path_factory, options) -> dict[str, bytes]:
    """What the run in this one process stored."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    with RUNNERS[LOCAL]({}) as flags:
        assert run(folder, *flags, **options) == 0
    return stored(folder)


def stored(folder: Path) -> dict[str, bytes]:
    """Returns rows and statistics, byte for byte, by their names."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/*.parquet"))}


def test_the_reference_is_not_trivial(reference):
    assert sorted(name.partition("/")[0] for name in reference) == [
        *["attributions"] * sum(-(-count // CHUNK) for count in COUNTS),
        "statistics",
    ]
    assert len(set(reference.values())) == len(reference)


@pytest.mark.parametrize("name", OTHERS)
def test_every_runner_stores_the_same_bytes(tmp_path, options, reference, name):
    try:
        with RUNNERS[name]({}) as flags:
            assert run(tmp_path / "run", *flags, **options) == 0
    except UnavailableError as error:
        pytest.skip(str(error))
    assert stored(tmp_path / "run") == reference
    assert (tmp_path / "run" / "manifest.json").exists()
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_submitted_job_goes_on_alone_on_its_workers(tmp_path, options, reference, capsys):
    with services() as own:
        flags = [*start_portable(own, {}), "--no_wait_until_finish"]
        assert run(tmp_path / "run", *flags, **options) == 0
        assert "submitted" in capsys.readouterr().out
        held = (tmp_path / "run" / LOCK).exists()
        finished = (tmp_path / "run" / "manifest.json").exists()
        assert held or finished
        assert finished or run(tmp_path / "run", "--resume", **options) == 2, "two runs in one directory"
        own.wait_for("manifest", (tmp_path / "run" / "manifest.json").exists)
        end = time.monotonic() + 10
        while (tmp_path / "run" / LOCK).exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert "Starting worker" in own.log("workers")
    assert stored(tmp_path / "run") == reference
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_job_server_that_does_not_answer_is_named_and_leaves_nothing(tmp_path, options, capsys):
    nobody = f"--job_endpoint=localhost:{free_port()}"
    assert run(tmp_path / "run", "--runner=PortableRunner", nobody, "--job_server_timeout=1", **options) == 1
    assert "--job_endpoint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
