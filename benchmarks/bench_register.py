"""Time, memory and quality of one registration at several sizes; `make bench` runs it, the test suite does not."""

from __future__ import annotations

import pytest
import torch

import SPRCore as spr
from SPRCore.synthetic import sliding_thorax


@pytest.mark.parametrize("voxels", [48, 72, 96])
def test_register(voxels, capsys):
    phantom = sliding_thorax(shape=(voxels, voxels * 5 // 6, voxels), spacing=(192.0 / voxels,) * 3)
    result = spr.register(
        phantom.fixed,
        phantom.moving,
        init="none",
        annotations={"fixed_points": phantom.fixed_points, "moving_points": phantom.moving_points},
    )
    report = result.report
    before, after = (report["metrics"][side]["tre_mm"]["mean"] for side in ("before", "after"))
    with capsys.disabled():
        line = f"{voxels:4d} voxels on {report['device']} with {torch.get_num_threads()} threads: "
        line += f"register {report['seconds']['register']:6.2f} s, all {report['seconds']['total']:6.2f} s, "
        print(f"\n{line}peak {report['peak_memory_mb']:6.0f} MiB, landmark error {before:.2f} -> {after:.2f} mm")
    assert after < 0.6 * before
