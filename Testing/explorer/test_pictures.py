"""The Explorer on the real worker, as a visitor meets it; with SPR_PICTURES=1 its pictures go to docs/images.

They are to be looked at, after every change of the page.
"""

from __future__ import annotations

import io
import os
import time

import numpy as np
import pytest
from driving import Page, wait

pytestmark = [pytest.mark.slicer, pytest.mark.slow, pytest.mark.timeout(1500)]

WANTED = bool(os.environ.get("SPR_PICTURES"))


@pytest.fixture(scope="module")
def page(serve, browser):
    """The page as `spr explore` shows it."""
    server = serve()
    page = Page(browser, server.address)
    yield page
    assert server.is_running


@pytest.fixture
def keep(page, repository):
    """Write a picture of the page, if pictures are wanted."""

    def write(name, part=""):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(page.driver).move_to_element(page.find(".spr-name")).perform()  # no explanation over the picture
        time.sleep(2.5)  # the views are drawn sharper once nothing moves
        if WANTED:
            path = str(repository / "docs" / "images" / f"{name}.png")
            page.find(part).screenshot(path) if part else page.driver.save_screenshot(path)

    return write


def colors(picture):
    """How colorful each pixel of a PNG is."""
    from PIL import Image

    values = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return values.max(axis=-1) - values.min(axis=-1)


def test_the_sample_is_registered_and_looks_good(page, keep):
    page.set("theme", "light")
    page.wait_state("has_result")
    assert page.get("guard_level") == "plain"
    if not page.get("is_exact"):
        assert not page.get("map_known"), "the map of a first guess contradicts the exact one"
        assert page.get("badge")["level"] == "preview"
    page.click(page.find("#spr-apply"))
    page.wait_state("has_report", seconds=600)
    assert page.get("badge")["level"] == "good"
    quality = dict(page.get("measures"))
    overlap, distance = quality["Overlap of the segments (Dice)"], quality["Distance of the landmarks"]
    before, after = (float(part.split()[0]) for part in overlap.split("→"))
    assert after > max(before, 0.88), "the sample shows a gain"
    assert float(distance.split("→")[1].split()[0]) < 2.0
    page.js("document.querySelector('.spr-panel').scrollTo(0, 0)")
    keep("explorer-light")


def test_a_suggested_setting_is_marked(page, keep):
    page.click(page.button("Suggest a setting"))
    page.wait_state("can_take", seconds=120)
    assert page.get("suggested").keys() == {"alpha", "lambdaMax"}
    keep("explorer-suggestion", "[data-spr-section=settings]")


def test_the_maps_are_seen(page, keep):
    page.set("theme", "dark")
    page.set("showDisplacement", False)
    page.set("showWeight", False)
    time.sleep(3)
    plain = (colors(page.picture(2)) > 60).mean()
    page.set("showWeight", True)
    wait(lambda: (colors(page.picture(2)) > 60).mean() > plain + 0.01, 60)
    page.set("showDisplacement", True)
    page.js("document.querySelector('[data-spr-section=show]').scrollIntoView()")
    keep("explorer-dark")


def test_the_settings_map_on_real_settings(page, keep):
    page.section("map")
    page.set("sweep", True)
    page.wait_for("document.querySelectorAll('.spr-map button').length >= 24", 600)
    assert "◆" in page.get("map")["legend"]
    page.js("document.querySelector('[data-spr-section=map]').scrollIntoView({block: 'end'})")
    keep("explorer-map")
    page.set("sweep", False)


def test_it_fits_a_telephone(page, keep):
    page.driver.set_window_size(520, 1100)
    try:
        time.sleep(2)
        page.js("scrollTo(0, 0)")
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
        keep("explorer-narrow")
    finally:
        page.driver.set_window_size(1500, 1040)


def test_what_was_painted_is_refused_by_a_model_in_words_and_can_be_taken_back(page):
    page.set("sweep", False)
    page.wait_state("has_result")
    page.js("document.querySelector('details[data-spr-section=painted]').open = true")

    def choose(text):
        page.click(
            page.driver.find_elements("css selector", "details[data-spr-section=painted] .v-select .v-field")[-1]
        )
        items = ".v-overlay--active .v-list-item"
        wait(lambda: [each for each in page.driver.find_elements("css selector", items) if each.text == text], 60)[
            0
        ].click()

    choose("10 times stiffer")
    wait(lambda: [row["factor"] for row in page.get("painted")] == [1, 1, 1, 10], 60)
    time.sleep(1)
    page.set("method", "general-hyper-spr")
    page.wait_state("failed")
    assert "set refine" in page.get("status")
    choose("unchanged")
    page.wait_state("failed", False)
    page.wait_state("has_result")
    assert [row["factor"] for row in page.get("painted")] == [1, 1, 1, 1]
    assert not page.errors()
