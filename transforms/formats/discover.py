"""Inputs (files, folders and globs) → shards, each in one of the formats."""

from __future__ import annotations

import collections
import functools
import glob as shell
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.vocabulary import INPUT_FORMATS
from transforms.formats.braces import expand_braces
from transforms.formats.kind import OTHER, by_name, detect, detect_all, each
from transforms.formats.shard import Shard

_EXTENSION = re.compile(r"[^.].*(\.[a-z0-9_+-]{1,12})", re.DOTALL)


@dataclass(frozen=True)
class Discovery:
    """What the inputs name.

    Attributes:
        shards: sorted by name.
        passed_over: how many files of the folders were not taken, by extension (`.txt`), or `hidden`, `no extension` or
            `other`.
    """

    shards: tuple[Shard, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """The files that one input names.

    Attributes:
        text: the input as given.
        root: the folder that holds all of it.
        files: URIs.
        pattern: a glob of the file names that it selects within a folder.
        explicit: whether it names files, and not only a folder above them.
        hidden: URIs of the folder's hidden files.
    """

    text: str
    root: str
    files: list[str]
    pattern: str
    explicit: bool
    hidden: tuple[str, ...] = ()


def expand(inputs: Sequence[str], input_format: str = "auto") -> list[Shard]:
    """Returns the shards of `discover`."""
    return list(discover(inputs, input_format).shards)


def discover(inputs: Sequence[str], input_format: str = "auto") -> Discovery:
    """Returns the shards that the inputs name, sorted by name, and the count of the files that are passed over.

    Brace expressions stand for files that may be missing: a missing shard is one all the same, of which reading fails.
    A folder stands for all shards and images below it, whatever else it contains, and all images directly
    in one folder are one shard. Names are relative to the folder that the inputs have in
    common, so they do not change if a data set moves; the name of a folder of images begins with the
    common folder's own name.

    Args:
        inputs: URIs of files and folders, and globs.
        input_format: one of `INPUT_FORMATS`, or `auto`.

    Raises:
        FileNotFoundError: an input matches nothing; or something that braces stand for is missing, and no shard.
        ValueError: the format is unknown, or that of a file cannot be detected.
    """
    if input_format not in ("auto", *INPUT_FORMATS):
        raise UsageError(f"input_format: {input_format!r} is not one of auto, {', '.join(INPUT_FORMATS)}")
    found = [item for text in inputs for item in _find_all(text, input_format)]
    common = _common([_parts(item.root) for item in found])
    patterns: dict[tuple[str, str], set[str]] = {}
    kinds: dict[str, str | None] = {}
    for item in found:
        kinds = {**dict.fromkeys(item.hidden), **kinds}
        for uri, kind in _kinds(item, input_format):
            kinds[uri] = kinds.get(uri) or kind
            if kind is not None:
                shard = (_split(uri)[0] if kind == "files" else uri), kind
                patterns.setdefault(shard, set()).update({item.pattern} if kind == "files" else ())
    shards = [
        Shard(uri, _name(uri, kind, common), kind, tuple(sorted(wanted))) for (uri, kind), wanted in patterns.items()
    ]
    left = {uri for uri, kind in kinds.items() if kind is None}
    hidden = {uri for item in found for uri in item.hidden}
    passed = collections.Counter("hidden" if uri in hidden else _extension(_split(uri)[1]) for uri in left)
    return Discovery(tuple(sorted(shards, key=lambda shard: (shard.name, shard.format))), dict(passed.most_common()))


def _find_all(text: str, input_format: str) -> Iterator[_Found]:
    """Yields what an input names; each file apart that its braces stand for."""
    uri = _absolute(text)
    is_literal = "{" not in text or storage.size(uri) is not None or storage.is_folder(uri)
    members = [text] if is_literal else expand_braces(text)
    if len(members) == 1:
        yield _find(members[0])
        return
    listings: dict[str, set[str]] = {}
    exist = False
    for member in members:
        folder, name = _split(_absolute(member))
        if not storage.has_wildcard(folder) and folder not in listings:  # one request for all files of a folder
            listings[folder] = set(storage.names(folder))
        if name in listings.get(folder, ()):
            found = _file(text, _absolute(member))
        elif storage.has_wildcard(member) or storage.is_folder(_absolute(member)):
            found = _find(member)
        elif _is_shard(name, input_format):
            yield _file(text, _absolute(member))
            continue
        else:
            raise FileNotFoundError(f"there is no {member}, which {text} stands for")
        exist = True
        yield found
    if not exist:
        raise FileNotFoundError(f"there is none of the {len(members)} files that {text} stands for")


def _find(text: str) -> _Found:
    uri = _absolute(text)
    _, name = _split(uri)
    if storage.size(uri) is not None:
        return _file(text, uri)
    if storage.is_folder(uri):
        files: tuple[list[str], list[str]] = [], []
        for path in storage.walk(uri):
            files[bool(re.search(r"(^|/)\.", path))].append(storage.join(uri, path))
        return _Found(text, uri, files[0], "*", explicit=False, hidden=tuple(files[1]))
    if storage.has_wildcard(uri):
        root, _ = storage.split_wildcard(uri)
        return _Found(text, root, storage.glob(uri), "*" if name == "**" else name, explicit=True)
    raise FileNotFoundError(f"there is no {text}")


def _absolute(text: str) -> str:
    return text.rstrip("/") if storage.is_remote(text) else os.path.abspath(storage.resolve(text)[1])


def _file(text: str, uri: str) -> _Found:
    folder, name = _split(uri)
    return _Found(text, folder, [uri], shell.escape(name), explicit=True)


def _kinds(item: _Found, input_format: str) -> Iterator[tuple[str, str | None]]:
    """Yields each file of an input with its format, None if it is not part of the input."""
    if item.explicit:
        kinds = each(functools.partial(_named, input_format=input_format), item.files)
    else:
        kinds = [kind if input_format in ("auto", kind) else None for kind in detect_all(item.files)]
    if not any(kinds):
        wanted = "images or shards" if input_format == "auto" else f"input of the format {input_format}"
        raise FileNotFoundError(f"no {wanted} at {item.text}")
    yield from zip(item.files, kinds, strict=True)


def _is_shard(name: str, input_format: str) -> bool:
    """Returns whether a file that may be missing is a shard, by its name or else by the format that is given."""
    shown = by_name(name)
    return shown not in (None, OTHER, "files") or (shown != "files" and input_format not in ("auto", "files"))


def _named(uri: str, input_format: str) -> str | None:
    """Returns the format of a file that an input names, or None if it is of another one than `input_format`."""
    if input_format not in ("auto", "files"):
        shown = by_name(_split(uri)[1])
        kind: str | None = input_format if shown in (None, OTHER) else shown
    else:
        kind = detect(uri)
    if kind is None and input_format == "auto":
        raise UsageError(f"cannot detect the format of {uri}; give input_format, one of {', '.join(INPUT_FORMATS)}")
    return kind if input_format in ("auto", kind) else None


def _extension(name: str) -> str:
    """Returns what a file that is passed over is counted as."""
    if found := _EXTENSION.fullmatch(name.lower()):
        return found[1]
    return "other" if "." in name else "no extension"


def _name(uri: str, kind: str, common: list[str]) -> str:
    """Returns a shard's name: its path below the common folder or, for images, below that folder's parent."""
    above = len(common) - 1 if kind == "files" else len(common)
    return "/".join(_parts(uri)[max(above, 0) :]).strip("/") or "/"


def _common(folders: list[list[str]]) -> list[str]:
    """Returns the components that all folders begin with."""
    same = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))
    return [parts[0] for parts in same]


def _split(uri: str) -> tuple[str, str]:
    folder, _, name = uri.rpartition("/")
    return folder or "/", name


def _parts(uri: str) -> list[str]:
    return uri.rstrip("/").split("/")
