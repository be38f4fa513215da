"""Installation of the worker's dependencies at the first use, with consent, without changing Slicer's own packages.

PyTorch is installed by the extension PyTorch, which chooses the build for the graphics card; the rest by `pip_ensure`,
or `pip_install` before Slicer 5.12; or everything from a folder of wheels, without a network.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import subprocess
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

TORCH = "torch>=2.4,!=2.9.*"
PROTECTED = ("numpy", "SimpleITK", "vtk", "itk", "scipy", "requests", "packaging")
"""Packages of Slicer that must not be changed."""

_FAILURES = (RuntimeError, OSError, subprocess.CalledProcessError)
"""What Slicer raises when pip fails or the user declines."""

logger = logging.getLogger("SPRRegistration")


class InstallError(Exception):
    """The installation failed; the text tells the user what to do.

    Args:
        text: The text.
        was_shown: Whether Slicer has shown a dialog about it.
    """

    def __init__(self, text: str, was_shown: bool = False) -> None:
        self.was_shown = was_shown
        super().__init__(text)


def missing(requirements: Path) -> list[str]:
    """Return the requirements that are not installed.

    Args:
        requirements: File with one requirement a line, beside PyTorch.

    Returns:
        Requirements as pip writes them; PyTorch first.
    """
    lines = [line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    return [wanted for wanted in (TORCH, *filter(None, lines)) if not _is_installed(wanted)]


def question(wanted: list[str]) -> str:
    """Return the question to the user before anything is installed."""
    size = _("about 200 MB to 3 GB, depending on the graphics card") if TORCH in wanted else _("a few MB")
    return _(
        "The registration needs software that is not part of 3D Slicer yet:\n\n{packages}\n\n"
        "It will be downloaded from the Python Package Index and pytorch.org ({size}) and installed into the Python of "
        "this 3D Slicer. No images and no data about you are sent. This is needed once and takes some minutes.\n\n"
        "Install it now?"
    ).format(packages="\n".join(f"  • {item}" for item in wanted), size=size)


def install(wanted: list[str]) -> None:
    """Install from the network; the user has been asked.

    Args:
        wanted: What `missing` returned.

    Raises:
        InstallError: It failed.
    """
    rest = [item for item in wanted if item != TORCH]
    try:
        if TORCH in wanted:
            _install_torch()
        if rest:
            _pip(rest)
    except (*_FAILURES, ImportError) as error:  # an import ends the installation of PyTorch
        logger.exception("installation failed")
        text = _(
            "The installation failed: {error}. Check the connection to the internet, or ask for a folder of "
            "wheels and choose “Install from a folder”. Nothing else in 3D Slicer was changed."
        )
        raise InstallError(text.format(error=str(error).strip().rstrip(".")), _was_shown(error)) from error
    _check(wanted)


def install_from(folder: str, wanted: list[str]) -> None:
    """Install from a folder of wheels, without a network.

    Args:
        folder: The folder.
        wanted: What `missing` returned.

    Raises:
        InstallError: It failed.
    """
    if not any(Path(folder).glob("*.whl")):
        raise InstallError(_("There are no wheels (files ending in .whl) in {folder}.").format(folder=folder))
    try:
        with tempfile.TemporaryDirectory() as temporary:
            offline = ["--no-index", "--find-links", folder, "-c", str(_constraints(Path(temporary)))]
            slicer.util.pip_install([*wanted, *offline])
    except _FAILURES as error:
        logger.exception("installation from a folder failed")
        text = _(
            "The folder is incomplete. It must contain wheels of {wanted} for this version of Python and this "
            "operating system, with all of their dependencies."
        )
        raise InstallError(text.format(wanted=", ".join(wanted)), _was_shown(error)) from error
    _check(wanted)


def _install_torch() -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        raise InstallError(
            _(
                "PyTorch is installed by the extension “PyTorch”, which is missing. Open View > Extensions Manager, "
                "install “PyTorch”, restart 3D Slicer, and try again."
            )
        ) from error
    requirement = TORCH[len("torch") :]
    if (
        PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=requirement)
        is None
    ):
        raise InstallError(_("PyTorch was not installed. Press Apply to try again."))


def _pip(wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        constraints = _constraints(Path(temporary))
        try:
            from slicer.packaging import pip_ensure
        except ImportError:  # before Slicer 5.12
            slicer.util.pip_install([*wanted, "-c", str(constraints)])
        else:
            pip_ensure(wanted, constraints=constraints, prompt_install=False, requester="SPR Registration")


def _was_shown(error: Exception) -> bool:
    """Return whether Slicer has shown a dialog about an error: since 5.12 it does if pip fails."""
    return isinstance(error, subprocess.CalledProcessError) and importlib.util.find_spec("slicer.packaging") is not None


def _check(wanted: list[str]) -> None:
    """Check the installation; some fail silently (Slicer installs nothing while it is tested)."""
    importlib.invalidate_caches()
    left = [item for item in wanted if not _is_installed(item)]
    if left:
        text = _("{packages} is still missing after the installation. Restart 3D Slicer and press Apply again.")
        raise InstallError(text.format(packages=", ".join(left)))


def _constraints(folder: Path) -> Path:
    """Write constraints that keep Slicer's packages."""
    lines = []
    for name in PROTECTED:
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed
    path = folder / "constraints.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _is_installed(wanted: str) -> bool:
    from packaging.requirements import Requirement

    requirement = Requirement(wanted)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)
