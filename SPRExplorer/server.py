"""Serves the Explorer: one process, one event loop, one registration that all pages share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SPRCore.errors import InputError
from SPRCore.io.paths import on_disk
from SPRExplorer.security import AccessPolicy, is_local
from SPRExplorer.transport import half_of_the_cores

logger = logging.getLogger("SPRRegistration")

RENDERING_TEST = (
    "import vtkmodules.vtkRenderingOpenGL2, vtkmodules.vtkRenderingCore as r; w = r.vtkRenderWindow(); "
    "w.SetOffScreenRendering(1); w.SetSize(8, 8); w.Render()"
)
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of the server.

    Attributes:
        pair: Fixed and moving image; None for the sample pair.
        host: Address to listen on; a loopback address keeps other computers out.
        port: Port; 0 for any free one.
        folder: Folder whose images can be opened from the page; None for none.
        upload_mb: Largest upload in megabytes.
        token: Whether to require a token on a loopback address; on others it is always required.
        open_browser: Whether to open the browser.
        worker: Command of the worker; empty for the default.
        settings: Initial settings, as a URL fragment.
        pictures: Folder for pictures of a registration, after which the server ends; None to serve until interrupted.
    """

    pair: tuple[Path, Path] | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    folder: Path | None = None
    upload_mb: int = 2048
    token: bool = False
    open_browser: bool = True
    worker: tuple[str, ...] = ()
    settings: str = ""
    pictures: Path | None = None


def serve(options: ServerOptions, say: Callable[[str], object]) -> None:
    """Serve until interrupted.

    Args:
        options: Options.
        say: Called with lines for the user.

    Raises:
        InputError: An option is invalid, the port is in use, or this computer cannot render.
    """
    _check(options)
    # Mesa uses all cores by default; read at its first use.
    os.environ.setdefault("LP_NUM_THREADS", str(half_of_the_cores()))
    rendering = RenderingCheck()
    # trame would parse the arguments of this process; compression does not shrink JPEGs.
    os.environ.update(TRAME_ARGS="", WSLINK_WS_COMPRESS="0", WSLINK_READY_MSG="")
    asyncio.run(_serve(options, say, rendering))


async def _serve(options: ServerOptions, say: Callable[[str], object], rendering: RenderingCheck) -> None:
    # Imported here: this takes seconds, and invalid options are reported before.
    from SPRExplorer.slicer_python import install

    install()
    _limit_rendering_threads()
    from trame.app import get_server

    from SPRExplorer.app import Explorer

    rendering.check()
    local = is_local(options.host)
    policy = AccessPolicy(local=local, token=secrets.token_urlsafe(24) if options.token or not local else "")
    server = get_server("spr-explorer", client_type="vue3")
    explorer = Explorer(server, options.folder, list(options.worker))
    done = asyncio.get_running_loop().create_future()
    if options.pair is None:
        explorer.load_sample()
    else:
        explorer.run_in_background(explorer.open_pair(*options.pair))
    explorer.open_link(options.settings)
    server.controller.on_server_bind.add(lambda web_server: _bind(web_server.app, explorer, options, policy))
    server.controller.on_server_ready.add(
        lambda **state: _begin(explorer, options, address_of(options.host, server.port, policy.token), say, done)
    )
    quiet = {"open_browser": False, "show_connection_info": False, "timeout": 0, "thread": True}
    try:
        serving = server.start(host=options.host, port=options.port, exec_mode="coroutine", **quiet)
        serving = asyncio.ensure_future(serving)
        await asyncio.wait([serving, done], return_when=asyncio.FIRST_COMPLETED)
        (serving if serving.done() else done).result()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await explorer.close()


def _bind(app: Any, explorer: Any, options: ServerOptions, policy: AccessPolicy) -> None:
    """Add access control and the routes besides the page."""
    from SPRExplorer.routes import Routes, access_control, add_headers

    app.middlewares.insert(0, access_control(policy))
    app.on_response_prepare.append(add_headers)
    Routes(explorer.controller, explorer.open_file, options.upload_mb, explorer.scratch).add_to(app)


def _begin(
    explorer: Any, options: ServerOptions, address: str, say: Callable[[str], object], done: asyncio.Future
) -> None:
    """Report the address and open the page, or write pictures."""
    if options.pictures is not None:
        from SPRExplorer.pictures import write_pictures

        explorer.controller.open_by_itself()
        explorer.run_in_background(_forward(write_pictures(explorer, address, options.pictures, say), done))
        return
    say(f"The Explorer is at {address}")
    say("Stop it with Ctrl-C.")
    if options.open_browser:
        webbrowser.open(address)


async def _forward(work: Awaitable[None], done: asyncio.Future) -> None:
    """Await something and set its outcome on a future."""
    try:
        await work
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)


def _limit_rendering_threads() -> None:
    """Render with half of the cores: the worker needs the others, and threads on busy cores wait for each other."""
    from vtkmodules.vtkCommonCore import vtkMultiThreader, vtkSMPTools

    vtkMultiThreader.SetGlobalMaximumNumberOfThreads(half_of_the_cores())
    vtkSMPTools.Initialize(half_of_the_cores())


def address_of(host: str, port: int, token: str) -> str:
    """Return the URL of the page."""
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def _check(options: ServerOptions) -> None:
    if not 0 <= options.port < 65536:
        raise InputError("--port", got=str(options.port), expected="0 to 65535")
    if options.upload_mb < 1:
        raise InputError("--upload-mb", got=str(options.upload_mb), expected="1 or more")
    for path in options.pair or ():
        if not on_disk(path).exists():
            raise InputError(str(path), got="no such file", expected="an image", remedy="check the path")
    if options.folder is not None and not options.folder.is_dir():
        raise InputError("--folder", got=str(options.folder), expected="a folder")
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            got = f"{options.host}:{options.port}, {error.strerror}"
            raise InputError("address to listen on", got=got, remedy="choose another --port or --host") from error


class RenderingCheck:
    """Checks in another process whether VTK can render: without OpenGL the first rendering would end this process.

    It starts at once and runs while the server imports its modules.
    """

    def __init__(self) -> None:
        self._is_headless = sys.platform == "linux" and "DISPLAY" not in os.environ
        if self._is_headless:
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        self._process = self._start()

    def check(self) -> None:
        """Wait for the outcome.

        Raises:
            InputError: OpenGL cannot render.
        """
        can_render = self._process.wait(TIMEOUT_SECONDS) == 0
        if not can_render and self._is_headless:
            os.environ.pop("VTK_DEFAULT_OPENGL_WINDOW")  # VTK tries other ones itself
            can_render = self._start().wait(TIMEOUT_SECONDS) == 0
        if not can_render:
            remedy = "on Debian and Ubuntu: apt-get install libegl1 libgl1-mesa-dri"
            raise InputError("OpenGL", got="no renderer", expected="OpenGL 3.2 or Mesa", remedy=remedy)

    def _start(self) -> subprocess.Popen:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([sys.executable, "-c", RENDERING_TEST], **quiet)
