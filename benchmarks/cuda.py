"""Time and memory on a CUDA device for whole brains: `python benchmarks/cuda.py [--size 160 192 224] [--out FOLDER]`.

* one training step of the paper's network with two hyperparameters: maximum memory allocated and reserved, and time;
* local correlation forwards and backwards, compared with MONAI's if that is installed;
* the instance optimization on a pair of generated scenes, with `--cpu` also on the processor;
* a network: encoding a pair, and decoding it for one setting;
* the same network in a live session (random weights): previews and exact replies at settings not visited before, with
  all their work, arrays in the memory of the processor included: median, 95th percentile.

Times are medians after a warm-up, with the device synchronized. Live sliders: `live/measure_live.py --device cuda`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import traceback
from pathlib import Path

import torch

GIBI = 2**30
OUT = Path(__file__).resolve().parents[1] / "docs" / "results" / "cuda"
HYPER = ("hyper-tm-spr", "hyper-vxm-spr")
SMALL = ("hyper-vxm-spr-small",)
LIMIT_GIB = 16
HEAD = """# On a CUDA device

Measured by `python benchmarks/cuda.py`, which says what each row is; images of {size} voxels.

Device: {device}; PyTorch {torch}, Python {python}.

| what | time | memory, GiB | beside it |
|---|---|---|---|
"""


def seconds(call, repeats=10):
    """Median time of a call, the device synchronized before and after."""
    call()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def fresh():
    """Reset the statistics of memory."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def memory():
    """Maximum memory since `fresh`, in GiB."""
    return {
        "allocated_gib": torch.cuda.max_memory_allocated() / GIBI,
        "reserved_gib": torch.cuda.max_memory_reserved() / GIBI,
    }


def training_step(preset, size, precision):
    """One step of a network with both hyperparameters as its code, on random images: its time and memory."""
    from SPRCore.networks import build
    from SPRCore.regularization import BetaPrior
    from SPRCore.training.batches import Batch
    from SPRCore.training.config import LossConfig
    from SPRCore.training.hyper import LossSetting
    from SPRCore.training.losses import batch_loss

    fresh()
    network = build(preset).cuda().train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, amsgrad=True)
    moving, fixed = torch.rand(2, 1, 1, *size, device="cuda")
    code = torch.rand(1, 2, device="cuda")
    batch = Batch(moving=moving, fixed=fixed, spacings=((1.0, 1.0, 1.0),))
    setting = LossSetting(prior=BetaPrior(alpha=0.1, lambda_max=1.0))

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
            output = network(moving, fixed, code, inverse=False)
        batch_loss(output, batch, [setting], LossConfig())["loss"].backward()
        optimiser.step()

    return {"seconds": seconds(step, 5)} | memory()


def correlation(size):
    """Local correlation, window of 9, forwards and backwards: ours and MONAI's."""
    from SPRCore.similarity import lncc

    fixed, moving = torch.rand(2, 1, 1, *size, device="cuda")
    moving.requires_grad_(True)

    def timed(function):
        fresh()
        return {"seconds": seconds(lambda: torch.autograd.grad(function(moving), moving))} | memory()

    row = timed(lambda image: lncc(fixed, image))
    try:
        from monai.losses import LocalNormalizedCrossCorrelationLoss
    except ImportError:
        return row
    loss = LocalNormalizedCrossCorrelationLoss(spatial_dims=3, kernel_size=9)
    return row | {"beside": {"monai": timed(lambda image: loss(image, fixed))}}


def made_up_pair(size):
    from SPRCore.synthetic import SceneConfig, scene

    config = SceneConfig(labels=16, same_contrast=1.0, empty=1.0, scale_mm=(20.0, 20.0), noise=0.02)
    return scene(config, shape=size, spacing=(1.0, 1.0, 1.0), seed=2)


def instance(phantom, device):
    """A whole registration by the instance optimization, without files and pre-alignment."""
    import SPRCore

    def run():
        return SPRCore.register(phantom.fixed, phantom.moving, init="none", device=device)

    if device == "cuda":
        run(), fresh()
    start = time.perf_counter()
    result = run()
    spent = time.perf_counter() - start
    metrics = result.report["metrics"]
    row = {"seconds": spent, "solver_s": result.report["seconds"]["register"]}
    row |= {"lncc": [metrics[when]["lncc"] for when in ("before", "after")]}
    row["folding_percent"] = metrics["after"]["folding_percent"]
    return row | (memory() if device == "cuda" else {})


def decoding(preset, phantom):
    """Encoding, decoding, and all of an exact result of a network with random weights."""
    from SPRCore.networks import build

    network = build(preset).cuda().eval()
    moving, fixed = (volume.to_tensor().cuda() for volume in (phantom.moving, phantom.fixed))
    code = torch.full((1, 2), 0.5, device="cuda")
    fresh()
    with torch.no_grad():
        features = network.encode(moving, fixed)
        row = {"encode_s": seconds(lambda: network.encode(moving, fixed))}
        row["seconds"] = seconds(lambda: network.decode(features, code, inverse=False))
    return row | memory()


def sliders(preset, phantom, moves=200):
    """A live session of a network with random weights: times of previews and of exact replies."""
    import sys
    import tempfile

    import numpy as np

    sys.path.insert(0, str(Path(__file__).with_name("live")))
    from live_pairs import _write_bundle as write_bundle

    from SPRCore.live import LiveSession

    rng, previews, exact = np.random.default_rng(0), [], []
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / f"{preset}.sprmodel.safetensors"
        write_bundle(preset, bundle)
        with LiveSession.open(phantom.fixed, phantom.moving, method=bundle, device="cuda") as session:
            fresh()
            for move in range(moves + 5):
                setting = {name: rng.uniform(low, high) for name, (low, high) in session.ranges.items()}
                start = time.perf_counter()
                session.update(**setting)
                previews.append(time.perf_counter() - start)
                start = time.perf_counter()
                reply = session.improve()
                while reply is not None and not reply.exact:
                    reply = session.improve()
                exact.append(time.perf_counter() - start)
                if move < 5:  # the first ones make the device ready
                    previews.clear(), exact.clear()
    timed = {"preview_ms": previews, "exact_ms": exact}
    parts = {name: {f"p{q}": 1e3 * float(np.percentile(times, q)) for q in (50, 95)} for name, times in timed.items()}
    return {"seconds": float(np.median(exact)), **parts} | memory()


def rows_of(options):
    """Every row by its name; a failed row has the reason and does not stop the others."""
    phantom = made_up_pair(options.size)
    wanted = {f"training step, {preset}, {precision}": (training_step, preset, options.size, precision)
              for preset in HYPER for precision in ("fp32", "bf16")}  # fmt: skip
    wanted |= {"LNCC 9³, forwards and backwards": (correlation, options.size)}
    wanted |= {"instance registration": (instance, phantom, "cuda")}
    wanted |= {"instance registration, processor": (instance, phantom, "cpu")} if options.cpu else {}
    wanted |= {f"decode for one setting, {preset}": (decoding, preset, phantom) for preset in HYPER}
    wanted |= {f"exact live reply, {preset}": (sliders, preset, phantom) for preset in ("hyper-vxm-spr", *SMALL)}
    wanted = {name: call for name, call in wanted.items() if not options.only or any(o in name for o in options.only)}
    for name, (function, *arguments) in wanted.items():
        try:
            yield name, function(*arguments)
        except Exception as error:
            yield name, {"failed": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def line_of(name, row):
    """One line of the table."""
    if "failed" in row:
        return f"| {name} | failed: {row['failed'][:80]} | | |"
    held = row.get("allocated_gib")
    words = []
    for method, other in row.get("beside", {}).items():
        ratio, more = other["seconds"] / row["seconds"], other["allocated_gib"] / row["allocated_gib"]
        words.append(f"{method}: {1e3 * other['seconds']:.1f} ms ({ratio:.1f} x), {more:.1f} x the memory")
    if "lncc" in row:
        words.append(f"with all metrics; the solver alone {row['solver_s']:.1f} s")
        words.append("LNCC {:.3f} to {:.3f}".format(*row["lncc"]) + f", folds {row['folding_percent']:.4f} %")
    if "exact_ms" in row:
        times = [
            f"{name.split('_')[0]} {row[name]['p50']:.0f}, {row[name]['p95']:.0f} ms"
            for name in ("preview_ms", "exact_ms")
        ]
        words.append("median and 95th percentile: " + "; ".join(times))
    if "encode_s" in row:
        words.append(f"encoding once: {1e3 * row['encode_s']:.1f} ms")
    took = f"{row['seconds']:.2f} s" if row["seconds"] > 2 else f"{1e3 * row['seconds']:.1f} ms"
    return f"| {name} | {took} | {'' if held is None else f'{held:.2f}'} | {'; '.join(words)} |"


def table_of(report):
    """The page of a report."""
    head = HEAD.format(**(report | {"size": " x ".join(map(str, report["size"]))}))
    return head + "\n".join(line_of(*item) for item in report["rows"].items()) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(160, 192, 224), metavar=("X", "Y", "Z"))
    parser.add_argument("--cpu", action="store_true", help="the instance solver on the processor as well")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="rows whose name has them")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    facts = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "python": platform.python_version()}
    report = {"size": list(options.size), **facts, "rows": {}}
    options.out.mkdir(parents=True, exist_ok=True)
    for name, row in rows_of(options):
        report["rows"][name] = row
        (options.out / "rows.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (options.out / "table.md").write_text(table_of(report), encoding="utf-8")
        print(line_of(name, row), flush=True)


if __name__ == "__main__":
    main()
