"""The direction of imports: the contracts of pyproject.toml hold, and would be seen to break."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Runs the import linter on the packages and the contracts below `root`."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    return subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)


def test_the_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


FORBIDDEN = [
    ("transforms/core/record.py", "pipeline.config"),
    ("transforms/core/record.py", "transforms.storage"),
    ("transforms/core/statistics/moments.py", "apache_beam"),
    ("transforms/core/path/quadrature.py", "tensorflow"),
    ("transforms/formats/tfrecord.py", "tensorflow"),
    ("transforms/storage.py", "transforms.store"),
    ("pipeline/config.py", "keras"),
    ("pipeline/config.py", "support.stores"),
    ("transforms/core/record.py", "tests.shards"),
    ("transforms/storage.py", "benchmarks.common"),
    ("support/stores.py", "tests.shards"),
    ("support/stores.py", "benchmarks.common"),
    ("tests/shards.py", "benchmarks.common"),
    ("benchmarks/common.py", "tests.shards"),
]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter prints of a copy of the packages with every forbidden import in it."""
    root = tmp_path_factory.mktemp("broken")
    for package in ("benchmarks", "pipeline", "support", "tests", "transforms"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for module, forbidden in FORBIDDEN:
        with open(root / module, "a") as stream:
            stream.write(f"\n\nimport {forbidden}\n")
    result = lint_imports(root)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout.replace("\n", " ")


@pytest.mark.parametrize(("module", "forbidden"), FORBIDDEN)
def test_a_forbidden_import_is_found(broken: str, module: str, forbidden: str) -> None:
    assert f"{module.removesuffix('.py').replace('/', '.')} -> {forbidden}" in broken


@pytest.mark.parametrize(
    "module",
    [
        "pipeline.cli",
        "pipeline.config",
        "pipeline.audit.compare",
        "pipeline.refine.command",
        "pipeline.samples.cache",
        "transforms.formats",
        "transforms.store",
    ],
)
def test_what_answers_fast_imports_neither_beam_nor_tensorflow(module: str) -> None:
    program = f"import sys, {module}; sys.exit(bool({{'apache_beam', 'tensorflow'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_run_is_opened_without_what_only_a_comparison_needs() -> None:
    program = "import sys, transforms.store, pipeline.verify.check; sys.exit('scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
