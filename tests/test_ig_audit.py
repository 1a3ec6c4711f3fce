"""The public face: complete, light, and found even if others have packages of the same names."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import ig_audit

ROOT = Path(__file__).parents[1]
PUBLIC = {
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
}


def python(program: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program with the folders of `path`, then this project's, first among those of modules."""
    start = f"import sys; sys.path[:0] = {[str(folder) for folder in (*path, ROOT)]}; "
    return subprocess.run(
        [sys.executable, "-c", start + program], capture_output=True, text=True, check=False, cwd=ROOT.anchor
    )


def test_every_public_name_is_there() -> None:
    assert set(ig_audit.__all__) == PUBLIC <= set(dir(ig_audit))
    for name in PUBLIC:
        assert getattr(ig_audit, name) is not None
    with pytest.raises(AttributeError, match="module 'ig_audit' has no attribute 'Attribute'"):
        ig_audit.Attribute  # noqa: B018


def test_examples_do_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from transforms import notebook

    monkeypatch.chdir(ROOT)
    for module in (ig_audit, notebook):
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0


def test_import_is_fast_and_light() -> None:
    program = """
import time
begin = time.process_time()
import ig_audit
print(time.process_time() - begin)
loaded = {"tensorflow", "apache_beam", "pyarrow", "numpy", "keras", "transforms", "pipeline"} & set(sys.modules)
ig_audit.Settings(), ig_audit.ModelOptions(), ig_audit.Image
print(sorted(loaded), sorted({"tensorflow", "apache_beam", "pyarrow", "keras"} & set(sys.modules)))
"""
    done = python("\n" + program)
    seconds, modules = done.stdout.splitlines()
    assert float(seconds) < 0.3, done
    assert modules == "[] []"


@pytest.mark.parametrize("one", ["Settings(baseline_='x')", "ModelOptions(tolerance=1)", "Settings(score='logit')"])
def test_a_misplaced_option_is_explained_whatever_was_used_before(one: str) -> None:
    done = python(f"import ig_audit; ig_audit.{one}")
    (last,) = done.stderr.splitlines()[-1:]
    assert last in {
        "TypeError: Settings.__init__() got an unexpected keyword argument 'baseline_'",
        "TypeError: tolerance is an option of Settings, not of ModelOptions",
        "TypeError: score is an option of ModelOptions, not of Settings",
    }


@pytest.mark.parametrize("use", ["ig_audit.Settings", "ig_audit.__version__", "ig_audit.open_run('x')"])
@pytest.mark.parametrize("imported", [False, True])
def test_a_package_that_hides_ours_is_named(tmp_path: Path, use: str, imported: bool) -> None:
    other = tmp_path / "transforms" / "__init__.py"
    other.parent.mkdir()
    other.write_text("")
    done = python(f"{'import transforms; ' if imported else ''}import ig_audit; {use}", tmp_path)
    message = done.stderr.splitlines()[-1]
    assert message.startswith(
        f"ImportError: {other} is found as the package 'transforms', which hides that of ig-audit"
    )
    assert f"{ROOT / 'transforms'}: rename it, or take its folder from PYTHONPATH" in message


def test_a_module_that_hides_ours_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "transforms.py").write_text("")
    done = python("import ig_audit; ig_audit.explain", tmp_path)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path / 'transforms.py'} is found as the package")


@pytest.mark.parametrize("package", ["pipeline", "transforms"])
def test_the_command_names_what_hides_it(tmp_path: Path, package: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    done = python("import ig_audit; sys.argv = ['ig-audit', '--help']; sys.exit(ig_audit.main())", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ig-audit: {tmp_path / package}")


def test_a_pipeline_of_ones_own_disturbs_no_notebook(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("mine = True")
    done = python("import ig_audit, pipeline; ig_audit.Settings; print(pipeline.mine)", tmp_path)
    assert done.stdout == "True\n"


def test_the_command_runs() -> None:
    done = python("import ig_audit; sys.argv = ['ig-audit', 'run', '--help']; sys.exit(ig_audit.main())")
    assert done.returncode == 0
    assert "--class_names URI" in done.stdout


def test_nothing_of_ours_needs_the_public_face() -> None:
    for package in ("transforms", "pipeline", "support", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert "ig_audit" not in names, path
