"""Networks that register pairs of images: VoxelMorph and TransMorph, weight head, conditioning on hyperparameters."""

from . import voxelmorph as voxelmorph  # registers its architecture
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
