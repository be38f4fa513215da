"""What the panel in 3D Slicer and the page of the Explorer decide alike, since one controller decides it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sys

import numpy as np
import pytest

from SPRCore.live import protocol

pytestmark = pytest.mark.slicer
MODEL = "general-hyper-spr"


class Face:
    """One registration as a face shows it, on a worker that the test plays."""

    def __init__(self, controller):
        from harness import pairs

        self.controller, self.worker = controller, pairs.PlayedWorker()
        controller.transport = self.worker
        self.parameters = controller.parameters

    def begin(self, show=True):
        """Choose the first two images, and open them with the first change of the setting."""
        self.choose(*self.images[:2])
        self.slide("alpha", 0.2)
        self.worker.greet()
        self.worker.answer_open()
        if show:
            self.answer(1.0)

    def answer(self, value, **facts):
        """Answer the last request for a preview."""
        self.worker.result(self.worker.last(protocol.Update).id, value, **facts)


class Panel(Face):
    """The panel in 3D Slicer."""

    def __init__(self, module):
        self.ui, self.images, self.panel = module.ui, module.images, module.panel
        super().__init__(module.panel.controller)

    def choose(self, fixed, moving):
        for selector, image in ((self.ui.fixedSelector, fixed), (self.ui.movingSelector, moving)):
            from harness import driving

            driving.pick(selector, image.GetName())

    def slide(self, field, value):
        from harness import driving

        driving.drag(getattr(self.ui, f"{field}Slider"), (value,))

    def set(self, field, value):
        setattr(self.parameters, field, type(getattr(self.parameters, field))(value))

    def check(self):
        return self.ui.guardLabel.text, bool(self.ui.alignRigidButton.visible)

    def verdict(self):
        return self.ui.badgeLabel.text

    def latency(self):
        return self.ui.latencyLabel.text

    def marked(self, field):
        section = next(each for each in self.panel.sections if hasattr(each, "zone"))
        return section.zone(field).visible, getattr(self.ui, f"{field}Slider").toolTip

    def label(self, field):
        return getattr(self.ui, f"{field}Label").text


class Page(Face):
    """The page of the Explorer, without a browser."""

    def __init__(self, controller, images):
        self.images = images
        super().__init__(controller)
        controller.may_start = lambda: True

    def choose(self, fixed, moving):
        self.controller.choose({"fixedVolume": fixed})
        self.controller.choose({"movingVolume": moving})

    def slide(self, field, value):
        self.controller.change(field, value)
        self.controller.end_gesture()

    def set(self, field, value):
        self.controller.change(field, value)

    def check(self):
        from SPRExplorer import state

        shown = state.PageState()
        state.update_check(shown, self.controller)
        return "\n".join(shown.check), shown.can_align

    def verdict(self):
        from SPRExplorer import state

        badge = state.state_of(self.controller).badge
        return badge["line"] if badge else "No result yet."

    def latency(self):
        return state_of(self.controller).latency

    def marked(self, field):
        trained = state_of(self.controller).trained
        return field in trained, f"Beyond training above {trained[field]:g}" if field in trained else ""

    def label(self, field):
        return state_of(self.controller).labels.get(field, "")


def state_of(controller):
    from SPRExplorer import state

    return state.state_of(controller)


@contextlib.contextmanager
def page(scene):
    if importlib.util.find_spec("trame_slicer") is None:
        pytest.skip("trame-slicer is not installed")
    for name in [name for name in sys.modules if name.split(".")[0] in ("SPRRegistrationLib", "SPRExplorer")]:
        del sys.modules[name]  # the module in 3D Slicer is loaded anew for each test, too
    from harness import pairs
    from SPRRegistrationLib.worker_control import WorkerOptions

    from SPRExplorer.controller import ExplorerController

    controller = ExplorerController(scene, WorkerOptions(["worker"]))
    arrays = [np.random.default_rng(seed).normal(size=(12, 11, 10)).astype(np.float32) for seed in (1, 2, 3)]
    names = ("before", "after", "third")
    face = Page(controller, [pairs.add_volume(scene, *each, np.eye(4)) for each in zip(names, arrays, strict=True)])
    yield face
    face.worker.stop = lambda: asyncio.sleep(0)
    asyncio.run(controller.close())


@pytest.fixture(params=["panel", "page"])
def face(request):
    """Each face with three images in the scene."""
    made = Panel(request.getfixturevalue("module")) if request.param == "panel" else None
    with contextlib.nullcontext(made) if made else page(request.getfixturevalue("scene")) as shown:
        yield shown
        shown.worker.close()


@pytest.mark.parametrize(("alignment", "origin", "offered"), [("none", 5000, True), ("auto", 5000, False),
                                                              ("rigid", 5000, False), ("none", 0, False)])  # fmt: skip
def test_alignment_is_offered_where_it_helps_and_is_not_chosen(face, alignment, origin, offered):
    face.images[1].SetOrigin(origin, 0, 0)
    face.set("alignment", alignment)
    face.choose(*face.images[:2])
    text, can_align = face.check()
    assert can_align == offered
    assert ("align" in text) == (origin > 0 or alignment == "rigid" or alignment == "auto")


def test_the_kind_of_image_is_compared_with_the_task_model(face, monkeypatch):
    from SPRRegistrationLib.scene import dicom

    kinds = {"before": "MR", "after": "MR", "third": "CT"}
    monkeypatch.setattr(dicom, "tags_of", lambda volume: {"Modality": kinds[volume.GetName()]})
    face.set("method", "cardiac-cine-hyper-spr-semi")
    face.choose(*face.images[:2])
    assert "an image is" not in face.check()[0]
    face.choose(face.images[0], face.images[2])
    assert "an image is CT" in face.check()[0]


def test_the_warm_up_of_a_network_goes_on_whatever_changes(face):
    face.choose(*face.images[:2])
    face.set("method", MODEL)
    face.slide("alpha", 0.05)
    face.worker.greet()
    face.worker.answer_open()
    assert face.worker.last(protocol.ToggleSweep).on
    assert face.controller.session.sweeping
    for field, value in (("alpha", 0.06), ("lambdaMax", 1.5)):
        face.slide(field, value)
        face.answer(1.0)
    for value in (True, False):
        face.set("sweep", value)
    assert [request.on for request in face.worker.requests if request.verb == "sweep"] == [True]
    assert face.controller.session.sweeping


def test_settings_beyond_training_are_usable_and_marked(face):
    face.choose(*face.images[:2])
    face.set("method", MODEL)
    face.slide("alpha", 0.05)
    face.worker.greet()
    ranges = {"alpha": (0.002, 0.24), "lambda_max": (0.5, 6.0)}
    face.worker.answer_open(ranges=ranges, trained={"alpha": 0.19, "lambda_max": 6.0})
    shown, text = face.marked("alpha")
    assert shown
    assert "Beyond training above 0.19" in text
    assert not face.marked("lambdaMax")[0]
    face.answer(1.0)
    face.slide("alpha", 0.2)
    assert face.worker.last(protocol.Update).setting["alpha"] == pytest.approx(0.2)
    face.answer(1.0)  # alpha 0.2
    assert face.latency().endswith("beyond training")
    face.set("method", "instance")
    face.worker.answer_open()
    face.slide("alpha", 0.21)
    face.answer(1.0)
    assert not face.marked("alpha")[0]
    assert "beyond" not in face.latency()


def test_the_stiffness_of_a_hypermorph_is_named(face):
    from SPRRegistrationLib import models, sliders

    card = {"prior": "uniform", "ranges": {"lambda": [0, 99]}, "defaults": {"lambda": 3.0}, "weighting": "hypermorph"}
    card |= {"units": "voxel"}
    model = models.TaskModel("hm", None, card)
    face.controller.models.append(model)
    assert sliders.ranges_of(None, model)["strength"] == pytest.approx((0.0526, 19.0), abs=1e-3)
    assert any("λ/(1 − λ)" in text for _name, text in models.card_lines(model))  # noqa: RUF001
    assert ("stiffness (lambda)", "trained from 0 to 99, usable to 118.8") in models.card_lines(model)
    assert ("Smoothness measured in", "voxels") in models.card_lines(model)
    sliders.take_model(face.parameters, model)
    face.controller.on_change()
    assert "λ/(1 − λ) of HyperMorph" in face.label("strength")  # noqa: RUF001


def test_the_settings_map_of_the_optimization_is_filled_only_if_wanted(face):
    face.begin()
    face.slide("alpha", 0.3)
    assert "sweep" not in face.worker.verbs()
    for value in (True, False):
        face.set("sweep", value)
        assert face.worker.last(protocol.ToggleSweep).on == value
    assert face.worker.verbs().count("sweep") == 2


def test_one_preview_is_computed_at_a_time_and_the_last_setting_wins(face):
    face.begin()
    before = face.worker.verbs().count("update")
    for value in (0.3, 0.4, 0.5):
        face.controller.slide("alpha", value)
    assert face.worker.verbs().count("update") == before + 1
    assert face.worker.last(protocol.Update).setting["alpha"] == 0.3
    face.answer(2.0)
    assert face.worker.verbs().count("update") == before + 2
    assert face.worker.last(protocol.Update).setting["alpha"] == 0.5


def test_what_the_sliders_say_is_shown_without_moving_them_again(face):
    face.choose(*face.images[:2])
    face.set("live", False)
    face.slide("alpha", 0.3)
    assert face.controller.session is None
    face.controller.suggest()
    face.set("live", True)
    face.worker.greet()
    face.worker.answer_open()
    assert face.worker.last(protocol.Update).setting["alpha"] == pytest.approx(0.3, abs=0.01)


def test_an_opened_pair_does_not_replace_apply_by_a_preview(face):
    face.choose(*face.images[:2])
    face.controller.apply()
    face.worker.greet()
    face.worker.answer_open(setting={"alpha": 0.5, "lambda_max": 1.0})
    assert face.controller.is_committing
    assert face.worker.verbs()[-1] == "commit"


def test_painted_stiffness_is_sent_and_shown(face):
    import slicer

    face.begin()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    from SPRRegistrationLib.scene import geometry

    labels = np.zeros((12, 11, 10), dtype=np.uint8)
    labels[:6] = 1
    geometry.set_image(node, labels, np.eye(4))
    node.CreateDefaultDisplayNodes()
    face.parameters.fixedLabels = node
    face.controller.changed()
    count = len(face.worker.verbs())
    face.controller.paint(1, 10.0)
    assert face.worker.verbs()[count:] == ["stiffness", "update"]


def test_swap_exchanges_the_annotations_and_releases_the_painted_segments(face):
    import slicer

    face.choose(*face.images[:2])
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    segments = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    face.parameters.fixedLandmarks, face.parameters.stiffnessSegments = points, segments
    face.controller.swap()
    parameters = face.parameters
    assert (parameters.fixedVolume, parameters.movingVolume) == (face.images[1], face.images[0])
    assert (parameters.fixedLandmarks, parameters.movingLandmarks) == (None, points)
    assert parameters.stiffnessSegments is None
    assert segments.GetScene() is not None, "a segmentation of the user stays in the scene"


def test_other_images_begin_without_report_and_with_lines_that_fit(face):
    face.begin()
    face.controller.apply()
    face.worker.result(face.worker.last(protocol.Commit).id, 2.0, final=True)
    assert "olding" in face.verdict()
    assert json.loads(face.parameters.report)
    face.images[2].SetSpacing(20, 20, 20)
    face.choose(face.images[2], face.images[1])
    assert face.parameters.report == face.parameters.quality == ""
    assert face.parameters.gridSpacingMm == 15
    assert face.verdict() == "No result yet."


def test_the_verdict_saved_with_the_scene_is_shown_without_a_worker(face):
    face.begin()
    face.controller.apply()
    face.worker.result(face.worker.last(protocol.Commit).id, 2.0, final=True)
    face.controller.end_session()
    face.controller.on_change()
    assert "olding" in face.verdict()


def test_the_sample_has_its_own_setting_and_another_image_does_not(face):
    from SPRRegistrationLib.parameters import setting_of

    face.set("live", False)
    face.controller.load_sample()
    assert setting_of(face.parameters) == {"alpha": 0.01, "lambda_max": 1.0}
    face.controller.swap()
    assert setting_of(face.parameters)["alpha"] == 0.01
    face.choose(*face.images[:2])
    assert setting_of(face.parameters) == {"alpha": 0.1, "lambda_max": 1.0}


def test_undo_returns_to_each_setting_that_was_chosen(face):
    from SPRRegistrationLib.parameters import setting_of

    face.set("live", False)
    face.controller.go_to({"alpha": 0.2, "lambda_max": 1.0})
    face.slide("alpha", 0.4)
    face.controller.recommend("alpha")
    seen = []
    for _step in range(2):
        face.controller.undo()
        seen.append(setting_of(face.parameters)["alpha"])
    face.controller.redo()
    assert [*seen, setting_of(face.parameters)["alpha"]] == pytest.approx([0.4, 0.2, 0.4], abs=0.02)


def test_a_snapshot_keeps_what_was_measured(face):
    from SPRRegistrationLib.scene import snapshots

    face.begin()
    face.controller.apply()
    face.worker.result(face.worker.last(protocol.Commit).id, 2.0, final=True)
    face.controller.end_session()
    face.controller.keep("A")
    assert snapshots.snapshots_of(face.parameters)["A"].quality["max_displacement_mm"] == 2.0


def test_nothing_is_started_that_may_not_be(face):
    face.controller.may_start = lambda: False
    face.choose(*face.images[:2])
    face.slide("alpha", 0.3)
    assert face.controller.session is None
    face.controller.apply()
    assert face.controller.session is not None, "Apply asks before"
