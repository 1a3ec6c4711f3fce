"""Fixtures shared by the whole suite."""

from __future__ import annotations

import hashlib
import os
import signal
from importlib import metadata
from pathlib import Path

import hypothesis
import pytest

from pipeline.samples import cache

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MPLBACKEND"] = "Agg"
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "xdg")
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # as in the background of a shell, and under nohup: runs would too
        signal.signal(_number, _handler)
hypothesis.settings.register_profile("suite", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def samples_folder(request: pytest.FixtureRequest) -> str:
    """A folder for `make_samples` that outlives the session until what builds the model changes."""
    sources = [Path(cache.__file__).with_name(name).read_text() for name in ("lite0.py", "legacy_checkpoint.py")]
    versions = [metadata.version(name) for name in ("keras", "tensorflow")]
    digest = hashlib.sha256(repr([sources, versions]).encode()).hexdigest()[:16]
    return str(request.config.cache.mkdir(f"samples-{digest}"))


@pytest.fixture(scope="session")
def sample_model(samples_folder: str) -> str:
    """EfficientNet-Lite0 as a SavedModel folder: pixels in [0, 1] → logits."""
    return cache.build_model(samples_folder)


@pytest.fixture(scope="session")
def class_names_path(samples_folder: str) -> str:
    """The text file of ImageNet's 1,000 class names."""
    return cache.class_names_file(samples_folder)
