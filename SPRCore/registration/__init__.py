"""Ways to register a pair: alignment as a whole, the instance solver, and trained networks."""

from SPRCore.registration.instance import InstanceConfig, InstanceResult, register_instance
from SPRCore.registration.job import Job, Model
from SPRCore.registration.network import model_prior, register_network
from SPRCore.registration.pair import register_pair
from SPRCore.registration.prealign import PreAlignment, prealign
from SPRCore.registration.result import Deformation, RegistrationResult

__all__ = [
    "Deformation",
    "InstanceConfig",
    "InstanceResult",
    "Job",
    "Model",
    "PreAlignment",
    "RegistrationResult",
    "model_prior",
    "prealign",
    "register_instance",
    "register_network",
    "register_pair",
]
