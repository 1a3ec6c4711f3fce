"""ig-audit in Python: what an image classifier looks at, for arrays, Beam pipelines and finished runs.

    explain, Attributor          explanations of arrays, with one call or many
    ModelOptions, Settings       what the explained function is, and how it is attributed
    AttributeImages              images to explanations in your own Beam pipeline
    Image, Explanation           what goes in there, and what comes out
    Explanations                 what explain returns: a sequence of these, with arrays and pictures
    open_run                     the results of the command line

    >>> import ig_audit
    >>> ig_audit.open_run("tests/runs/0.1.0").manifest.images
    7

Each name is loaded when it is first used: importing this module costs neither TensorFlow nor Beam.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transforms import __version__
    from transforms.attribute import AttributeImages
    from transforms.core.explain.settings import Settings
    from transforms.core.model.options import ModelOptions
    from transforms.core.record import Explanation, Image
    from transforms.explanations import Explanations
    from transforms.notebook import Attributor, explain
    from transforms.store.run import Run

__all__ = [
    "AttributeImages",
    "Attributor",
    "Explanation",
    "Explanations",
    "Image",
    "ModelOptions",
    "Settings",
    "__version__",
    "explain",
    "open_run",
]

_OPTIONS = ("transforms.core.explain.settings", "transforms.core.model.options")
_MODULES = {
    "AttributeImages": "transforms.attribute",
    "Attributor": "transforms.notebook",
    "Explanation": "transforms.core.record",
    "Explanations": "transforms.explanations",
    "Image": "transforms.core.record",
    "ModelOptions": "transforms.core.model.options",
    "Settings": "transforms.core.explain.settings",
    "__version__": "transforms",
    "explain": "transforms.notebook",
}


def open_run(uri: str) -> Run:
    """Returns a finished run, local or in an object store, whose files are read when asked for.

    >>> open_run("tests/runs/0.1.0").manifest.failures
    1
    """
    _refuse_others("transforms")
    from transforms.store.run import Run

    return Run.open(uri)


def main() -> int:
    """Runs the command line, `ig-audit`, and ends the process; returns its exit code if it cannot be run."""
    try:
        for package in ("transforms", "pipeline"):
            _refuse_others(package)
    except ImportError as error:
        print(f"ig-audit: {error}", file=sys.stderr)
        return 2
    from pipeline.cli import main as command
    from transforms.process import leave

    leave(command())


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _refuse_others("transforms")
    if name in ("ModelOptions", "Settings"):
        for module in _OPTIONS:  # each knows the options of the other
            importlib.import_module(module)
    if _MODULES[name] == "transforms.notebook":
        importlib.import_module("transforms.process").import_tensorflow()
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _refuse_others(package: str) -> None:
    """Raises ImportError if `package` is not the one that was installed with this module."""
    ours = Path(__file__).resolve().parent / package / "__init__.py"
    found = _file_of(package)
    if found is None or Path(found).resolve() != ours:
        raise ImportError(
            f"{found or 'nothing'} is found as the package {package!r}, which hides that of ig-audit, {ours.parent}: "
            "rename it, or take its folder from PYTHONPATH, from sys.path, or as the current directory"
        )


def _file_of(package: str) -> str | None:
    """Returns the file that `import package` runs, or has run."""
    if package in sys.modules:
        module = sys.modules[package]
        return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)
