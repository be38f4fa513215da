"""Installation of the worker's dependencies at the first use, with consent, without changing Slicer's own packages.

PyTorch is installed by the extension PyTorch, which chooses the build for the graphics card, and which is itself
installed if it is missing; the rest by `pip_ensure`, or `pip_install` before Slicer 5.12; or everything from a folder
of wheels, without a network. All of it can be cancelled.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib.qt.cancel import Cancellation

TORCH = "torch>=2.4,!=2.9.*"
EXTENSION = "PyTorch"
"""The extension that installs PyTorch."""

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
    text = _(
        "The registration needs software that is not part of 3D Slicer yet:\n\n{packages}\n\n"
        "It will be downloaded from the Python Package Index and pytorch.org ({size}) and installed into the Python of "
        "this 3D Slicer. No images and no data about you are sent. This is needed once and takes some minutes.\n\n"
    )
    if TORCH in wanted and not _has_extension():
        text += _(
            "The extension “{extension}”, which installs PyTorch, is missing. It will be installed first, and 3D "
            "Slicer has to be restarted after that.\n\n"
        )
    text += _("Install it now?")
    return text.format(packages="\n".join(f"  • {item}" for item in wanted), size=size, extension=EXTENSION)


def install(wanted: list[str]) -> None:
    """Install from the network; the user has been asked.

    Args:
        wanted: What `missing` returned.

    Raises:
        InstallError: It failed, was cancelled, or needs a restart of 3D Slicer first.
    """
    if TORCH in wanted and not _has_extension():
        _install_extension()
    _do(lambda: _from_network(wanted), wanted, _network_failed)


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
    _do(lambda: _from_folder(folder, wanted), wanted, lambda error: _folder_failed(wanted))


def _do(work: Callable[[], None], wanted: list[str], failed: Callable[[Exception], str]) -> None:
    """Install, and check it; `failed` returns the text for the user."""
    with Cancellation() as cancellation:
        try:
            work()
        except (*_FAILURES, ImportError, InstallError) as error:  # an import ends the installation of PyTorch
            logger.exception("installation failed")
            if cancellation.is_requested:
                raise InstallError(_("The installation was cancelled. Press Apply to begin again."), True) from error
            if isinstance(error, InstallError):
                raise
            raise InstallError(failed(error), _was_shown(error)) from error
    _check(wanted)


def _network_failed(error: Exception) -> str:
    text = _(
        "The installation failed: {error}. Check the connection to the internet, or ask for a folder of "
        "wheels and choose “Install from a folder”. Nothing else in 3D Slicer was changed."
    )
    return text.format(error=str(error).strip().rstrip("."))


def _folder_failed(wanted: list[str]) -> str:
    text = _(
        "The folder is incomplete. It must contain wheels of {wanted} for this version of Python and this "
        "operating system, with all of their dependencies."
    )
    return text.format(wanted=", ".join(wanted))


def _from_folder(folder: str, wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        offline = ["--no-index", "--find-links", folder, "-c", str(_constraints(Path(temporary)))]
        slicer.util.pip_install([*wanted, *offline])


def _from_network(wanted: list[str]) -> None:
    if TORCH in wanted:
        _install_torch()
    rest = [item for item in wanted if item != TORCH]
    if rest:
        _pip(rest)


def _has_extension() -> bool:
    try:
        import PyTorchUtils  # noqa: F401  # the module of the extension
    except ImportError:
        return False
    return True


def _install_extension() -> None:
    """Install the extension PyTorch, and offer the restart; always ends with an `InstallError`."""
    if not _from_catalog():
        text = _(
            "The extension “{extension}”, which installs PyTorch, could not be installed. Open View > Extensions "
            "Manager, install it, restart 3D Slicer, and try again."
        )
        raise InstallError(text.format(extension=EXTENSION))
    offer = _(
        "The extension “{extension}” was installed. 3D Slicer has to be restarted before it can be used; changes of "
        "the scene that were not saved are lost.\n\nRestart 3D Slicer now?"
    )
    if slicer.util.confirmYesNoDisplay(offer.format(extension=EXTENSION), _("SPR Registration")):
        slicer.util.restart()
    raise InstallError(_("Restart 3D Slicer, and press Apply again."), was_shown=True)


def _from_catalog() -> bool:
    """Install the extension PyTorch, if it is missing; return whether it is installed."""
    if not hasattr(slicer.app, "extensionsManagerModel"):  # an application without extensions
        return False
    manager = slicer.app.extensionsManagerModel()
    was_interactive, manager.interactive = manager.interactive, False  # the user has agreed already
    try:
        return manager.isExtensionInstalled(EXTENSION) or manager.installExtensionFromServer(EXTENSION, False)
    finally:
        manager.interactive = was_interactive


def _install_torch() -> None:
    import PyTorchUtils

    requirement = TORCH[len("torch") :]
    logic = PyTorchUtils.PyTorchUtilsLogic()
    if logic.installTorch(askConfirmation=False, torchVersionRequirement=requirement) is None:
        raise InstallError(_("PyTorch was not installed. Press Apply to try again."))


def _pip(wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        constraints = _constraints(Path(temporary))
        try:
            from slicer.packaging import pip_ensure
        except ImportError:  # before Slicer 5.12
            slicer.util.pip_install([*wanted, "-c", str(constraints)])
        else:  # without Slicer's dialog of the progress, which has no button to cancel
            options = {"prompt_install": False, "show_progress": False}
            pip_ensure(wanted, constraints=constraints, requester="SPR Registration", **options)


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
