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

_DEPENDENCIES = {"trame_slicer": "trame-slicer", "slicer": "trame-slicer[standalone]", "trame": "trame"}


@dataclass(frozen=True, kw_only=True)
class Explore:
    """Register in the browser: live sliders with the views of 3D Slicer. Without images, a sample pair is used."""

    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="[FIXED MOVING]", help_behavior_hint="(optional)")] = ()
    """Fixed and moving image: NIfTI, NRRD, MetaImage, or folders of DICOM series."""

    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on. With a non-loopback address other computers can connect; they need the token."""

    port: Annotated[int, arg(metavar="N")] = 8765
    """Port to listen on; 0 for any free one."""

    folder: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(optional)")] = None
    """Folder whose images can be opened from the page; no other folder of this computer is accessible."""

    upload_mb: Annotated[int, arg(metavar="N")] = 2048
    """Largest upload in megabytes."""

    token: bool = False
    """Require a token on a loopback address, too: for computers with other users."""

    no_browser: bool = False
    """Do not open the browser."""

    pictures: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(optional)")] = None
    """Register, write pictures of the Explorer to this folder, and stop."""

    def run(self, command: str) -> None:
        """Serve until interrupted."""
        if len(self.images) not in (0, 2):
            got = f"{len(self.images)} image" + "s" * (len(self.images) > 1)
            raise InputError("spr explore", got=got, expected="FIXED and MOVING, or none for a sample pair")
        server = explorer_server()
        options = server.ServerOptions(
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
    """Import `SPRExplorer.server`.

    Raises:
        InputError: A dependency is not installed.
    """
    missing = sorted({package for name, package in _DEPENDENCIES.items() if importlib.util.find_spec(name) is None})
    if missing:
        remedy = "install them by pip install 'SPRCore[explorer]'"
        raise InputError("spr explore", got=f"no {' and no '.join(missing)}", remedy=remedy)
    return importlib.import_module("SPRExplorer.server")
