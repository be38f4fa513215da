"""A live worker that computes nothing, for tests of the panel; its argument: seconds that exact results take."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fake_worker import FakeBackend, FakeSession, quality

from SPRCore.live.protocol import SweepPoint
from SPRCore.live.worker import main
from SPRCore.regularization.hyperparameters import usual_ranges

SECONDS = float(sys.argv[1])


class Session(FakeSession):
    """Moves by `alpha` mm, and by `lambda_max` mm from back to front: each slider is seen to move."""

    def __init__(self, arrays, prior, is_model=False):
        super().__init__(arrays)
        self.prior = prior
        self.ranges = usual_ranges(prior)
        self.trained = {name: high / 1.2 for name, (_low, high) in self.ranges.items()} if is_model else {}
        self.setting |= {"alpha": 0.1, "lambda_max": 1.0, "sigma": 0.5, "lambda_mean": 2.0, "tv": 0.3, "lambda": 1.0}

    def commit(self, should_stop):
        self._wait(SECONDS, should_stop)
        self.is_committed = True
        reply = self._reply("exact", True)
        reply.metrics = {"before": {"lncc": 0.3}, "after": {"lncc": 0.5, "dice": {1: 0.5}}}
        return reply

    def _reply(self, stage, exact):
        reply = super()._reply(stage, exact)
        reply.displacement.array[..., 1] = self.setting["lambda_max"]
        return reply

    def sweep_step(self, should_stop):
        self._wait(0.01, should_stop)
        self.swept += 1
        if self.swept > 4:
            return None
        setting = {"alpha": 0.1 * (1 + self.swept % 2), "lambda_max": float(1 + self.swept // 3)}
        return SweepPoint(
            setting=setting, quality=quality(similarity=0.4 + 0.05 * self.swept), tre_mm=2.0, milliseconds=1.0
        )


class Backend(FakeBackend):
    def open(self, request, arrays):
        return Session(arrays, request.prior or "beta", request.method != "instance")

    def prior(self, session):
        return session.prior


if __name__ == "__main__":
    if hasattr(signal, "alarm"):
        signal.alarm(120)  # whatever a test forgets
    sys.exit(main(Backend()))
