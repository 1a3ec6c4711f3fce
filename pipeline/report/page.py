"""Content → one HTML file: no network, no scripts but its own, every text escaped.

Should a text slip through the escaping, the page's content security policy still runs and loads nothing: it allows
one script and one style sheet, by their digests, and pictures that are part of the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline import names
from pipeline.report import figures, means, words
from pipeline.report.content import Content

_FOLDER = Path(__file__).parent


def render(content: Content) -> str:
    """Returns the page."""
    style, script = (_FOLDER.joinpath(name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("report.html.j2")
    return template.render(
        content=content,
        member_name=names.member_name,
        explained_name=names.explained_name,
        label_text=names.label_text,
        policy=policy,
        style=Markup(style),  # both are ours, and hold neither </style nor </script
        script=Markup(script),
        scale=figures.scale_image(signed=False),
        signed_scale=figures.scale_image(signed=True),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bdi": words.isolated,
        "compact": _compact,
        "kind": names.kind_name,
        "metric": names.metric_name,
        "moment": words.moment,
        "number": words.number,
        "percent": words.percent,
        "plain": words.plain,
        "points": words.points,
        "sentence": words.sentence,
        "with_interval": means.with_interval,
    }
    return environment


def _compact(value: Any) -> str:
    """Returns an option's value or a fact as text; lists of pairs as `one: other`."""
    if value is None or value in ("", [], ()):
        return "–"
    if isinstance(value, list | tuple):
        return "; ".join(_pair(item) if isinstance(item, list | tuple) else _compact(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pair(items: Sequence[Any]) -> str:
    return ": ".join(_compact(item) for item in items if item not in ("", None))


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
