"""A training step beside the same mathematics in plain PyTorch: time, memory and agreement.

    python benchmarks/training_step.py [--quick] [--size 80 96 112] [--repeats 3] [--out FOLDER]

*Reference*: scaling and squaring in one graph that keeps its grids, LNCC by five dense 9³ convolutions, weighted
differences and the prior by autograd, as in the reference code (the weight of a difference taken at both
of its ends, so that both compute the same). Seconds are processor time of one thread, since machines are shared; each
row is measured in its own process.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "results" / "training_step"
ALPHA, STRENGTH, LABELS = 0.05, 2.0, 8
LOG = logging.getLogger("benchmark")


def inputs(size, dtype):
    """Images and labels of a size, a velocity at half of it, and a weight."""
    import torch
    from operations import field, image

    half = tuple(n // 2 for n in size)
    moving, fixed = image(size, 0), 0.5 * image(size, 0) + 0.5 * image(size, 1)
    velocity = field(half, 2, length=2.0)
    weight = torch.sigmoid(image(size, 3) * 4.0 - 2.0)
    scaled = [(part - part.amin()) / (part.amax() - part.amin()) for part in (moving, fixed)]
    maps = [(part.clamp(max=0.999) * LABELS).long() for part in scaled]
    return [part.to(dtype) for part in (moving, fixed, velocity, weight)], maps


def doubled(velocity_half):
    """A displacement of half the resolution on the whole grid."""
    import torch

    return 2.0 * torch.nn.functional.interpolate(velocity_half, scale_factor=2.0, mode="trilinear", align_corners=False)


def ours(moving, fixed, velocity, weight, maps, semi):
    from SPRCore.functional import integrate
    from SPRCore.networks import RegistrationOutput
    from SPRCore.regularization import BetaPrior
    from SPRCore.training.batches import Batch
    from SPRCore.training.config import LossConfig
    from SPRCore.training.hyper import LossSetting
    from SPRCore.training.losses import batch_loss

    labels = {"moving_labels": maps[0], "fixed_labels": maps[1], "labels": tuple(range(1, LABELS))} if semi else {}
    batch = Batch(moving=moving, fixed=fixed, spacings=((1.0, 1.0, 1.0),), **labels)
    output = RegistrationOutput(displacement=doubled(integrate(velocity)), weight=weight)
    setting = LossSetting(prior=BetaPrior(alpha=ALPHA, lambda_max=STRENGTH))
    return batch_loss(output, batch, [setting], LossConfig(dice_weight=float(semi)))["loss"]


def reference(moving, fixed, velocity, weight, maps, semi, correlation="lncc_dense"):
    import references
    import torch

    displacement = doubled(references.integrate(velocity))
    loss = -getattr(references, correlation)(fixed, references.warp(moving, displacement))
    loss = loss + STRENGTH * references.weighted_diffusion(displacement, weight) - ALPHA * weight.log().mean()
    if semi:
        one_hot = [torch.cat([(part == label).to(moving.dtype) for label in range(1, LABELS)], dim=1) for part in maps]
        warped = references.warp(one_hot[0], displacement)
        sizes = (one_hot[1] + warped).sum((2, 3, 4))
        loss = loss + (1.0 - 2.0 * (one_hot[1] * warped).sum((2, 3, 4)) / sizes.clamp(min=1e-5)).mean()
    return loss


def implementation(who, kind):
    """The loss of ours or of the reference, which has separable sums where the row says so."""
    if who == "ours":
        return ours
    return functools.partial(reference, correlation="lncc_separable") if "separable" in kind else reference


def network_of(name):
    """The network without pooling and integration, which both implementations have around it."""
    import torch

    from SPRCore.networks import build

    torch.manual_seed(0)
    return build(name, half_resolution=False, integrate=False, drop_path=0.0).train()


def call_of(who, kind, size):
    """Measured function: the loss with its gradient, or a whole step with a network and Adam."""
    import torch
    from torch.nn import functional as F

    loss = implementation(who, kind)
    (moving, fixed, velocity, weight), maps = inputs(size, torch.float32)
    if not kind.startswith("step"):
        leaves = velocity.requires_grad_(), weight.requires_grad_()
        return lambda: torch.autograd.grad(loss(moving, fixed, *leaves, maps, kind == "loss with labels"), leaves)
    network = network_of(kind.split()[-1])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, amsgrad=True)

    def step():
        optimiser.zero_grad(set_to_none=True)
        output = network(F.avg_pool3d(moving, 2), F.avg_pool3d(fixed, 2))
        large = F.interpolate(output.weight, scale_factor=2.0, mode="trilinear", align_corners=False)
        loss(moving, fixed, output.displacement, large, maps, False).backward()
        optimiser.step()

    return step


def measure(who, kind, size, repeats):
    """Processor time (median), peak memory, and for a loss what its graph keeps."""
    import torch
    from measure import MEBI, Peak, kept_for_backward, return_freed_memory

    torch.set_num_threads(1)
    call = call_of(who, kind, size)
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return_freed_memory()
    with Peak() as peak:
        call()
    row = {"seconds": sorted(times)[len(times) // 2], "peak_mib": peak.mib}
    if (
        kind.startswith("loss") and kind != "loss with labels"
    ):  # our overlap has a graph of its own inside, for a moment
        (moving, fixed, velocity, weight), maps = inputs(size, torch.float32)
        leaves = [moving, fixed, velocity.requires_grad_(), weight.requires_grad_()]
        loss = implementation(who, kind)
        held = kept_for_backward(lambda *parts: loss(*parts, maps, False), leaves)
        row["kept_mib"] = held / MEBI
    return row


def agreement(size, semi):
    """Difference of both from the reference in double precision: value, and gradients relative to their largest."""
    import torch

    def run(function, dtype):
        (moving, fixed, velocity, weight), maps = inputs(size, dtype)
        leaves = velocity.requires_grad_(), weight.requires_grad_()
        value = function(moving, fixed, *leaves, maps, semi)
        return value.detach().double(), [slope.double() for slope in torch.autograd.grad(value, leaves)]

    value, slopes = run(reference, torch.float64)
    row = {}
    for who, function in (("ours", ours), ("reference", reference)):
        got, found = run(function, torch.float32)
        errors = [float((a - b).abs().amax() / b.abs().amax()) for a, b in zip(found, slopes, strict=True)]
        row[who] = {"value": float(abs(got - value)), "gradient": max(errors)}
    return row


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything still run?")
    parser.add_argument("--size", type=int, nargs=3, default=(80, 96, 112), metavar=("X", "Y", "Z"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=["vxm-spr-small", "tm-spr-small"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table and the numbers")
    options = parser.parse_args()
    if options.quick:
        options.size, options.repeats, options.networks = (32, 32, 32), 1, ["vxm-spr-small"]
    return options


def table(report):
    size = " x ".join(map(str, report["size"]))
    machine = report["machine"]
    text = f"""# A training step beside plain PyTorch

Written by `benchmarks/training_step.py`; images of {size} voxels, velocity at half of that, batch 1, one
thread of an {machine["processor"]}, PyTorch {machine["torch"]}. Seconds are processor time, *peak* is resident memory
above that before the step, *kept* is what the graph of the loss holds for the backward pass beyond its inputs. The
reference computes the same in plain PyTorch, as the authors' code does: scaling and squaring in one graph, LNCC by
dense 9³ convolutions, weighted differences by autograd. Measured on a processor alone: on a graphics card the
ratios of time are others.

| what | seconds, ours against plain | ratio | peak, MiB | ratio | kept, MiB |
|---|---|---|---|---|---|
"""
    if report["quick"]:
        text += (
            "| **a quick run at a tiny size: it shows that the benchmark runs, its numbers mean nothing** | | | | | |\n"
        )
    for name, row in report["rows"].items():
        failed = [row[who]["failed"] for who in ("ours", "reference") if "failed" in row[who]]
        if failed:
            text += f"| {name} | failed: {failed[0]} | | | | |\n"
            continue
        cells = []
        for key, digits in (("seconds", 2), ("peak_mib", 0)):
            a, b = row["ours"][key], row["reference"][key]
            cells += [f"{a:.{digits}f} against {b:.{digits}f}", f"{b / a:.1f}" if a > 0 else "-"]
        kept = [row[who].get("kept_mib") for who in ("ours", "reference")]
        cells.append("" if None in kept else f"{kept[0]:.0f} against {kept[1]:.0f}")
        text += f"| {name} | {' | '.join(cells)} |\n"
    text += "\nDifference from the reference in double precision, at 32 x 32 x 32 voxels:\n\n"
    for name, row in report["agreement"].items():
        parts = [f"{who} {row[who]['value']:.0e} in value, {row[who]['gradient']:.0e} in gradient" for who in row]
        text += f"* {name}: {'; '.join(parts)}.\n"
    return text


def main():
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = arguments()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before torch is loaded
    sys.path.insert(0, str(HERE))
    from measure import run_isolated
    from run import machine

    report = {"machine": machine(1), "quick": options.quick, "size": list(options.size), "rows": {}, "agreement": {}}
    kinds = [
        "loss",
        "loss, the reference with separable sums",
        "loss with labels",
        *(f"step with {name}" for name in options.networks),
    ]
    for kind in kinds:
        LOG.info("%s", kind)
        report["rows"][kind] = {
            who: run_isolated(measure, who, kind, tuple(options.size), options.repeats) for who in ("ours", "reference")
        }
    for name, semi in (("loss", False), ("loss with labels", True)):
        report["agreement"][name] = run_isolated(agreement, (32, 32, 32), semi)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "rows.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "table.md").write_text(table(report), encoding="utf-8")
    failed = [row for rows in report["rows"].values() for row in rows.values() if "failed" in row]
    for row in failed:
        LOG.error("%s", row["trace"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
