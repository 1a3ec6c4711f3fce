"""A classifier of what a cache has of its model: its frozen graph, in place of its files, which are not even opened.

What is explained, and so what is differentiated, is that graph at the first start too: a start with a full cache and
one with an empty one compute the same, bit for bit.
"""

from __future__ import annotations

import functools
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model import classifier as classifiers
from transforms.core.model import digest as digests
from transforms.core.model.cache_key import key_of
from transforms.core.model.classifier import Classifier, Parts
from transforms.core.model.evidence_cache import recall
from transforms.core.model.facts import facts_of
from transforms.core.model.file import load_resolved, set_up_gpus
from transforms.core.model.kept import Kept
from transforms.core.model.known_model import FACTS, GRAPH, OUTPUTS, REFERENCE, KnownModel, entry_name, read_known
from transforms.core.model.model_cache import Entry, ModelCache
from transforms.core.model.names import class_names
from transforms.core.model.options import ModelOptions
from transforms.core.model.outputs import Packing
from transforms.core.model.passes.extend import extend
from transforms.core.model.reference import Reference
from transforms.core.model.score import on_tensors, score_function, two_columns
from transforms.core.model.stored_graphs import graph_of, message

FIRST = "nothing was kept of this model with these options, versions and processor"

_OUTPUTS_OF: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "identity": tf.identity,
    "sigmoid": tf.sigmoid,
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.log_softmax,
}


def load(model: str | os.PathLike[str], options: ModelOptions, cache: ModelCache | None) -> Classifier:
    """Returns the classifier of a model, made of what the cache has of it, if that can be used.

    Args:
        model: a TF-Hub `https://` handle, a local SavedModel folder or a local Keras file.
        options: what the function is.
        cache: where it is looked up, and kept if it is not there; None loads the model.

    Raises:
        UnreadableError, UsageError, MemoryError: as `classifier.load`.
    """

    def opened(path: str) -> Classifier:
        identity = digests.digest(Path(path)) if cache and os.path.exists(path) else ""
        key = key_of(identity, options) if identity else ""
        if cache is None or not key:
            return classifiers.load(path, options)
        found, reason = _recall(cache, key, path, identity, options)
        return found or _fresh(cache, key, path, options, reason)

    return load_resolved(opened, os.fspath(model))


def _recall(
    cache: ModelCache, key: str, path: str, identity: str, options: ModelOptions
) -> tuple[Classifier | None, str]:
    """Returns the classifier that lies in the cache, or why it cannot be used."""
    known, entry = read_known(cache, key)
    if known is None:
        return None, entry.problem or FIRST
    evidence = recall(identity, options) or known.evidence
    try:
        if not known.agrees(evidence, options):
            return None, "the model's outputs are taken for something else now"
        kept = Kept(
            cache,
            key,
            Reference.from_bytes(entry.members[REFERENCE]),
            recalled=True,
            reason="",
            reload=lambda reason: _fresh(cache, key, path, options, reason),
        )
        facts = facts_of(evidence, options)
        made = _classifier(known, entry, options)
    except UsageError:  # which loading the model raises again, with all that it finds
        return None, "the options do not fit"
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        return None, f"it cannot be read: {type(error).__name__}: {error}"
    return made(digest=identity, evidence=evidence, facts=facts, kept=kept), ""


def _classifier(known: KnownModel, entry: Entry, options: ModelOptions) -> Callable[..., Classifier]:
    """Returns what makes the classifier of a known model with the attributes that do not lie in the cache."""
    set_up_gpus()
    frozen = graph_of(entry.members[GRAPH], *known.ends[GRAPH])
    explained = on_tensors(tf.function(frozen, autograph=False), tf.float32)
    outputs_of = _OUTPUTS_OF[known.outputs_of] if known.outputs_of else None
    if outputs_of is None:
        graph = graph_of(entry.members[OUTPUTS], *known.ends[OUTPUTS])
        outputs = on_tensors(tf.function(graph, autograph=False), tf.float32)
    else:
        outputs = _then(explained, outputs_of)
    packing = None
    if known.packing is not None:
        specs = {name: tf.TensorSpec([None, *shape], tf.float32) for name, shape in known.packing.items()}
        packing = Packing(specs)
    return functools.partial(
        Classifier,
        input_shape=known.input_shape,
        names=class_names(options, known.evidence.count, known.task)[0],
        size_bytes=known.size_bytes,
        kind=known.outputs,
        task=known.task,
        outputs=outputs,
        explained=explained,
        outputs_of=outputs_of,
        by_class=known.by_class,
        score=score_function(options.score, known.explained, known.task, packing),
        frozen=frozen,
        label_offset=options.label_offset,
        pixels=known.pixels,
    )


def _fresh(cache: ModelCache, key: str, path: str, options: ModelOptions, reason: str) -> Classifier:
    """Loads a model and keeps what was learned of it, if another classifier can be made of that, and is then made."""
    found, parts = classifiers.load_parts(path, options)
    whole = found.outputs_of is not None or parts.whole is not None
    if found.frozen is None or not whole:
        return found
    reference = Reference.of(found.explained, found.score, found.input_shape)
    reference = reference or Reference.of(found.frozen, found.score, found.input_shape)
    if reference is None:
        return found
    try:
        known, entry = _described(found, parts, reference)
    except ValueError:  # graphs of more than 2 GiB are no messages
        return found
    if problem := cache.write(entry_name(key), entry.members):
        reason = f"{reason}; it cannot be kept: {problem}"

    def reload(why: str) -> Classifier:
        return _fresh(cache, key, path, options, why)

    kept = Kept(cache, key, reference, recalled=False, reason=reason, reload=reload)
    made = _classifier(known, entry, options)
    return made(digest=found.digest, evidence=found.evidence, facts=found.facts, kept=kept)


def _described(found: Classifier, parts: Parts, reference: Reference) -> tuple[KnownModel, Entry]:
    """Returns a classifier as what is known of its model, and as the entry of a cache.

    Raises:
        ValueError: a graph is too large for a message.
    """
    names = {function: name for name, function in _OUTPUTS_OF.items()}
    graphs = {GRAPH: found.frozen}
    if found.outputs_of is None and parts.whole is not None:
        columns = functools.partial(two_columns, kind=found.kind)
        graphs[OUTPUTS] = extend(parts.whole, columns) if found.task == "binary" else parts.whole
    known = KnownModel(
        input_shape=found.input_shape,
        size_bytes=found.size_bytes,
        pixels=found.pixels,
        evidence=found.evidence,
        outputs=found.kind,
        task=found.task,
        explained=parts.explained,
        by_class=found.by_class,
        outputs_of=names[found.outputs_of] if found.outputs_of else "",
        ends={name: (graph.input, graph.output) for name, graph in graphs.items() if graph},
        packing=parts.packing.shapes if parts.packing else None,
    )
    messages = {name: message(graph.graph) for name, graph in graphs.items() if graph}
    return known, Entry({FACTS: known.to_json(), REFERENCE: reference.to_bytes(), **messages})


def _then(first: Callable[..., Any], second: Callable[[tf.Tensor], tf.Tensor]) -> Callable[..., tf.Tensor]:
    return lambda values: second(first(values))
