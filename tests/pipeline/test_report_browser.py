"""The page in a real browser: it opens without a complaint, shows its pictures, sorts, searches and fits a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.report import write_report
from tests.report_run import NAMES, make_audit, write_night
from transforms.store.run import Run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SCREENSHOTS = os.environ.get("IG_AUDIT_SCREENSHOTS", "")
"""A folder to leave screenshots in, to be looked at."""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        # with a new, empty folder for its user's data
        launched = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    nights = [str(folder / f"2026-11-{day}") for day in (18, 19, 20, 21)]
    names = [*NAMES, *(f"class {i}" for i in range(20))]
    for seed, night in enumerate(nights):
        write_night(night, 196, seed, stamped=0.6 * (seed == 3), failing=seed, names=names)
    audit = make_audit(nights[3], nights[:3], [("predicted", "1"), ("label", "1")])
    return Path(write_report(Run.open(nights[3]), audit=audit))


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def page(request, browser, report):
    """The opened page, at each width and in each colour scheme; fails on anything the browser complains of."""
    size, scheme = request.param
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
    complaints: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request", lambda asked: complaints.append(asked.url) if asked.url[:5] not in ("file:", "data:") else None
    )
    opened.goto(report.as_uri())
    yield opened
    if SCREENSHOTS:
        os.makedirs(SCREENSHOTS, exist_ok=True)
        opened.screenshot(path=f"{SCREENSHOTS}/report-{size}-{scheme}.png", full_page=True)
    context.close()
    assert complaints == []


def shown_lines(page) -> list[str]:
    """The visible slices, from the top."""
    return page.locator("#slice-table tbody tr:visible th").all_inner_texts()


def test_it_opens_and_shows_its_pictures(page):
    assert page.locator("h1").inner_text() == "2026-11-21"
    assert page.locator(".verdict.drift h2").is_visible()
    assert page.evaluate("document.images.length") > 100
    assert (
        page.evaluate("[...document.images].filter((image) => !(image.complete && image.naturalWidth > 0)).length") == 0
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # wide tables scroll by themselves
    sides = page.evaluate(
        "[...document.querySelectorAll('img.map')].filter((map) => map.checkVisibility())"
        ".map((map) => [map.clientWidth, map.clientHeight])"
    )
    assert all(abs(width - height) <= 1 and width > 30 for width, height in sides)
    light = page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert red > 200 if light else red < 50


def test_it_sorts(page):
    def numbers() -> list[float]:
        cells = page.locator("#slice-table tbody tr:visible td.n:nth-of-type(3)")
        return [float(cell.get_attribute("data-v")) for cell in cells.all()]

    head = page.locator("#slice-table thead button", has_text="Rows")
    head.click()
    assert numbers() == sorted(numbers(), reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert shown_lines(page)[0] == "All images"
    head.focus()
    page.keyboard.press("Enter")
    assert numbers() == sorted(numbers())
    assert numbers() != sorted(numbers(), reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.locator("#slice-table thead button", has_text="Slice").click()
    assert shown_lines(page)[0].startswith("Wrong")


def test_it_searches(page):
    assert len(shown_lines(page)) == 25
    page.get_by_label("Search slices").fill("LABELED moped")
    assert shown_lines(page) == ["Labeled moped"]
    page.get_by_label("Search slices").fill("nothing like it")
    assert shown_lines(page) == []
    page.get_by_label("Search slices").fill("")
    page.get_by_label("Kind of slice").select_option("label")
    page.get_by_role("button", name="Show all").click()
    assert len(shown_lines(page)) == len(NAMES) + 20
    assert page.locator("output.count").inner_text().startswith(f"{len(NAMES) + 20} of ")


def test_it_is_walked_by_keyboard(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, [tabindex]')]"
        ".filter((part) => !(part.ariaLabel || part.textContent.trim())).length"
    )
    assert unnamed == 0


def test_without_scripts_all_slices_are_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#slice-table tbody tr").count() == page.locator("#slice-table tbody tr:visible").count() > 25
    assert not page.locator(".finder").is_visible()
    context.close()
