"""`spr explore`: the panel of the Slicer module in a browser."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated

from tyro.conf import Positional, arg

from SPRCore.cli.console import print_line
from SPRCore.errors import InputError

_NEEDED = {"trame_slicer": "trame-slicer", "slicer": "trame-slicer[standalone]", "trame": "trame"}


@dataclass(frozen=True, kw_only=True)
class Explore:
    """Register in the browser: sliders that answer at once, with the views of 3D Slicer. Without images, a sample."""

    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="[FIXED MOVING]", help_behavior_hint="(optional)")] = ()
    """Fixed and moving image: NIfTI, NRRD, MetaImage, or folders of DICOM series."""

    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on. Any other than this computer's own lets other computers in, if they have the token."""

    port: Annotated[int, arg(metavar="N")] = 8765
    """Port to listen on; 0 for any that is free."""

    folder: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(optional)")] = None
    """Folder whose images can be opened from the page; no other place on this computer can."""

    upload_mb: Annotated[int, arg(metavar="N")] = 2048
    """Most megabytes of an upload."""

    token: bool = False
    """Ask for a token on this computer, too: for computers that others are logged in to."""

    no_browser: bool = False
    """Do not open the browser."""

    pictures: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(optional)")] = None
    """Register, leave pictures of the Explorer in this folder, and stop."""

    def run(self, command: str) -> None:
        """Serve until interrupted."""
        if len(self.images) not in (0, 2):
            got = f"{len(self.images)} image" + "s" * (len(self.images) > 1)
            raise InputError("spr explore", got=got, expected="FIXED and MOVING, or nothing for a sample pair")
        server = explorer_server()
        options = server.Options(
            pair=self.images or None,
            host=self.host,
            port=self.port,
            folder=self.folder,
            upload_mb=self.upload_mb,
            token=self.token,
            open_browser=not self.no_browser,
            pictures=self.pictures,
        )
        server.serve(options, print_line)


def explorer_server() -> ModuleType:
    """Return the module that serves the Explorer: the package `SPRExplorer`.

    Raises:
        InputError: What it needs is not installed.
    """
    missing = sorted({package for name, package in _NEEDED.items() if importlib.util.find_spec(name) is None})
    if missing:
        remedy = "install them by pip install 'SPRCore[explorer]'"
        raise InputError("spr explore", got=f"no {' and no '.join(missing)}", remedy=remedy)
    return importlib.import_module("SPRExplorer.server")
