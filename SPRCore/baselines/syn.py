"""Symmetric normalization of ANTs, through antspyx."""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path

from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume
from SPRCore.io import read_displacement, write_volume


@dataclass(frozen=True, kw_only=True)
class Syn:
    """SyN without an affine part.

    Attributes:
        metric: "mattes" (mutual information) or "CC" (local correlation).
        sampling: Bins of the histogram, or radius of the window in voxels.
        iterations: Maximum iterations of each level, coarsest first; each level doubles the resolution.
        gradient_step: Size of a step.
        flow_sigma: Smoothing of each update, in voxels.
        total_sigma: Smoothing of the whole field, in voxels.
        seed: Seed of the sampling.

    References:
        Avants et al., Med Image Anal 2008, doi:10.1016/j.media.2007.06.004.
    """

    metric: str = "mattes"
    sampling: int = 32
    iterations: tuple[int, ...] = (40, 20, 0)
    gradient_step: float = 0.2
    flow_sigma: float = 3.0
    total_sigma: float = 0.0
    seed: int = 1

    def check(self) -> None:
        """Check that antspyx is installed (`InputError`)."""
        if importlib.util.find_spec("ants") is None:
            raise InputError("method syn", got="no antspyx", remedy="pip install 'SPRCore[baselines]'")

    def register(self, fixed: Volume, moving: Volume) -> Field:
        """Deform one image onto the other; see `Baseline`."""
        self.check()
        import ants

        with tempfile.TemporaryDirectory() as folder:
            images = {}
            for name, volume in (("fixed", fixed), ("moving", moving)):
                write_volume(volume, Path(folder) / f"{name}.nii.gz")
                images[name] = ants.image_read(str(Path(folder) / f"{name}.nii.gz"))
            found = ants.registration(
                **images,
                type_of_transform="SyNOnly",
                initial_transform="Identity",
                outprefix=f"{folder}/syn_",
                syn_metric=self.metric,
                syn_sampling=self.sampling,
                reg_iterations=self.iterations,
                grad_step=self.gradient_step,
                flow_sigma=self.flow_sigma,
                total_sigma=self.total_sigma,
                random_seed=self.seed,
            )
            return read_displacement(found["fwdtransforms"][0])
