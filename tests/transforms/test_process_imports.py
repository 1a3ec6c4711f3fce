"""Imports that leave out packages for a while, and the end of a process that takes nothing apart."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from transforms.process import lean_imports

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """The name of a package that nobody has imported."""
    (tmp_path / "left_out_here").mkdir()
    (tmp_path / "left_out_here" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "left_out_here"
    sys.modules.pop("left_out_here", None)


def test_a_package_that_is_left_out_is_found_but_not_imported(package):
    with lean_imports(package):
        assert importlib.util.find_spec(package) is not None
        with pytest.raises(ModuleNotFoundError, match=package):
            importlib.import_module(package)
        importlib.import_module("json.tool")
    assert importlib.import_module(package)


def test_one_that_is_imported_already_stays(package):
    importlib.import_module(package)
    with lean_imports(package):
        assert importlib.import_module(package)


def test_other_threads_import_it(package):
    found = []
    with lean_imports(package):
        thread = threading.Thread(target=lambda: found.append(importlib.import_module(package)))
        thread.start()
        thread.join()
    assert found


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_as_it_was(collects):
    before = gc.isenabled()
    try:
        gc.enable() if collects else gc.disable()
        with pytest.raises(KeyError), lean_imports():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == collects
    finally:
        gc.enable() if before else gc.disable()


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_tensorflow_is_imported_without_keras_which_can_be_imported_later():
    done = python(
        "import sys; from transforms.process import import_tensorflow; import_tensorflow()\n"
        "assert 'tensorflow' in sys.modules and 'keras' not in sys.modules\n"
        "import tensorflow as tf; print(tf.keras.layers.Dense.__name__)"
    )
    assert done.stdout == "Dense\n", done.stderr


def test_leaving_runs_handlers_and_flushes():
    done = python(
        "import atexit, sys; from transforms.process import leave\n"
        "atexit.register(lambda: print('handled')); sys.stdout.write('printed '); leave(3)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "printed handled\n", "")


def test_leaving_waits_for_threads():
    done = python(
        "import threading, time; from transforms.process import leave\n"
        "threading.Thread(target=lambda: (time.sleep(0.5), print('done'))).start(); leave(0)"
    )
    assert (done.returncode, done.stdout) == (0, "done\n")
