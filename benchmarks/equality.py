"""How far each pass moves an attribution: `python -m benchmarks.equality [--model NAME] [--json FILE]`.

L1 distance from the plain path's attributions relative to their L1 norm, the worst of the eight sample
photographs: of the plain path at another batch size, of the plain path when each pixel moves to the next
larger float32, and of each pass alone. A ReLU lets rounding decide what it lets through, and a network
with random weights, which has nothing to say, answers by what rounding decides; the second row says how
much that is. `smooth` networks have no kinks, so that what remains is the pass's own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence

import numpy as np

from benchmarks.common import table, write_json
from support.attributions import BATCH, attributions, distance
from support.networks import NAMES, photographs, save_network


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the networks that the command line names and prints a table for each."""
    parser = argparse.ArgumentParser(prog="benchmarks.equality", description="what each pass does to attributions")
    parser.add_argument("--model", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--size", type=int, default=96, help="height and width of the input, but for Lite0")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    results = {}
    for name in options.model:
        columns = {"as it is": measure(name, options.size, smooth=False)}
        if name != "lite0":
            columns["smooth"] = measure(name, options.size, smooth=True)
        results[name] = columns
        print(f"\n{name}")
        print(
            table([{"changed": row, **{c: f"{v[row]:.1e}" for c, v in columns.items()}} for row in columns["as it is"]])
        )
    write_json(options.json, results)


def measure(name: str, size: int, smooth: bool) -> dict[str, float]:
    """Returns the largest relative L1 distance for each change that was made."""
    from transforms.core.model import classifier
    from transforms.core.model.options import ModelOptions
    from transforms.core.model.step import ALL, compile_step

    with tempfile.TemporaryDirectory() as folder:
        model = classifier.load(
            save_network(name, folder, size, smooth), ModelOptions(pixels="unit" if name == "lite0" else "signed")
        )
        images = photographs(model.input_shape[0])
        plain = compile_step(model, BATCH, ())
        reference = attributions(plain, images)
        found = {
            "batch size": attributions(plain.with_batch(BATCH // 2), images),
            "pixels, by one bit": attributions(plain, np.nextafter(images, np.float32(2))),
        }
        for passes in (("freeze",), *(("freeze", each) for each in ALL[1:]), ALL):
            step = compile_step(model, BATCH, passes)
            if all(entry.applied for entry in step.report if entry.name == passes[-1]) or passes == ALL:
                found["all passes" if passes == ALL else " + ".join(passes)] = attributions(step, images)
        return {change: distance(found[change], reference) for change in found}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    main()
