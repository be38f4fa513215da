"""The uncertainty on the page in a headless browser, with a worker that computes nothing."""

from __future__ import annotations

import pytest
from driving import Page, wait

pytestmark = [pytest.mark.slicer, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture
def page(serve, browser):
    """The page with the sample pair and a deformation."""
    server = serve(quick=True)
    page = Page(browser, server.address)
    page.wait_state("has_result")
    yield page
    assert server.is_running
    assert not page.errors()


def test_the_uncertainty_is_shown_with_legend_landmarks_and_download(page):
    legends = "[...document.querySelectorAll('.spr-legend')].filter(e => e.offsetParent).map(e => e.innerText)"
    page.click(page.find("#spr-apply"))
    page.wait_state("has_report")
    page.press("u")
    wait(lambda: page.get("uncertainty")["is_exact"])
    assert page.get("uncertainty")["text"] == "Median ± 0.5 mm, 95 % of the image below ± 1.5 mm"
    page.wait_for(f"{legends}.some(text => text.startsWith('Uncertainty (± mm)'))")
    assert not page.js(f"return {legends}.some(text => text.startsWith('Stiffness'))")
    page.set("hatchAboveMm", 0.5)
    page.wait_for(f"{legends}.some(text => text.includes('lines: above 0.5 mm'))")
    page.click(page.button("Landmarks"))
    page.wait_for("document.querySelectorAll('#spr-landmarks tr').length > 1")
    size = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('explorer/export/uncertaintyVolume.nii.gz')"
        ".then(async a => done(a.ok ? (await a.arrayBuffer()).byteLength : -a.status))"
    )
    assert size > 100
    page.set("hatchAboveMm", 0.0)
    page.press("u")
    page.wait_for(f"{legends}.some(text => text.startsWith('Stiffness'))")
