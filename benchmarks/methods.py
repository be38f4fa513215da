"""Registration methods behind one interface: ours and those of other packages.

The other packages are optional; a missing one is reported in its row.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SPRCore import BetaPrior
from SPRCore.baselines import BASELINES
from SPRCore.baselines.syn import Syn
from SPRCore.errors import InputError
from SPRCore.geometry import Field
from SPRCore.io import write_volume
from SPRCore.registration import register_instance


class Ours:
    """The instance solver with its defaults."""

    def check(self):
        """It is there."""

    def register(self, fixed, moving):
        """Deform one image onto the other."""
        result = register_instance(fixed.to_tensor(), moving.to_tensor(), fixed.spacing, BetaPrior())
        return Field.from_tensor_vox(result.displacement_vox, fixed.affine)


@dataclass(frozen=True)
class _Package:
    module: str
    name: str

    def check(self):
        """See that the package is installed (`InputError` if not)."""
        if importlib.util.find_spec(self.module) is None:
            remedy = f"pip install {self.name}"
            raise InputError(f"method {self.name}", got=f"{self.name} is not installed", remedy=remedy)


class ConvexAdam(_Package):
    """ConvexAdam on MIND features with its defaults, Siebert et al., IEEE TMI 2024, doi:10.1109/TMI.2024.3390424."""

    def register(self, fixed, moving):
        """Deform one image onto the other."""
        from convexAdam.convex_adam_MIND import convex_adam_pt

        images = [torch.from_numpy(_unit_range(volume)) for volume in (fixed, moving)]
        displacement_vox = convex_adam_pt(*images, dtype=torch.float32, device=torch.device("cpu"))
        return _field(displacement_vox, fixed)


class FireAnts(_Package):
    """Greedy registration of FireANTs by local correlation, at the scales and iterations of its tutorial."""

    def register(self, fixed, moving):
        """Deform one image onto the other."""
        from fireants.io import BatchedImages, Image
        from fireants.registration.greedy import GreedyRegistration

        with tempfile.TemporaryDirectory() as folder:
            batches = []
            for name, volume in (("fixed", fixed), ("moving", moving)):
                path = Path(folder) / f"{name}.nii.gz"
                write_volume(volume.with_array(_unit_range(volume)), path)
                batches.append(BatchedImages([Image.load_file(str(path), device="cpu")]))
        registration = GreedyRegistration(
            scales=[4, 2, 1],
            iterations=[200, 100, 50],
            fixed_images=batches[0],
            moving_images=batches[1],
            loss_type="cc",
            optimizer_lr=0.5,
            progress_bar=False,
        )
        registration.optimize()
        with torch.no_grad():
            found = registration.get_warp_parameters(*batches)["grid"][0].permute(2, 1, 0, 3).numpy()
        return _field(found * (0.5 * (np.array(fixed.shape) - 1)), fixed)


def _unit_range(volume):
    array = volume.array.astype(np.float32)
    low, high = np.percentile(array, (0.5, 99.5))
    return np.clip((array - low) / max(high - low, 1e-12), 0.0, 1.0).astype(np.float32)


def _field(displacement_vox, fixed):
    tensor = torch.from_numpy(np.ascontiguousarray(displacement_vox, dtype=np.float32)).movedim(-1, 0)[None]
    return Field.from_tensor_vox(tensor, fixed.affine)


METHODS = {
    "ours": Ours(),
    "SyN": BASELINES["syn"],
    "convexAdam": ConvexAdam("convexAdam", "convexAdam"),
    "SyN, CC to half resolution": Syn(metric="CC", sampling=4),
    "SyN, CC": BASELINES["syn-cc"],
    "FireANTs": FireAnts("fireants", "fireants"),
}
SLOW = ("SyN, CC to half resolution", "SyN, CC", "FireANTs")
"""Methods that take many minutes for a brain."""
