"""What it costs to decode in a guard process: `python -m benchmarks.guard`.

Crops of the sample photographs, as JPEG, come to 224 × 224 directly and in a guard, and a few are attributed with the
sample model at 50 midpoint steps; the three take turns. Times are the processors', of this process and its guards: a
shared machine makes the wall's clock meaningless, and what a guard costs a job that keeps every core busy is work.
Start-up is both: the first picture's processor time, and how long it waited on the wall's clock.
"""

from __future__ import annotations

import argparse
import itertools
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.common import in_turns, table, write_json
from pipeline.samples.cache import build_model
from pipeline.samples.photographs import crops
from transforms import worker
from transforms.core.explain.settings import Settings
from transforms.core.image.decode import decode
from transforms.core.image.guard import Guards
from transforms.core.record import Image

SIZE = (224, 224)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser("python -m benchmarks.guard", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100, help="pictures decoded in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50, help="midpoint steps of an attributed picture")
    parser.add_argument("--attributed", type=int, default=4, help="pictures attributed in a turn")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    options = parser.parse_args(arguments)
    found = measure(options.images, options.turns, options.steps, options.attributed)
    print(table([found]))
    write_json(options.json, found)


def measure(count: int, turns: int, steps: int, attributed: int) -> dict[str, float]:
    """Returns medians over the turns: milliseconds of processor an image, start-up, and a guard's size."""
    data = [sample.data for sample in crops(count)]
    waits: list[float] = []
    starts: list[float] = []
    sizes: list[float] = []

    def guarded(images: Sequence[bytes]) -> None:
        guards = Guards(1)
        start = time.perf_counter()
        for number, image in enumerate(images):
            guards.decode(image, SIZE)
            if not number:
                waits.append(time.perf_counter() - start)
        sizes.append(_megabytes(guards))
        guards.close()

    def a_guarded_image() -> float:
        alone, all_of_them = (_worked(lambda n=n: guarded(data[:n])) for n in (1, count))
        starts.append(alone)
        return (all_of_them - alone) / (count - 1)  # less the start

    explain = _attribution(data[:attributed], steps)
    found = in_turns(
        {
            "direct, ms": lambda: _worked(lambda: [decode(image, SIZE) for image in data]) / count * 1e3,
            "guard, ms": lambda: a_guarded_image() * 1e3,
            f"{steps} steps, ms": lambda: _worked(explain) / attributed * 1e3,
        },
        turns,
    )
    cost = found["guard, ms"] - found["direct, ms"]
    return {
        **found,
        "cost, %": 100 * cost / found[f"{steps} steps, ms"],
        "start, ms": statistics.median(starts) * 1e3,
        "start on the clock, ms": statistics.median(waits) * 1e3,
        "a guard, MB": statistics.median(sizes),
    }


def _attribution(data: Sequence[bytes], steps: int) -> Callable[[], object]:
    """Returns what attributes all of `data`, compiled and warm, with the sample model."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(rule="midpoint", steps=steps)
        made = worker.attributor(worker.AttributorSpec(build_model(folder), settings=settings)).attributor
    images = [Image(str(index), "", index, content) for index, content in enumerate(data)]
    return lambda: list(made.attribute(images))


def _worked(call: Callable[[], object]) -> float:
    """Returns the processor seconds of a call, in this process and in children that it starts and ends."""

    def now() -> float:
        usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(itertools.chain.from_iterable((usage.ru_utime, usage.ru_stime) for usage in usages))

    start = now()
    call()
    return now() - start


def _megabytes(guards: Guards) -> float:
    """Returns what the idle guard has in memory for itself, shared libraries left out."""
    text = Path(f"/proc/{guards._idle[0]._process.pid}/smaps_rollup").read_text()
    return sum(int(value) for value in re.findall(r"Private_\w+:\s+(\d+)", text)) / 1e3


if __name__ == "__main__":
    main()
