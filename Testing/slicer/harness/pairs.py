"""A registration in a scene, and a worker that the test plays word by word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from SPRCore.live import protocol
from SPRCore.live.arrays import SegmentStore
from SPRCore.live.wire import read_request, to_line
from SPRCore.regularization.hyperparameters import usual_ranges

SHAPE = (8, 9, 10)
AFFINE = np.diag([2.0, 2.5, 3.0, 1.0])


def add_volume(scene, name, array, affine=AFFINE):
    """Add an image to a scene."""
    from SPRRegistrationLib.scene import geometry

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    geometry.set_image(volume, array, affine)
    volume.CreateDefaultDisplayNodes()
    return volume


def add_registration(scene, name="A"):
    """Add a pair of images and the parameters of its registration."""
    from SPRRegistrationLib.parameters import SPRRegistrationParameters

    node = scene.AddNode(slicer.vtkMRMLScriptedModuleNode())
    node.SetName(name)
    parameters = SPRRegistrationParameters(node)
    generator = np.random.default_rng(len(name))
    for side in ("fixed", "moving"):
        array = generator.uniform(0, 100, SHAPE).astype(np.float32)
        setattr(parameters, f"{side}Volume", add_volume(scene, f"{side} {name}", array))
    return parameters


class PlayedWorker:
    """The transport of a session and the worker behind it."""

    def __init__(self):
        self.session = self.on_output = None
        self.starts = self.kills = 0
        self.requests = []
        self._unread = b""
        self._store = None

    def start(self, command):
        self.starts += 1

    def write(self, data):
        self._unread += data

    def kill(self):
        self.kills += 1

    def stop(self):
        self.kills += 1

    def verbs(self, since=0):
        """Names of the requests, without those that release arrays."""
        self.read()
        return [request.verb for request in self.requests[since:] if request.verb != "release"]

    def read(self):
        """Take in what the session has asked."""
        lines, self._unread = self._unread.splitlines(), b""
        self.requests += [read_request(line) for line in lines]

    def last(self, kind):
        self.read()
        return next(request for request in reversed(self.requests) if isinstance(request, kind))

    def say(self, *messages):
        take = self.on_output if self.session is None else self.session.feed
        take(b"".join(map(to_line, messages)))

    def greet(self):
        hello = self.last(protocol.Hello)
        self._store = SegmentStore(Path(hello.folder), "w")
        ready = {"protocol": protocol.PROTOCOL, "version": "0", "torch": "", "device": "cpu", "threads": 1, "pid": 1}
        self.say(protocol.Ready(id=hello.id, **ready))

    def answer_open(self, **alignment):
        request = self.last(protocol.Open)
        prior = request.prior or "beta"
        ranges = usual_ranges(prior)
        setting = ({"alpha": 0.1, "lambda_max": 1.0} if prior == "beta" else {}) | request.setting
        facts = {
            "prior": prior,
            "setting": setting,
            "ranges": ranges,
            "milliseconds": 5.0,
            "init_mm": 0.0,
            "covered": 1.0,
        }
        init = {"init": "none", "init_reason": "same grid, centers of mass 0.4 mm apart"} | dict(alignment)
        self.say(protocol.Opened(id=request.id, **facts | init))

    def arrays(self, value, shape=SHAPE, affine=AFFINE, final=False):
        field = np.full((*shape, 3), value, dtype=np.float32)
        weight = np.full(shape, 0.25, dtype=np.float32)
        arrays = {"displacement": (field, affine), "weight": (weight, affine)}
        return arrays | ({"inverse": (-field, affine), "warped": (weight, affine)} if final else {})

    def result(self, id_, value=1.0, final=False, improvement=False, place=0, known=True, warnings=(), **grid):
        segment = self._store.put(place, self.arrays(value, final=final, **grid))
        quality = protocol.DeformationQuality(
            folding_percent=0.0, min_jacobian=0.5, max_displacement_mm=value, similarity=0.5, weight_gap=0.0
        )
        before, after = {"dice_mean": 0.7, "lncc": 0.3}, {"dice_mean": 0.8, "dice": {"1": 0.8}, "lncc": 0.45}
        metrics = {"before": before, "after": after} if final else {}
        facts = {"milliseconds": 64.0, "age_ms": 2.0, "setting": {"alpha": 0.2, "lambda_max": 1.0}}
        kind = {"exact": final, "improvement": improvement, "stage": "exact" if final else "preview"}
        kind |= {"weight_known": final or known, "warnings": warnings}
        self.say(protocol.ReplyMessage(id=id_, quality=quality, segment=segment, metrics=metrics, **facts, **kind))

    def uncertainty(self, id_, array, affine, metrics, place=7, **facts):
        """Send an uncertainty; facts: setting, exact, fine."""
        segment = self._store.put(place, {"uncertainty": (array, affine)})
        self.say(protocol.UncertaintyMessage(id=id_, segment=segment, metrics=metrics, milliseconds=900.0, **facts))

    def chosen(self, compared=True, prior="beta", **setting):
        setting = setting or {"alpha": 0.3, "lambda_max": 4.0}
        facts = {"compared": compared, "blocks": 9 if compared else 2, "prior": prior, "setting": setting}
        warnings = () if compared else ("No setting was chosen for this pair.",)
        self.say(protocol.Chosen(id=self.last(protocol.Choose).id, warnings=warnings, **facts))

    def close(self):
        if self._store is not None:
            self._store.sweep("w")
