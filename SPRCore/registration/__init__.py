"""Ways to register a pair: alignment as a whole, and the instance solver."""

from SPRCore.registration.instance import InstanceConfig, InstanceResult, register_instance
from SPRCore.registration.prealign import PreAlignment, prealign
from SPRCore.registration.result import RegistrationResult

__all__ = [
    "InstanceConfig",
    "InstanceResult",
    "PreAlignment",
    "RegistrationResult",
    "prealign",
    "register_instance",
]
