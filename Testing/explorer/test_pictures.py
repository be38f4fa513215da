"""The Explorer with the real worker; with SPR_PICTURES=1 the pictures of the documentation are written to docs/images.

Look at them after every change of the page.
"""

from __future__ import annotations

import io
import os
import time

import numpy as np
import pytest
from driving import Page, wait

pytestmark = [pytest.mark.slicer, pytest.mark.slow, pytest.mark.timeout(1500)]

WRITE_PICTURES = bool(os.environ.get("SPR_PICTURES"))


@pytest.fixture(scope="module")
def page(serve, browser):
    """The page as `spr explore` shows it."""
    server = serve()
    page = Page(browser, server.address)
    yield page
    assert server.is_running


@pytest.fixture
def save(page, repository):
    """Write a picture of the page, or of a part of it, with SPR_PICTURES=1."""

    def write(name, part=""):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(page.driver).move_to_element(page.find(".spr-name")).perform()  # hides tooltips
        time.sleep(2.5)  # full resolution follows at rest
        if WRITE_PICTURES:
            path = str(repository / "docs" / "images" / f"{name}.png")
            page.find(part).screenshot(path) if part else page.driver.save_screenshot(path)

    return write


def colors(picture):
    """Saturation of each pixel of a PNG: its largest minus its smallest channel."""
    from PIL import Image

    values = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return values.max(axis=-1) - values.min(axis=-1)


def test_the_sample_pair_is_registered(page, save):
    page.set("theme", "light")
    page.wait_state("has_result")
    assert page.get("check_level") == "plain"
    if not page.get("is_exact"):
        assert not page.get("map_known"), "the map of a preview would contradict the exact one"
        assert page.get("badge")["level"] == "preview"
    page.click(page.find("#spr-apply"))
    page.wait_state("has_report", seconds=600)
    assert page.get("badge")["level"] == "good"
    quality = dict(page.get("measures"))
    overlap, distance = quality["Overlap of the segments (Dice)"], quality["Distance of the landmarks"]
    before, after = (float(part.split()[0]) for part in overlap.split("→"))
    assert after > max(before, 0.88), "the registration of the sample improves the overlap"
    assert float(distance.split("→")[1].split()[0]) < 2.0
    page.js("document.querySelector('.spr-panel').scrollTo(0, 0)")
    save("explorer-light")


def test_a_suggested_setting_is_marked(page, save):
    page.click(page.button("Suggest a setting"))
    page.wait_state("can_take", seconds=120)
    assert page.get("suggested").keys() == {"alpha", "lambdaMax"}
    save("explorer-suggestion", "[data-spr-section=settings]")


def test_the_maps_are_visible(page, save):
    page.set("theme", "dark")
    page.set("showDisplacement", False)
    page.set("showWeight", False)
    time.sleep(3)
    plain = (colors(page.picture(2)) > 60).mean()
    page.set("showWeight", True)
    wait(lambda: (colors(page.picture(2)) > 60).mean() > plain + 0.01, 60)
    page.set("showDisplacement", True)
    page.js("document.querySelector('[data-spr-section=show]').scrollIntoView()")
    save("explorer-dark")


def test_the_uncertainty_is_visible(page, save):
    page.set("showDisplacement", False)
    page.click(page.find("#spr-apply"))
    page.wait_state("has_report", seconds=600)
    page.set("showUncertainty", True)
    wait(lambda: page.get("uncertainty")["is_exact"], 600)
    end = page.get("uncertainty")["end_mm"]
    assert 0.5 < end <= 30, "of the sample, whose largest displacement is 30 mm"
    plain = page.picture(2)
    page.set("hatchAboveMm", 4.0)
    wait(lambda: page.picture(2) != plain, 60)
    page.click(page.button("Landmarks"))
    page.wait_for("document.querySelectorAll('#spr-landmarks tr').length > 2")
    page.js("document.querySelector('[data-spr-section=show]').scrollIntoView()")
    save("explorer-uncertainty")
    page.set("hatchAboveMm", 0.0)
    page.set("showUncertainty", False)


def test_the_settings_map_on_real_settings(page, save):
    page.section("map")
    page.set("sweep", True)
    page.wait_for("document.querySelectorAll('.spr-map button').length >= 24", 600)
    assert "◆" in page.get("map")["legend"]
    page.js("document.querySelector('[data-spr-section=map]').scrollIntoView({block: 'end'})")
    save("explorer-map")
    page.set("sweep", False)


def test_a_narrow_window(page, save):
    page.driver.set_window_size(520, 1100)
    try:
        time.sleep(2)
        page.js("scrollTo(0, 0)")
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
        save("explorer-narrow")
    finally:
        page.driver.set_window_size(1500, 1040)


def test_a_model_without_refinement_refuses_stiffness_factors(page):
    page.set("sweep", False)
    page.wait_state("has_result")
    page.js("document.querySelector('details[data-spr-section=factors]').open = true")

    def choose(text):
        page.click(
            page.driver.find_elements("css selector", "details[data-spr-section=factors] .v-select .v-field")[-1]
        )
        items = ".v-overlay--active .v-list-item"
        wait(lambda: [each for each in page.driver.find_elements("css selector", items) if each.text == text], 60)[
            0
        ].click()

    choose("10 times stiffer")
    wait(lambda: [row["factor"] for row in page.get("factors")] == [1, 1, 1, 10], 60)
    time.sleep(1)
    page.set("method", "general-hyper-spr")
    page.wait_state("failed")
    assert "set refine" in page.get("status")
    choose("unchanged")
    page.wait_state("failed", False)
    page.wait_state("has_result")
    assert [row["factor"] for row in page.get("factors")] == [1, 1, 1, 1]
    assert not page.errors()
