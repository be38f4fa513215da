"""Networks that register pairs of images: VoxelMorph and TransMorph, weight head, conditioning on hyperparameters."""

from . import transmorph as transmorph  # these two register their architectures
from . import voxelmorph as voxelmorph
from .config import NetworkConfig
from .network import Features, RegistrationNetwork
from .output import RegistrationOutput
from .registry import build, list_models, parameter_count, preset

__all__ = [
    "Features",
    "NetworkConfig",
    "RegistrationNetwork",
    "RegistrationOutput",
    "build",
    "list_models",
    "parameter_count",
    "preset",
]
