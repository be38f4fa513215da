"""A live worker without computation, which starts at once and fails on request: see `FakeSession`."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np

from SPRCore.live.parts import ChosenSetting, DeformationQuality
from SPRCore.live.protocol import SweepPoint
from SPRCore.live.worker import main


def quality(similarity=0.5):
    """A quality whose smallest Jacobian is not finite."""
    measures = {"folding_percent": 0.0, "min_jacobian": float("nan"), "max_displacement_mm": 1.0, "weight_gap": 0.0}
    return DeformationQuality(similarity=similarity, **measures)


CHOSEN = ChosenSetting(prior="beta", setting={"alpha": 0.3, "lambda_max": 4.0}, compared=True, blocks=12)


class Stopped(Exception):
    pass


class FakeSession:
    """Displacements of `alpha` mm everywhere.

    Hyperparameters: `seconds` of an update, number of `improvements`, each of as many seconds; and failures: `die` by a
    signal, `stick` without checking for requests, `print` to standard output, `fail` with a bug, `fill` so many MiB of
    memory.
    """

    def __init__(self, arrays):
        self.ranges, self.trained = {"alpha": (0.0, 9.0)}, {}
        self.fixed = arrays["fixed"]
        alignment = SimpleNamespace(mode="none", reason="same grid, centers of mass 0.0 mm apart")
        self.pair = SimpleNamespace(alignment=alignment, aligned_mm=0.0, covered=1.0, similarity="lncc")
        self.annotations = {}
        self.setting = dict.fromkeys(("alpha", "seconds", "improvements", "die", "stick", "print", "fail", "fill"), 0.0)
        self.left = 0
        self.swept = 0
        self.choosing_s, self.chosen = 0.3, CHOSEN  # remaining seconds of a choice
        self.factor = 1.0
        self.has_stages, self.estimating_s = True, 0.02
        self.is_exact = self.is_committed = False

    def update(self, should_stop, **changes):
        setting = self.setting | changes
        self._misbehave(setting)
        self._wait(setting["seconds"], should_stop)
        self.setting, self.left, self.is_committed = setting, int(setting["improvements"]), False
        return self._reply("preview", self.left == 0)

    def improve(self, should_stop):
        if self.left == 0:
            return None
        self._wait(self.setting["seconds"], should_stop)
        self.left -= 1
        return self._reply("better", self.left == 0)

    def commit(self, should_stop):
        self._wait(self.setting["seconds"], should_stop)
        self.is_committed = True
        return self._reply("exact", True)

    def uncertainty(self, should_stop):
        self._wait(self.estimating_s, should_stop)
        array, affine = self.fixed
        deviation = SimpleNamespace(array=np.full(array.shape, 0.5 * self.setting["alpha"], np.float32), affine=affine)
        summary = {
            "median": 0.5,
            "p95": np.float64(1.5),
            "max": float("inf"),
            "labels": {"1": {"median": 0.5, "p95": 1.0}},
        }
        return SimpleNamespace(
            uncertainty=deviation,
            setting=self.setting,
            exact=self.is_exact,
            fine=self.is_committed,
            metrics={"uncertainty_mm": summary, "landmarks": [{"error_mm": 2.0, "uncertainty_mm": 1.0}]},
            milliseconds=1.0,
        )

    def sweep_step(self, should_stop):
        self._wait(0.02, should_stop)
        self.swept += 1
        if self.swept > 5:
            return None
        return SweepPoint(setting={"alpha": float(self.swept)}, quality=quality(), tre_mm=2.0, milliseconds=1.0)

    def choose(self, should_stop):
        while self.choosing_s > 0:
            self.choosing_s -= 0.005
            self._wait(0.005, should_stop)
        return self.chosen

    def set_stiffness(self, volume):
        self.factor = 1.0 if volume is None else float(volume.array.mean())

    def set_annotations(self, given):
        self.annotations = given

    def close(self):
        pass

    def _wait(self, seconds, should_stop):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if should_stop():
                raise Stopped
            time.sleep(0.005)

    def _misbehave(self, setting):
        if setting["die"]:
            os.kill(os.getpid(), int(setting["die"]))
        if setting["stick"]:
            time.sleep(setting["stick"])
        if setting["print"]:
            sys.stdout.write("what a library prints\n")
            sys.stdout.flush()
            os.write(1, b"and what its C part prints\n")
        if setting["fail"]:
            raise ZeroDivisionError("a bug")
        if setting["fill"]:
            np.ones(int(setting["fill"] * 2**17))

    def _reply(self, stage, exact):
        self.is_exact = exact
        array, affine = self.fixed
        field_mm = np.full((*array.shape, 3), self.setting["alpha"] * self.factor, dtype=np.float32)
        volume = SimpleNamespace(array=array, affine=affine)
        moved = SimpleNamespace(array=field_mm, affine=affine)
        return SimpleNamespace(
            displacement=moved,
            weight=volume,
            inverse=moved,
            warped=volume,
            quality=quality(),
            setting=self.setting,
            exact=exact,
            weight_known=True,
            milliseconds=1.0,
            stage=stage,
            warnings=(),
            contrast=None,
            metrics={"after": {"dice": {1: np.float32(0.5)}, "lncc": float("inf")}},
        )


class FakeBackend:
    stopped = Stopped

    def describe(self):
        return {"version": "0", "torch": "none", "device": "cpu", "threads": 1}

    def open(self, request, arrays):
        return FakeSession(arrays)

    def prior(self, session):
        return "beta"

    def volume(self, arrays, name):
        return SimpleNamespace(array=arrays[name][0]) if name in arrays else None

    def annotations(self, arrays):
        return sorted(arrays)


if __name__ == "__main__":
    signal.alarm(120)  # in case a test does not end it
    sys.exit(main(FakeBackend()))
