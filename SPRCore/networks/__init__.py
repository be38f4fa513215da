"""Networks that register pairs of images: VoxelMorph and TransMorph, weight head, conditioning on hyperparameters."""

from SPRCore.networks import transmorph as transmorph  # these two register their architectures
from SPRCore.networks import voxelmorph as voxelmorph
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.network import RegistrationNetwork
from SPRCore.networks.output import RegistrationOutput
from SPRCore.networks.registry import build, list_models, parameter_count, preset

__all__ = [
    "NetworkConfig",
    "RegistrationNetwork",
    "RegistrationOutput",
    "build",
    "list_models",
    "parameter_count",
    "preset",
]
