"""Memory of training each network, without allocating it, and what the kinds of conditioning cost; writes a page.

The training step runs on the meta device, where tensors have shapes and no memory, and every storage is followed from
its creation to its end. So the table needs no graphics card, and the 1.6 G parameters of the published hypernetwork fit
on any machine. What only a device knows is not in it: the workspace of its convolutions, its context, fragmentation.
"""

from __future__ import annotations

import argparse
import json
import platform
import weakref
from pathlib import Path

import torch
from measure import Peak, median_seconds, run_isolated
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from SPRCore.functional import warp
from SPRCore.networks import build, parameter_count
from SPRCore.regularization import weighted_diffusion
from SPRCore.similarity import lncc

GIBI = 2**30
SHAPE, SMALL_SHAPE = (160, 192, 224), (64, 64, 32)
PUBLISHED = {"conditioning": "full", "hidden": 96}
MODELS = (
    *(("voxelmorph", {}), ("voxelmorph-spr", {}), ("hyper-voxelmorph", {}), ("hyper-vxm-spr", {})),
    *(("transmorph", {}), ("transmorph-tvf", {}), ("tm-spr", {}), ("tm-spr", {"checkpoint": False})),
    *(("hyper-tm-spr", {}), ("hyper-tm-spr", {"conditioning": "lora"}), ("hyper-tm-spr", PUBLISHED)),
    ("hyper-tm-spr", {**PUBLISHED, "checkpoint": False}),
)
KINDS = ({"conditioning": "film"}, {"conditioning": "lora"}, PUBLISHED)
QUICK = ("hyper-tm-spr-small", (32, 32, 32))
MEMORY_COLUMNS = ("states", "kept", "peak")
HEAD = """# Memory of the networks in training

Written by `benchmarks/networks_memory.py`. One training step, batch of one, float32: forward pass, loss (LNCC
9³, weighted diffusion, log prior), backward pass, Adam with amsgrad. Storages are followed on the meta device, which is
exact for what PyTorch allocates; the workspace of convolutions, the device's context (about 0.5 GiB) and fragmentation
come on top. *States*: weights, gradients and the three moments. *Kept*: what waits for the backward pass. *Peak*: the
most that is allocated at any moment, all of it included. The features of time steps are computed again in the backward
pass, except under `checkpoint False`.

"""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "network-memory.md"


class LiveMemory(TorchDispatchMode):
    """Bytes of all storages that are alive, now and at most."""

    def __init__(self):
        super().__init__()
        self.sizes, self.alive, self.peak = {}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor.untyped_storage())
        return result

    def _follow(self, storage):
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key):
        self.alive -= self.sizes.pop(key)


def loss_of(network, moving, fixed, code):
    """The paper's loss (Eq. 19) with the functions of SPRCore; conventional diffusion without a weight."""
    output = network(moving, fixed, code)
    loss = -lncc(fixed, warp(moving, output.displacement))
    if output.weight is None:
        return loss + weighted_diffusion(output.displacement, torch.ones_like(fixed))
    return loss + weighted_diffusion(output.displacement, output.weight) - 0.1 * output.weight.log().mean()


def inputs_of(network, shape):
    code = torch.rand(1, network.config.codes) if network.config.codes else None
    return torch.rand(1, 1, *shape), torch.rand(1, 1, *shape), code


def account(name, overrides, shape):
    """Follow the second training step of a network (in the first, the optimizer has no states yet)."""
    with torch.device("meta"), LiveMemory() as memory:
        network = build(name, **overrides).train()
        arguments = inputs_of(network, shape)
        optimizer = torch.optim.Adam(network.parameters(), amsgrad=True, foreach=True)
        for _ in range(2):
            before, memory.peak = memory.alive, memory.alive
            loss = loss_of(network, *arguments)
            kept = memory.alive - before
            loss.backward()
            del loss
            optimizer.step()
            optimizer.zero_grad()
    count = sum(parameter.numel() for parameter in network.parameters())
    title = ", ".join([f"`{name}`", *(f"{key} {value}" for key, value in overrides.items())])
    return {"title": title, "parameters": count, "states": 20 * count, "kept": kept, "peak": memory.peak}


def saved_bytes(name, overrides, shape):
    """Bytes that the graph of one loss saves, by PyTorch's own hooks; they do not see inside a checkpoint."""
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage  # held, so that no address is used twice
        return tensor

    with torch.device("meta"):
        network = build(name, checkpoint=False, **overrides).train()
        arguments = inputs_of(network, shape)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss_of(network, *arguments)
        given = {
            tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *arguments) if tensor is not None
        }
    return sum(storage.nbytes() for key, storage in saved.items() if key not in given)


def time_conditioning(overrides, name, shape):
    """Seconds and resident memory of one kind of conditioning, on the processor."""
    torch.manual_seed(0)
    network = build(name, **overrides).train()
    arguments = inputs_of(network, shape)
    optimizer = torch.optim.Adam(network.parameters(), amsgrad=True)

    def step():
        optimizer.zero_grad()
        loss_of(network, *arguments).backward()
        optimizer.step()

    step()
    with Peak() as peak:
        step()
    row = {"training": median_seconds(step, 3), "peak": peak.mib}
    network.eval()
    with torch.no_grad():
        features = network.encode(*arguments[:2])
        row["encode"] = median_seconds(lambda: network.encode(*arguments[:2]), 5)
        row["decode"] = median_seconds(lambda: network.decode(features, arguments[2]), 5)
    return row


def _table(columns, rows):
    lines = [" | ".join(columns), "|".join(["---"] * len(columns)), *(" | ".join(cells) for cells in rows)]
    return "".join(f"| {line} |\n" if index != 1 else f"|{line}|\n" for index, line in enumerate(lines))


def markdown(report):
    """Write the report as one page."""
    models = [
        (row["title"], f"{row['parameters'] / 1e6:.2f}", *(f"{row[key] / GIBI:.2f}" for key in MEMORY_COLUMNS))
        for row in report["models"]
    ]
    kinds = [
        (
            *(row["title"], f"{row['parameters'] / 1e6:.2f}", f"{row['training']:.2f}", f"{row['peak']:.0f}"),
            *(f"{row['encode']:.3f}", f"{row['decode']:.3f}"),
        )
        for row in report["kinds"]
    ]
    text = f"{HEAD}## At {' x '.join(map(str, report['shape']))}\n\n"
    text += _table(("network", "parameters, M", *(f"{key}, GiB" for key in MEMORY_COLUMNS)), models)
    text += "\n## Kinds of conditioning, measured\n\n"
    text += (
        f"`{report['small']}` at {' x '.join(map(str, report['small_shape']))}, one thread of {report['processor']},\n"
    )
    text += f"PyTorch {report['torch']}, other work beside it. *Memory*: resident, beyond network and optimizer.\n\n"
    columns = ("parameters, M", "training step, s", "memory, MiB", "encode, s", "decode, s")
    return text + _table(("conditioning", *columns), kinds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small network, to see that it runs")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file to write")
    parser.add_argument("--report", type=Path, help="JSON file to write")
    options = parser.parse_args()
    small, shape = QUICK
    models = [(small, {}), (small, {"checkpoint": False})] if options.quick else MODELS
    report = {"small": small, "torch": torch.__version__, "processor": platform.processor() or platform.machine()}
    report["shape"], report["small_shape"] = (shape, shape) if options.quick else (SHAPE, SMALL_SHAPE)
    report["kinds"] = []
    for overrides in KINDS:
        row = run_isolated(time_conditioning, overrides, small, report["small_shape"])
        title = "published (full, hidden 96)" if overrides == PUBLISHED else overrides["conditioning"]
        report["kinds"].append({**row, "title": title, "parameters": parameter_count(small, **overrides)})
    report["models"] = [account(name, overrides, report["shape"]) for name, overrides in models]
    if options.quick:
        report["saved"] = saved_bytes(small, {}, shape)
    options.page.write_text(markdown(report), encoding="utf-8")
    if options.report:
        options.report.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
