"""The name of a model's entry in a cache: a digest of everything that decides what a model's graph computes.

It is known without TensorFlow, so that a launcher can look up a model. Code of the user's counts by its text: of a
module that an option names, and of all modules that it imports and that are installed nowhere; of installed packages
and of Python's own library, the text of the package that is named.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from transforms import __version__
from transforms.core.cpus import processor_features
from transforms.core.model.options import ModelOptions
from transforms.core.stable_hash import cache_key

_OF_NO_GRAPH = ("background", "class_names", "label_offset")
_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly")
_OTHERS = ("keras", "tf_keras", "numpy")
_SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS", "KERAS_BACKEND", "NVIDIA_TF32_OVERRIDE")
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_MOST_FILES = 2000


def key_of(digest: str, options: ModelOptions) -> str:
    """Returns the name of the entry of a model, by the digest of its files; empty if it is not known what counts.

    That is so if TensorFlow's version is not known, or code that an option names cannot be found, or is no text.
    """
    modules = [*options.custom_objects, *([options.score.partition(":")[0]] if ":" in options.score else [])]
    try:
        code = {name: _code_digest(name) for name in modules}
    except (ImportError, OSError, SyntaxError, ValueError):
        return ""
    versions = {name: _version(name) for name in (*_TENSORFLOWS, *_OTHERS)}
    if not any(versions[name] for name in _TENSORFLOWS):
        return ""
    shaping = {name: value for name, value in dataclasses.asdict(options).items() if name not in _OF_NO_GRAPH}
    content = {
        "digest": digest,
        "options": shaping,
        "code": code,
        "versions": {"ig-audit": [__version__, _own_digest()], "python": platform.python_version(), **versions},
        "settings": {name: os.environ.get(name, "") for name in _SETTINGS},
        "processor": processor_features(),
    }
    return cache_key(json.dumps(content, sort_keys=True))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.lru_cache(maxsize=1)
def _own_digest() -> str:
    """Returns the digest of this package's code, which a checkout changes without another version."""
    return _digest(sorted(Path(__file__).parent.rglob("*.py")))


def _digest(files: list[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _code_digest(name: str) -> str:
    """Returns the digest of the code of a module that an option names.

    Raises:
        ImportError, ValueError: there is no such module, or it has no text.
        OSError, SyntaxError: a file cannot be read.
    """
    file = _source(name)
    if _is_installed(file):
        files = sorted(file.parent.rglob("*.py")) if "." in name or file.name == "__init__.py" else [file]
        if len(files) > _MOST_FILES:
            raise ValueError(f"{name} has {len(files)} files")
        return _digest(files)
    found, waiting = {}, [name]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        file = _source(module)
        found[module] = file
        waiting += [each for each in _imported(module, file) if each not in found and _is_own(each)]
    return _digest([found[module] for module in sorted(found)])


def _source(module: str) -> Path:
    """Returns the file of a module's text, found without importing anything.

    Raises:
        ImportError, ValueError: there is none.
    """
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ImportError(f"there is no module {top}")
    places = [Path(spec.origin)] if spec.origin else []
    if rest:
        bases = [Path(location, *rest) for location in spec.submodule_search_locations or ()]
        places = [file for base in bases for file in (base / "__init__.py", base.with_name(f"{base.name}.py"))]
    for file in places:
        if file.suffix == ".py" and file.is_file():
            return file
    raise ImportError(f"{module} has no text")


def _is_own(module: str) -> bool:
    """Returns whether there is such a module, and it is neither installed nor of Python itself."""
    try:
        return bool(module) and not _is_installed(_source(module))
    except (ImportError, ValueError):  # an object of a module, or a module of another language
        return False


def _is_installed(file: Path) -> bool:
    path = file.resolve()
    return bool(_INSTALLED.intersection(path.parts)) or any(path.is_relative_to(folder) for folder in _libraries())


@functools.lru_cache(maxsize=1)
def _libraries() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _imported(module: str, file: Path) -> Iterator[str]:
    """Yields the names that a module's text imports: of modules, and of what may be modules."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    yield from (package.rsplit(".", depth)[0] for depth in range(package.count(".") + 1) if package)
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
