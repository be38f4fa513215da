"""Registration of a pair: affine pre-alignment, the instance solver, and trained networks."""

from SPRCore.registration.instance import InstanceConfig, register_instance
from SPRCore.registration.job import LoadedModel, RegistrationJob
from SPRCore.registration.network import model_prior, register_network
from SPRCore.registration.pair import register_pair
from SPRCore.registration.prealign import PreAlignment, prealign
from SPRCore.registration.result import Deformation, DeformationFields, RegistrationResult

__all__ = [
    "Deformation",
    "DeformationFields",
    "InstanceConfig",
    "LoadedModel",
    "PreAlignment",
    "RegistrationJob",
    "RegistrationResult",
    "model_prior",
    "prealign",
    "register_instance",
    "register_network",
    "register_pair",
]
