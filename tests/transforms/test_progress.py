"""A gauge shows what all processes have told a meter, each line once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from transforms.progress import Gauge, Meter, Progress


def test_a_gauge_adds_up_what_processes_tell_while_it_reads(tmp_path):
    meter = Meter(str(tmp_path))
    gauge = Gauge(meter)
    assert gauge.read() == Progress(0, 0, 0, 0)
    meter.add(planned=9)
    meter.add(attributed=1)
    assert gauge.read() == Progress(9, 1, 0, 0)
    counts = "failed=2, resumed=3, reused=4, unsampled=5"
    other = f"from transforms.progress import Meter; Meter({str(tmp_path)!r}).add({counts})"
    subprocess.run([sys.executable, "-c", other], check=True)
    meter.add(attributed=1)
    assert gauge.read() == gauge.read() == Progress(9, 2, 2, 3, 4, 5)
    assert gauge.read().done == 16


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path):
    gauge, file = Gauge(Meter(str(tmp_path))), Path(tmp_path, "77")
    file.write_text("1 0 0 0 0 0\n2 0 0 0 0")
    assert gauge.read() == Progress(1, 0, 0, 0)
    file.write_text("1 0 0 0 0 0\n2 0 0 0 0 0\n")
    assert gauge.read() == gauge.read() == Progress(3, 0, 0, 0)


def test_a_meter_without_a_folder_tells_nothing():
    Meter().add(attributed=1)
    assert Gauge(Meter()).read() == Progress(0, 0, 0, 0)
