"""One attributor per worker process, loaded once and shared between its threads.

Imports TensorFlow only when an attributor is made: launching a job does not need it.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import re
import shutil
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pyarrow import fs as pafs

from transforms import process, storage
from transforms.core.cache_folder import cache_folder
from transforms.core.errors import UsageError
from transforms.core.explain.settings import Settings, check_batch_size
from transforms.core.image.baseline import parse_baselines
from transforms.core.image.decode import decode
from transforms.core.image.decoding import DecodeError, Decoding
from transforms.core.model import digest, evidence_cache
from transforms.core.model.evidence import Evidence
from transforms.core.model.facts import ModelFacts
from transforms.core.model.known_model import KnownModel, find_known
from transforms.core.model.local_copy import load_copy
from transforms.core.model.model_cache import NONE, ClosedCache, FolderCache, ModelCache
from transforms.core.model.options import ModelOptions
from transforms.core.stable_hash import cache_key
from transforms.core.vocabulary import MAX_CLASSES
from transforms.stored_cache import StoredCache

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor
    from transforms.core.model.classifier import Classifier

T = TypeVar("T")

_LOCK = threading.Lock()
_NUMBERED = re.compile(r"(?P<index>[0-9]{1,7})(?:\s*[:,]\s*|\s+)(?P<name>\S.*)", re.ASCII)


@dataclass(frozen=True)
class AttributorSpec:
    """What makes an attributor, small and picklable: travels to workers instead of the model.

    Attributes:
        model: TF-Hub https handle, SavedModel folder or Keras file, by URI.
        options: what the function is; its class names are those themselves.
        settings: how it is attributed.
        batch_size: steps in one model call; 0 lets the worker choose.
        baseline_images: encoded pictures of the `image:` baselines, in order.
        model_digest: what the model must be, sha256 hex; empty accepts any.
        evidence: what the model's outputs showed at launch, by which workers decide too; None lets each look itself.
        facts: what was found out about the model at launch, if anything.
        reference_shares: the share of images that get reference maps by the class index that their label names, where
            it is another than the settings' `reference_share`: a higher one for small classes.
        model_cache: where each worker keeps what it learned of the model: a folder or URI; empty for the user's own
            cache, `none` for nowhere.
    """

    model: str
    options: ModelOptions = ModelOptions()
    settings: Settings = Settings()
    batch_size: int = 0
    baseline_images: tuple[bytes, ...] = ()
    model_digest: str = ""
    evidence: Evidence | None = None
    facts: ModelFacts | None = None
    reference_shares: tuple[tuple[int, float], ...] = ()
    model_cache: str = ""


def resolve(
    model: str | os.PathLike[str],
    options: ModelOptions = ModelOptions(),
    settings: Settings = Settings(),
    batch_size: int = 0,
    model_cache: str = "",
) -> AttributorSpec:
    """Returns what makes an attributor, with class names and pictures of baselines read from where they lie.

    Args:
        model: TF-Hub https handle, SavedModel folder or Keras file, by URI.
        options: what the function is.
        settings: how it is attributed.
        batch_size: steps in one model call, from 1 to 4096; 0 lets the worker choose.
        model_cache: where each worker keeps what it learned of the model.

    Raises:
        UsageError: a file cannot be read, or an option has a value that is not allowed.
    """
    if not isinstance(model, str | os.PathLike):
        raise UsageError(f"model: {type(model).__name__} cannot be sent to workers; expected a path or URI")
    check_batch_size(batch_size)
    options = with_names(options)
    pictures = baseline_images(settings.baseline, settings.decoding(0))
    cache_at(model_cache)  # raises here what a worker would raise
    return AttributorSpec(os.fspath(model), options, settings, batch_size, pictures, model_cache=model_cache)


@dataclass(frozen=True)
class Loaded:
    """An attributor, and the seconds it took to load and compile."""

    attributor: Attributor
    seconds: float


def attributor(spec: AttributorSpec) -> Loaded:
    """Returns this process's attributor for `spec`, made by whichever thread comes first.

    Raises:
        ValueError: the model cannot be loaded, does not fit the settings, or is not the model of the digest.
    """
    with _LOCK:
        return _make(spec)


@functools.lru_cache(maxsize=1)
def _make(spec: AttributorSpec) -> Loaded:
    start = time.monotonic()
    if spec.evidence is not None:
        evidence_cache.keep(spec.model_digest, spec.options, spec.evidence)
    classifier = _load(spec.model, spec.options, spec.model_cache)
    if spec.model_digest and classifier.digest != spec.model_digest:
        raise UsageError(
            f"model: {spec.model} has digest {classifier.digest[:16]} on this worker, "
            f"{spec.model_digest[:16]} at launch"
        )
    from transforms.core.explain.attributor import Attributor

    made = Attributor(classifier, spec.settings, spec.batch_size, spec.baseline_images, spec.reference_shares)
    gc.collect()  # graphs of compilation are cyclic and hold the weights: free them before a batch needs the room
    made.warm_up()
    return Loaded(made, time.monotonic() - start)


def classifier(spec: AttributorSpec) -> Classifier:
    """Returns this process's classifier for `spec`, loaded but not compiled: for checks at launch.

    Raises:
        ValueError: the model cannot be loaded or does not fit the settings.
    """
    with _LOCK:
        return _load(spec.model, spec.options, spec.model_cache)


def layers(spec: AttributorSpec) -> list[tuple[str, tuple[int | None, ...]]]:
    """Returns the names and shapes of what the option `layer` can name of a model, which is loaded for that.

    Raises:
        ValueError: the model cannot be loaded, or has no such names.
    """
    process.import_tensorflow()
    from transforms.core.model.named_layers import named_layers

    return on_local_copy(spec.model, lambda path: named_layers(path, spec.options))


def known_evidence(spec: AttributorSpec) -> Evidence | None:
    """Returns what the model's outputs showed when this machine first saw the model; None if it has not."""
    return evidence_cache.recall(spec.model_digest, spec.options)


def known_model(spec: AttributorSpec) -> KnownModel | None:
    """Returns what this machine knows of the model with these options; None if it must be loaded to say that."""
    cache = cache_at(spec.model_cache)
    return find_known(cache, spec.model_digest, spec.options, known_evidence(spec)) if cache else None


def cache_at(place: str) -> ModelCache | None:
    """Returns the cache of what was learned of models at a place: a folder or URI, empty for the user's own, `none`.

    Raises:
        UsageError: it is a folder of this machine that others can write, or that cannot be made.
    """
    if place == NONE:
        return None
    if not place:
        try:
            return FolderCache.own()
        except OSError as error:  # nothing can be written anywhere
            return ClosedCache(str(error))
    return StoredCache(place) if storage.is_remote(place) else FolderCache.at(storage.resolve(place)[1])


@functools.lru_cache(maxsize=1)
def _load(model: str, options: ModelOptions, place: str) -> Classifier:
    process.import_tensorflow()
    from transforms.core.model import known_classifier

    try:
        cache = cache_at(place)
    except UsageError as error:  # on this worker; the job goes on without
        cache = ClosedCache(str(error))
    return on_local_copy(model, lambda path: known_classifier.load(path, options, cache))


def on_local_copy(model: str, load: Callable[[str], T]) -> T:
    """Returns what `load` makes of a model's local path; a copy that it cannot read is made anew once.

    Raises:
        UnreadableError: the files cannot be read.
        UsageError: there is no such model, or `load` refuses it.
    """
    path = local_model(model)
    return load_copy(load, lambda: local_model(model), Path(path).parents[1]) if _is_copied(model) else load(path)


def with_names(options: ModelOptions) -> ModelOptions:
    """Returns options with class names in place of the URI of their file: one a line, without empty lines.

    The file is UTF-8, with or without a byte order mark. If every line is numbered, from 0 on (`0 cat`, `0: cat` or
    `0,cat`), the numbers are left out. Names are in Unicode's composed form.

    Raises:
        UsageError: the file cannot be read, or has too few or too many names; the text names it.
    """
    names = options.class_names
    if not isinstance(names, str):
        return options
    if not names:
        return dataclasses.replace(options, class_names=())
    try:
        text = storage.read_bytes(names).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"class_names: {names}: {error}") from error
    found = _unnumbered([line.strip() for line in unicodedata.normalize("NFC", text).splitlines() if line.strip()])
    if not 0 < len(found) <= MAX_CLASSES:
        raise UsageError(f"class_names: {names} has {len(found)} names; allowed are 1 to {MAX_CLASSES}, one a line")
    return dataclasses.replace(options, class_names=found)


def _unnumbered(lines: Sequence[str]) -> tuple[str, ...]:
    """Returns lines without their numbers, if every line has one: `0 stars`, `1 star`, `2 stars`… are names."""
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    names = [match["name"] for index, match in enumerate(matches) if match and int(match["index"]) == index]
    is_list = len(names) == len(lines) and 2 * len(set(names)) > len(names)
    return tuple(names if is_list else lines)


def baseline_images(baseline: str, how: Decoding = Decoding(channels=0)) -> tuple[bytes, ...]:
    """Returns the encoded pictures of the `image:` baselines among those that the option names, in order.

    Args:
        baseline: the option's text.
        how: how they become pixels; the model's channels are not known yet.

    Raises:
        UsageError: one cannot be read or decoded; the text names it.
    """
    pictures = []
    for each in parse_baselines(baseline):
        if each.takes_picture:
            uri = each.name.removeprefix("image:")
            try:
                data = storage.read_bytes(uri)
                decode(data, None, how)
            except (OSError, DecodeError) as error:
                raise UsageError(f"baseline: {uri}: {error}") from error
            pictures.append(data)
    return tuple(pictures)


def model_digest_of(uri: str) -> str:
    """Returns the digest of the model that `uri` names; TensorFlow is imported only for a TF-Hub handle.

    Raises:
        ValueError: there is no such model.
    """
    path = local_model(uri)
    if path.startswith(("https://", "http://")):
        process.import_tensorflow()
        from transforms.core.model.file import resolve

        path = resolve(path)
    if not os.path.exists(path):
        raise UsageError(f"model: {uri}: no such file or folder")
    return digest.digest(Path(path))


def local_model(uri: str) -> str:
    """Returns a local path (or an https handle) for a model; an object store's is copied to a cache once."""
    if not _is_copied(uri):
        return uri.removeprefix("file://")
    filesystem, path = storage.resolve(uri)
    listing = storage.fingerprint(uri)
    key = cache_key(f"{uri} {listing}")
    cache = cache_folder("models")
    target = os.path.join(cache, key, os.path.basename(path.rstrip("/")))
    if os.path.exists(target) and not _is_whole(target, storage.sizes(uri)):
        shutil.rmtree(os.path.dirname(target), ignore_errors=True)
    if not os.path.exists(target):
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            copy = os.path.join(folder, "copy", os.path.basename(target))
            os.makedirs(os.path.dirname(copy))
            for name in storage.walk(uri) if storage.is_folder(uri) else ():  # a store may list files without folders
                os.makedirs(os.path.dirname(os.path.join(copy, name)), exist_ok=True)
            pafs.copy_files(path, copy, source_filesystem=filesystem, destination_filesystem=pafs.LocalFileSystem())
            try:
                os.rename(os.path.dirname(copy), os.path.dirname(target))
            except OSError:
                if not os.path.exists(target):
                    raise
    return target


def _is_copied(uri: str) -> bool:
    """Returns whether a model lies in an object store, of which TensorFlow and Keras read none."""
    return storage.is_remote(uri) and not uri.startswith(("https://", "http://"))


def _is_whole(copy: str, sizes: Mapping[str, int]) -> bool:
    """Returns whether a copy has all its files, by relative path, at their sizes: caches are cleaned file by file."""
    try:
        return all(os.path.getsize(os.path.join(copy, name) if name else copy) == sizes[name] for name in sizes)
    except OSError:
        return False
