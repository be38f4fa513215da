"""The page in a headless browser: user actions and failures, with a worker that computes nothing."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from driving import Page, wait

from SPRCore.io.places import SUFFIX, packaged_folder

pytestmark = [pytest.mark.slicer, pytest.mark.slow, pytest.mark.timeout(1500)]

SECTIONS = ["Inputs", "Task model", "Regularization", "Show", "Quality", "Settings map", "Export"]


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory):
    return serve(quick=True, models=str(tmp_path_factory.mktemp("models")))


@pytest.fixture
def page(server, browser):
    """The page with the sample pair and a deformation."""
    page = Page(browser, server.address)
    page.set("live", True)
    page.set("help", False)  # the last change of a test may not have reached the server
    page.wait_state("has_result")
    page.errors()
    yield page
    assert server.is_running
    assert not page.errors()


def test_sections_and_order_of_the_slicer_panel(page):
    titles = page.js("return [...document.querySelectorAll('.v-expansion-panel-title')].map(e => e.innerText.trim())")
    assert titles == SECTIONS
    assert page.get("names")["fixedVolume"].startswith("Breathed out")
    assert page.get("check_level") == "plain"
    assert "fit" not in " ".join(page.get("check"))


@pytest.mark.parametrize("field", ["alpha", "lambdaMax"])
def test_dragging_a_slider_changes_the_image(page, field):
    before, was = page.picture(0), page.get(field)
    page.drag(field, 60)
    assert page.get(field) > was
    wait(lambda: page.picture(0) != before, 60)
    wait(lambda: abs(page.get(field) - page.js("return Number(arguments[0])", page.get(field))) < 1e-9)


def test_apply_gives_an_exact_result_and_exports(page, tmp_path):
    page.click(page.find("#spr-apply"))
    page.wait_state("has_report")
    page.wait_state("is_exact")
    assert "Done" in page.get("status")
    assert page.get("badge")["level"] == "good"
    for name in ("displacementTransform.h5", "inverseTransform.nii.gz", "displacementTransform.nrrd",
                 "deformedVolume.nii.gz", "weightVolume.nii.gz", "report.json"):  # fmt: skip
        size = page.driver.execute_async_script(
            "const done = arguments[1]; fetch('explorer/export/' + arguments[0])"
            ".then(async a => done(a.ok ? (await a.arrayBuffer()).byteLength : -a.status))",
            name,
        )
        assert size > 100, (name, size)


def test_cancel(page):
    page.click(page.find("#spr-apply"))
    page.wait_state("busy")
    page.wait_state("can_apply", False)
    assert page.get("apply_text") == "Apply"
    page.click(page.find("#spr-cancel"))
    page.wait_state("busy", False)
    assert "Cancelled" in page.get("status")


def test_layers_are_switched(page):
    for field in ("showDisplacement", "showWeight", "showJacobian", "showDeformed"):
        was = page.get(field)
        page.set(field, not was)
        time.sleep(1.5)
        assert page.get(field) is not was
        page.set(field, was)
    page.wait_state("showWeight", True)


def test_keys(page):
    was = page.get("showDisplacement")
    page.press("g")
    page.wait_state("showDisplacement", not was)
    page.press("g")
    page.wait_state("showDisplacement", was)
    page.set("lambdaMax", 2.0)
    page.wait_state("lambdaMax", 2.0)
    page.press("]")
    wait(lambda: page.get("lambdaMax") > 2.0, 30)
    page.press("?")
    page.wait_state("help")
    page.set("help", False)


def test_each_prior_has_its_sliders(page):
    page.set("prior", "uniform")
    page.wait_state("sliders", ["strength"])
    page.set("prior", "tv")
    page.wait_state("sliders", ["tv", "tvLambdaMax"])
    assert page.get("limits") == {"tv": [0.02, 2.0], "tvLambdaMax": [1.0, 100.0]}
    page.wait_state("has_result")
    page.set("tvLambdaMax", 60.0)
    page.wait_state("tvLambdaMax", 60.0)
    page.set("prior", "beta")
    page.wait_state("sliders", ["alpha", "lambdaMax"])
    page.wait_state("has_result")


def test_a_suggestion_is_marked_and_taken(page):
    page.set("alpha", 0.1)
    page.wait_state("alpha", 0.1)
    page.click(page.button("Suggest a setting"))
    page.wait_state("can_take")
    assert page.get("suggested") == {"alpha": 0.3, "lambdaMax": 4.0}
    rows = page.js(
        "return ['alpha', 'lambdaMax'].map(f => { const r = document.querySelector(`[data-spr-field=${f}]`);"
        "const d = r.querySelector('.spr-diamond').getBoundingClientRect(), t = r.querySelector('.spr-tick-row')"
        ".getBoundingClientRect(); return [(d.left + d.width / 2 - t.left) / t.width, d.width] })"
    )
    for (position, width), part in zip(rows, ((0.3 - 0.01) / 0.59, 3.5 / 4.5), strict=True):
        assert abs(position - part) < 0.02
        assert width > 4
    page.click(page.button("Use it"))
    page.wait_state("alpha", 0.3)
    page.wait_state("lambdaMax", 4.0)
    page.wait_state("can_take", False)
    assert "already set" in page.get("suggestion")


def test_an_anatomy_preset_is_part_of_the_address(page, server):
    page.set("anatomy", "liver")
    page.wait_state("start", "search")
    page.wait_state("lambdaMax", 20.0)
    assert page.get("limits")["lambdaMax"] == [0.5, 20]
    assert page.get("suggested") == {}, "a suggestion is valid for one start"
    wait(lambda: "anatomy=liver" in page.get("link"), 60)
    assert "lambdaMax" not in page.get("link"), "implied by the anatomy preset"
    page.set("anatomy", "none")
    page.wait_state("start", "rest")
    page.open(server.address + "#anatomy=heart&lambdaMax=3")
    page.wait_state("anatomy", "heart")
    page.wait_state("lambdaMax", 3)
    page.set("anatomy", "none")
    page.wait_state("lambdaMax", 1)


def test_a_task_model_has_its_card_and_values(page):
    page.section("model")
    names = [item["value"] for item in page.get("method_items")]
    assert names[0] == "instance"
    assert len(names) > 1  # those that come with the package
    card = page.get("card")
    page.set("method", names[1])
    wait(lambda: page.get("card") != card)
    page.wait_state("has_result")
    page.wait_for("document.querySelectorAll('.spr-beyond').length === 2")  # a mark on both sliders
    page.set("lambdaMax", 0.95 * page.get("limits")["lambdaMax"][1])
    page.wait_for("document.body.textContent.includes('beyond training, which ended at')")
    wait(lambda: page.get("latency").endswith("beyond training"))
    page.set("method", "instance")
    wait(lambda: page.get("card") == card)
    page.set("prior", "beta")
    page.wait_state("has_result")


def test_undo_redo_and_snapshots(page):
    page.section("map")
    page.set("alpha", 0.2)
    page.wait_state("alpha", 0.2)
    time.sleep(1.5)
    page.set("alpha", 0.3)
    time.sleep(1.5)
    page.wait_state("can_undo")
    page.click(page.button("Undo"))
    page.wait_state("alpha", 0.2)
    page.click(page.button("Keep as A"))
    wait(lambda: "A" in page.get("snapshots"), 30)
    page.click(page.button("Redo"))
    page.wait_state("alpha", 0.3)
    page.click(page.button("Show A"))
    page.wait_state("alpha", 0.2)


def test_a_click_on_the_settings_map_sets_the_sliders(page):
    page.section("map")
    page.set("sweep", True)
    cells = "document.querySelectorAll('.spr-map button').length"
    page.wait_for(f"{cells} == 4")  # all cells: a later row would move the clicked one
    button = page.find(".spr-map button")
    setting = page.get("map")["rows"][0][0]["setting"]
    page.click(button)
    page.wait_state("lambdaMax", setting["lambda_max"])
    wait(lambda: page.get("alpha") == pytest.approx(setting["alpha"]), 30)
    page.set("sweep", False)


def test_a_killed_worker_is_restarted(page, server):
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    wait(lambda: server.workers() and server.workers() != [worker])
    page.wait_state("failed", False)
    before = page.picture(0)
    page.set("alpha", 0.55 if page.get("alpha") < 0.5 else 0.05)
    wait(lambda: page.picture(0) != before)


def test_a_reload_during_a_computation_restores_the_page(page):
    page.set("alpha", 0.25)
    wait(lambda: "alpha=0.25" in page.get("link"))  # the server has it, too
    page.click(page.find("#spr-apply"))
    page.wait_state("busy")
    page.reload()
    assert page.get("alpha") == 0.25
    page.wait_state("has_report")
    page.wait_for("document.querySelector('.layout-grid-item img, .layout-grid-item canvas')")


def test_the_address_contains_the_settings(page, server):
    page.set("alpha", 0.123)
    page.wait_for("location.hash.includes('alpha=0.123')")
    address = page.driver.current_url
    page.set("alpha", 0.4)
    page.wait_for("location.hash.includes('alpha=0.4')")
    page.open(address)
    page.wait_state("alpha", 0.123)


@pytest.mark.parametrize(
    "link", ["alpha=99", "alpha=nan", "method=../../etc/passwd", "prior=x", "fixedVolume=1", "%00"]
)
def test_a_hostile_address_changes_nothing(page, server, link):
    before = {name: page.get(name) for name in ("alpha", "method", "prior", "names")}
    page.js("return window.trame.trigger('link', [arguments[0]])", link)
    time.sleep(1)
    assert {name: page.get(name) for name in before} == before


HOSTILE = (
    ("alpha", 1e9),
    ("alpha", "x"),
    ("alpha", None),
    ("method", "/etc/passwd"),
    ("prior", 3),
    ("showWeight", "yes"),
    ("layout", "nonsense"),
    ("layout", [3]),
    ("show_references", {}),
)


@pytest.mark.parametrize(("field", "value"), HOSTILE)
def test_invalid_values_are_reverted(page, field, value):
    before = page.get(field)
    page.set(field, value)
    if field not in ("layout", "show_references"):
        page.wait_state(field, before, 30)
    page.set("layout", "four")
    assert page.get("names")["fixedVolume"]


def test_two_pages_share_the_state(page, server):
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    second = Page(page.driver, server.address)
    second.set("alpha", 0.35)
    second.wait_state("alpha", 0.35)
    page.driver.close()
    page.driver.switch_to.window(first)
    page.wait_state("alpha", 0.35)


def test_a_lost_connection_is_restored(page):
    page.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    page.wait_for("document.getElementById('spr-lost').classList.contains('on')", 60)
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    lost = "document.getElementById('spr-lost').classList.contains('on')"
    page.wait_for(f"document.documentElement.dataset.sprReady && !({lost})")
    page.wait_state("has_result")
    page.set("alpha", 0.45)
    page.wait_state("alpha", 0.45)
    page.errors()


def test_images_are_uploaded(page, tmp_path):
    import nibabel as nib

    image = nib.Nifti1Image(np.random.default_rng(2).uniform(0, 100, (20, 20, 20)), np.diag([2.0, 2.0, 2.0, 1.0]))
    page.js("document.querySelector('details[data-spr-section=channels]').open = true")
    for field in ("fixedVolume", "movingVolume", "fixedChannel", "movingChannel"):
        path = tmp_path / f"{field} head.nii.gz"
        nib.save(image, path)
        page.find(f"#spr-{field}-file").send_keys(str(path))
        wait(lambda field=field: page.get("names")[field] == f"{field} head")
    page.wait_state("has_result")
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    page.find("#spr-fixedVolume-file").send_keys(str(bad))
    page.wait_state("notice_open")
    assert page.get("names")["fixedVolume"] == "fixedVolume head"
    wait(lambda: any("422" in line for line in page.errors()))  # logged with a delay
    page.set("notice_open", False)
    time.sleep(1)
    page.click(page.button("Load sample data"))
    wait(lambda: (n := page.get("names"))["fixedVolume"].startswith("Breathed out") and not n["fixedChannel"])
    page.wait_state("has_result")


def test_segments_and_landmarks_are_uploaded_shown_and_removed(page, tmp_path):
    import nibabel as nib

    labels, points = tmp_path / "organs.nii.gz", tmp_path / "forks.csv"
    values = np.zeros((40, 40, 40), dtype=np.int16)
    values[10:30, 10:30, 10:30] = 1
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = -100
    nib.save(nib.Nifti1Image(values, affine), labels)
    points.write_text("x,y,z\n10,0,0\n0,20,0\n0,0,30\n", encoding="utf-8")
    page.set("show_references", False)
    page.js("document.querySelector('details[data-spr-section=references]').open = true")
    for field, path in (("fixedLabels", labels), ("fixedLandmarks", points), ("movingLandmarks", points)):
        page.find(f"#spr-{field}-file").send_keys(str(path))
        wait(lambda field=field, path=path: page.get("names")[field].startswith(path.name.split(".")[0]))
    page.wait_state("show_references")
    page.wait_state("has_result")
    with_them = page.picture(0)
    page.set("show_references", False)
    wait(lambda: page.picture(0) != with_them, 60)
    page.click(page.find("button[aria-label^='Landmarks of the fixed image']"))
    wait(lambda: not page.get("names")["fixedLandmarks"])
    page.click(page.button("Load sample data"))
    wait(lambda: page.get("names")["fixedLandmarks"])
    page.wait_state("has_result")


def test_the_stiffness_of_a_segment(page):
    names = [row["name"] for row in page.get("factors")]
    assert names == ["lungs", "liver", "heart", "spine and ribs"]
    page.wait_state("has_result")

    def factor():
        return next(row["factor"] for row in page.get("factors") if row["name"] == "spine and ribs")

    assert factor() == 1
    page.js("document.querySelector('details[data-spr-section=factors]').open = true")
    page.click(page.driver.find_elements("css selector", "details[data-spr-section=factors] .v-select .v-field")[-1])

    def offered():
        items = page.driver.find_elements("css selector", ".v-overlay--active .v-list-item")
        return [item for item in items if item.text == "10 times stiffer"]

    wait(offered, 30)[0].click()
    wait(lambda: factor() == 10, 30)
    page.wait_state("failed", False)
    page.wait_state("has_result")
    page.click(page.button("Load sample data"))
    wait(lambda: factor() == 1, 30)
    page.wait_state("has_result")


def test_a_task_model_is_imported(page):
    model = next(packaged_folder().glob(f"*{SUFFIX}"))
    page.section("model")
    page.find("#spr-model-file").send_keys(str(model))
    page.wait_state("method", model.name[: -len(SUFFIX)])
    page.wait_state("has_result")
    page.set("method", "instance")
    page.set("prior", "beta")
    page.wait_state("sliders", ["alpha", "lambdaMax"])


def test_the_histogram_of_the_stiffness(page):
    page.wait_state("is_exact")
    page.wait_for("document.querySelectorAll('.spr-bar-slot').length == 40")
    texts = page.js("return [...document.querySelectorAll('.spr-bar-slot')].map(each => each.title)")
    shares = [float(text.rpartition(": ")[2].split()[0]) for text in texts]
    assert sum(shares) == pytest.approx(100, abs=3)


def test_narrow_windows_have_the_views_on_top(page):
    page.driver.set_window_size(520, 1000)
    try:
        time.sleep(1)
        views, panel = (page.find(name).rect for name in (".spr-views", ".spr-panel"))
        assert views["y"] < panel["y"]
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.driver.set_window_size(1500, 1040)
