"""A few seeded tries of `python -m benchmarks.faults`: what a fault interrupts goes on, with no row lost or doubled."""

from __future__ import annotations

import contextlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import fault_job, faults

pytestmark = pytest.mark.slow

TRIES = {
    "launching process killed": 3,
    "disk full": 2,
    "output turns read-only": 2,
    "permission denied": 2,
    "shard vanishes": 2,
    "store answers 500": 2,
    "worker process killed": 2,
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    with contextlib.closing(faults.Stages(tmp_path_factory.mktemp("stages"))) as stages:
        yield stages


@pytest.mark.parametrize(
    ("fault", "number"), [(name, number) for name, tries in TRIES.items() for number in range(tries)]
)
def test_a_disturbed_run_goes_on_to_the_same_bytes(stages, fault, number):
    job = stages.job(fault, 0)
    try:
        result = faults.attempt(job, fault, 1, number)
    except faults.UnavailableError as reason:
        pytest.skip(f"{fault}: {reason}")
    assert result == {"recovered": True, "lost": 0, "doubled": 0, "wrong": []}


def part(shard: str, rows: range) -> bytes:
    """Returns a part with only the columns that tell its rows apart."""
    stream = io.BytesIO()
    columns = {"shard": [shard] * len(rows), "index": list(rows), "target_rank": [0] * len(rows)}
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def test_what_is_lost_doubled_or_half_written_is_found(tmp_path):
    job = fault_job.Job(fault_job.Bucket(tmp_path), str(tmp_path / "nothing"), tmp_path)
    one, other, statistics = (
        "attributions/part-a.parquet",
        "attributions/part-b.parquet",
        "statistics/statistics.parquet",
    )
    job.files = {one: part("0", range(4)), other: part("1", range(4)), statistics: b"sums", "manifest.json": b"{}"}
    lacking = {name: data for name, data in job.files.items() if name != one}
    assert job.lost_and_doubled(job.files) == (0, 0)
    assert job.lost_and_doubled(lacking) == (4, 0)
    assert job.half_visible(lacking) == ["manifest.json"]
    assert job.lost_and_doubled({**job.files, "attributions/part-c.parquet": job.files[one]}) == (0, 4)
    assert job.lost_and_doubled({**job.files, one: job.files[other]}) == (4, 4)
    assert job.half_visible({one: job.files[one][:-1]}) == [one]
    assert job.half_visible({one: job.files[one]}) == []
    assert job.same(job.files) and not job.same(lacking)
    assert not job.same({**job.files, statistics: b"sun"})
    assert not job.same({**job.files, "attributions/.ig-audit-1.tmp": b""})
