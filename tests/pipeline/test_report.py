"""The page says what the run holds, verdict first, needs nothing else, and shows any text inert."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from pipeline.report import content, write_report
from tests.report_run import NAMES, make_audit, make_finding, write_night
from transforms import storage
from transforms.store.run import Run

DRIFTED = [("predicted", "1"), ("label", "1")]
EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "line\nbreak\r\ttab\0",
    "\u202egnp.exe\u2066",
    "{{ 7 * 7 }}{% raw %}",
    "'; DROP TABLE--&amp;&lt;",
    "</style></script></title><b>",
    "w" * 10_000,
)


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, text, and what scripts and style sheets hold."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw: dict[str, str] = {"script": "", "style": ""}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in self.raw else self._inside

    def handle_endtag(self, tag):
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data):
        if self._inside:
            self.raw[self._inside] += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


def page_of(run: str, **arguments) -> Page:
    return Page(storage.read_bytes(write_report(Run.open(run), **arguments)).decode())


@pytest.fixture(scope="module")
def nights(tmp_path_factory) -> list[str]:
    """Three nights and a candidate with stamped pictures."""
    folder = tmp_path_factory.mktemp("nights")
    runs = [str(folder / f"night-{seed}") for seed in range(4)]
    for seed, run in enumerate(runs[:3]):
        write_night(run, 160, seed, created=f"2026-11-{18 + seed}T22:00:00+00:00")
    write_night(runs[3], 160, 9, stamped=0.5, failing=5)
    return runs


def test_the_verdict_comes_first_then_what_changed(nights, tmp_path):
    audit = make_audit(nights[3], nights[:3], DRIFTED)
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=audit)
    heads = ("Drift", "attention moved", "What changed, and where", "averaged over all rows")
    places = [page.text.index(text) for text in heads]
    assert places == sorted(places)
    assert re.search(r"Predicted as\s+espresso", page.text[places[2] : places[3]])
    assert "bottom right corner" in page.text
    assert "The mix of classes" in page.text


def test_signed_maps_stand_where_what_speaks_for_the_class_changed(nights, tmp_path):
    audit = make_audit(nights[3], nights[:3], DRIFTED)
    audit["slices"][1]["grid"]["signed"] = None
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=audit)
    shown = page.text.split("What changed, and where")[1].split("What the model looks at")[0]
    assert shown.count("For or against the class") == 1
    assert shown.count("of the attribution: against the class, for it") == 1
    assert ": more for the class" in shown or ": more against the class" in shown


def test_a_fine_verdict_has_no_changes(nights, tmp_path):
    audit = make_audit(nights[1], nights[:1])
    page = page_of(nights[1], output=str(tmp_path / "x.html"), audit=audit)
    assert "No drift" in page.text
    assert "What changed" not in page.text


def test_without_a_reference_the_page_says_so(nights):
    page = page_of(nights[0])
    assert "Not compared" in page.text
    assert "reference" not in page.text.split("Distributions")[1]


def test_the_audit_of_a_run_is_found(nights, tmp_path):
    run = str(tmp_path / "night")
    write_night(run, 40)
    audit = make_audit(run, nights[:1], [("label", "3")])
    storage.write_bytes(f"{run}/audit.json", json.dumps(audit).encode())
    page = page_of(run)
    assert "label 3: attention moved" in page.text


def test_findings_come_before_everything_else_with_their_pictures(nights, tmp_path):
    audit = make_audit(nights[3], nights[:3], DRIFTED) | {"findings": [make_finding([3, 70, 9_999])]}
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=audit)
    assert page.text.index("Findings") < page.text.index("What changed, and where")
    shown = page.text.split("Not seen by this search")[0]
    assert "26 of 500 pictures of espresso rest on the bottom left corner (3 would be usual)" in shown
    assert "100% of these, 62% of the others" in shown
    assert "the bottom left corner holds a tag" in shown
    assert (
        "shard-00000#3" in shown and "shard-00001#6" in shown
    )  # parts of 64 rows; a row that is not there is passed over
    assert [each["alt"] for each in page.all("img")][:3] == [
        "The place in the picture: bottom left corner",
        "What the model saw",
        "The attribution laid over it",
    ]


def test_a_finding_whose_place_differs_has_no_map_of_it(nights, tmp_path):
    finding = make_finding([3], cells=[], place="different places", accuracy_inside=None, accuracy_outside=None)
    audit = make_audit(nights[1], nights[:1]) | {"findings": [finding] * 9}
    page = page_of(nights[1], output=str(tmp_path / "x.html"), audit=audit)
    assert "The place in the picture" not in " ".join(each["alt"] or "" for each in page.all("img"))
    assert "wherever it is" in page.text and "Predicted right" not in page.text
    assert "… and 1 more in audit.json" in page.text


def test_a_run_without_findings_says_so_and_what_cannot_be_seen(nights, tmp_path):
    audit = make_audit(nights[1], nights[:1])
    audit["searched"] |= {"small_classes": 3, "classes": 2}
    none = audit | {"searched": audit["searched"] | {"classes": 0}}
    old = {key: audit[key] for key in audit if key not in ("findings", "searched")}  # as of 0.1.0: searched again
    for searched, said in (
        (audit, "No group of pictures stands out from its class"),
        (old, "Nothing was searched"),
        (none, "Nothing was searched: no class has as many pictures as that takes"),
    ):
        page = page_of(nights[1], output=str(tmp_path / "x.html"), audit=searched)
        assert said in page.text
        assert "groups of one or two pictures" in page.text
    assert "No drift" in page.text


def test_the_audit_of_a_run_that_was_not_compared_is_no_verdict(nights, tmp_path):
    audit = make_audit(nights[1], nights[:1])
    empty = {"verdict": None, "mix": None, "thresholds": None, "references": [], "slices": []}
    page = page_of(nights[1], output=str(tmp_path / "x.html"), audit=audit | empty | {"findings": [make_finding([3])]})
    assert "Not compared" in page.text
    assert "26 of 500 pictures" in page.text


def test_every_slice_has_its_map_and_counts(nights, tmp_path):
    page = page_of(nights[3], output=str(tmp_path / "x.html"))
    lines = [attributes["data-kind"] for attributes in page.all("tr") if "data-kind" in attributes]
    assert (lines[0], lines.count("label"), lines.count("predicted")) == ("all", len(NAMES), len(NAMES))
    assert page.text.count("Labeled") == len(NAMES) + 1  # and in the list of kinds
    assert "165" in page.text  # images
    assert "5 (3.0%)" in page.text


def test_slices_beyond_the_limit_are_counted_and_drifted_ones_kept(nights, tmp_path, monkeypatch):
    monkeypatch.setattr(content, "MOST_SLICES", 3)
    audit = make_audit(nights[3], nights[:1], DRIFTED)
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=audit)
    lines = [attributes["data-kind"] for attributes in page.all("tr") if "data-kind" in attributes]
    assert sorted(lines) == ["all", "label", "predicted"]
    left = len(Run.open(nights[3]).statistics(["count"]).to_pylist()) - 3
    assert f"The 3 largest slices are shown; {left} smaller ones are left out here" in page.text


def test_failures_are_counted_by_kind(nights, tmp_path):
    page = page_of(nights[3], output=str(tmp_path / "x.html"))
    text = " ".join(page.text.split("Failures")[-1].split())
    assert "5 of 165 images could not be attributed." in text
    assert "decodeDecodeError4shard-00000#64cannot identify image file" in text
    assert "labellabel1shard-00000#66" in text


def test_the_reference_stands_beside_where_it_can_be_read(nights, tmp_path):
    audit = make_audit(nights[3], nights[:3], DRIFTED)
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=audit)
    assert any(attributes.get("class") == "reference" for attributes in page.all("path"))
    audit["references"][-1]["uri"] = str(tmp_path / "gone")
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=audit)
    assert not any(attributes.get("class") == "reference" for attributes in page.all("path"))
    assert "The reference cannot be read any more" in page.text


def test_the_trend_needs_three_runs(nights, tmp_path):
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=make_audit(nights[3], nights[:3]))
    assert "Trend over 4 runs" in page.text
    assert sum(attributes.get("class") == "spark" for attributes in page.all("svg")) == 3 * len(
        Run.open(nights[3]).statistics(["count"]).to_pylist()
    )
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=make_audit(nights[3], nights[:1]))
    assert "Trend" not in page.text


def test_a_run_in_which_every_image_failed_has_a_page(tmp_path):
    write_night(str(tmp_path / "run"), 0)
    page = page_of(str(tmp_path / "run"))
    assert "Run facts" in page.text


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder holds no run"):
        write_report(Run.open(str(tmp_path)))


def test_the_page_needs_nothing_else(nights, tmp_path):
    page = page_of(nights[3], output=str(tmp_path / "x.html"), audit=make_audit(nights[3], nights[:3], DRIFTED))
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), attributes
        assert "style" not in attributes  # the policy would drop it
    assert not re.search(r"url\(|@import", page.raw["style"])
    assert [attributes for attributes in page.all("link") if attributes["rel"] != "icon"] == []


def test_the_policy_allows_the_page_s_own_script_and_style_alone(nights, tmp_path):
    page = page_of(nights[3], output=str(tmp_path / "x.html"))
    (policy,) = (tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for name, content_ in page.raw.items():
        digest = base64.b64encode(hashlib.sha256(content_.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert (len(page.all("script")), len(page.all("style"))) == (1, 1)


def test_names_and_ids_are_shown_inert(tmp_path, monkeypatch):
    run, reference = str(tmp_path / "run"), str(tmp_path / "reference")
    for uri in (run, reference):
        write_night(uri, 64, names=EVIL, failing=3)
    audit = make_audit(run, [reference], DRIFTED)
    audit["verdict"]["headline"] = EVIL[0]
    audit["verdict"]["reasons"] = [{"topic": "model", "alarm": True, "message": text} for text in EVIL]
    audit["references"][0]["uri"] = EVIL[1]
    text = storage.read_bytes(write_report(Run.open(run), audit=audit)).decode()
    page, tame = Page(text), page_of(reference)
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in tame.tags} | {"article", "h4", "path", "line", "circle"}
    assert {attributes["src"][:11] for attributes in page.all("img")} == {"data:image/"}
    assert "<script>alert(1)</script>" in page.text  # as text
    assert "{{ 7 * 7 }}" in page.text
    assert "⟨202E⟩gnp.exe⟨2066⟩" in page.text
    assert "\u202e" not in text and "\0" not in text
    assert "w" * 500 not in text
    assert "…" in page.text


def test_the_page_of_512_images_is_made_quickly_and_without_tensorflow(tmp_path):
    run = str(tmp_path / "run")
    write_night(run, 512, failing=3)
    code = (
        "import sys, time; from pipeline.cli import main; status = main(['report', sys.argv[1]]);"
        "print(status, time.process_time(), sorted({'apache_beam', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, run], capture_output=True, text=True, check=True)
    status, seconds, modules = done.stdout.splitlines()[-1].split(maxsplit=2)
    assert (status, modules) == ("0", "[]")
    assert float(seconds) < 5  # of processor time, as a busy machine is no failure
    assert storage.size(f"{run}/report.html") < 5e6


def test_the_page_is_the_same_for_the_same_run(nights, tmp_path):
    pages = [storage.read_bytes(write_report(Run.open(nights[3]), str(tmp_path / f"{i}.html"))) for i in range(2)]
    assert pages[0] == pages[1]
    assert Run.open(nights[3]).manifest.rows == 160
