"""Brace expressions, as bash expands them."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.core.errors import UsageError
from transforms.formats.braces import MOST_NAMES, expand_braces

TEXTS = [
    *("s", "s-{00000..00003}.tar", "{a,b}{1..2}", "{a,b{1..3},}x", "{3..1}", "{1..9..4}", "{-2..2}", "{-02..1}"),
    *("{x}", "{}", "{a", "a}", "{a,b", "{{a,b}", "{{a,b}}", "{a,{b,c}}", "{1..2..0}", "{1..b}", "{1..}", "x{,y}"),
    *("{a..e}", "{a,b}}", "{01..3}", "{1..03}", "{a,b}/{c,d}", "a{1..2}b{3..4}c", "{..}", "{0..10..5}"),
]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash to compare with")
def test_as_bash_does():
    script = "".join(f"printf '%s\\n' {text}; echo --; " for text in TEXTS)
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    for text, expected in zip(TEXTS, found.split("--\n"), strict=False):
        assert expand_braces(text) == expected.split(), text


@pytest.mark.parametrize("text", ["{0..100000}", "{0..999999999999999999}", "{0..999}" * 3, "{a,b}" * 40, "{" * 65])
def test_too_many_names_are_refused_at_once(text):
    start = time.monotonic()
    with pytest.raises(UsageError, match=r"more than 100,000 names|65 braces"):
        expand_braces(text)
    assert time.monotonic() - start < 2


@given(st.text(alphabet="{},.ab019-", max_size=40))
def test_any_text_is_expanded_or_refused(text):
    try:
        found = expand_braces(text)
    except UsageError:
        return
    assert 0 < len(found) <= MOST_NAMES
    assert "{" in text or found == [text]
