"""Serves the Explorer: one process, one event loop, one registration that all its pages show."""

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
from SPRExplorer.security import Policy, is_local
from SPRExplorer.transport import half_of_the_cores

logger = logging.getLogger("SPRRegistration")

PROBE = (
    "import vtkmodules.vtkRenderingOpenGL2, vtkmodules.vtkRenderingCore as r; w = r.vtkRenderWindow(); "
    "w.SetOffScreenRendering(1); w.SetSize(8, 8); w.Render()"
)


PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to serve.

    Attributes:
        pair: Fixed and moving image; None for the sample pair.
        host: Address to listen on; other computers reach it only if this is not this computer's own.
        port: Port; 0 for any that is free.
        folder: Folder whose images can be opened from the page; None for none.
        upload_mb: Most megabytes of an upload.
        token: Whether a token is asked for on this computer, too; elsewhere it always is.
        open_browser: Whether to open the browser.
        worker: Command of the worker; empty for ours.
        settings: Settings to begin with, as the last part of an address holds them.
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


def serve(options: Options, say: Callable[[str], object]) -> None:
    """Serve until interrupted.

    Args:
        options: How to serve.
        say: Called with lines for the user.

    Raises:
        InputError: The port is taken, or pictures cannot be drawn on this computer.
    """
    _check(options)
    # Mesa draws with all cores otherwise, and before anything is drawn it must know.
    os.environ.setdefault("LP_NUM_THREADS", str(half_of_the_cores()))
    drawing = Drawing()
    # trame reads the arguments of the process otherwise, which are ours; compressed pictures do not get smaller.
    os.environ.update(TRAME_ARGS="", WSLINK_WS_COMPRESS="0", WSLINK_READY_MSG="")
    asyncio.run(_serve(options, say, drawing))


async def _serve(options: Options, say: Callable[[str], object], drawing: Drawing) -> None:
    # Only now: these take seconds, and what is wrong with the options has been told already.
    from SPRExplorer.slicer_python import install

    install()
    _leave_cores_to_the_worker()
    from trame.app import get_server

    from SPRExplorer.app import Explorer

    drawing.check()
    local = is_local(options.host)
    policy = Policy(local=local, token=secrets.token_urlsafe(24) if options.token or not local else "")
    server = get_server("spr-explorer", client_type="vue3")
    explorer = Explorer(server, options.folder, list(options.worker))
    done = asyncio.get_running_loop().create_future()
    if options.pair is None:
        explorer.load_sample()
    else:
        explorer.soon(explorer.open_pair(*options.pair))  # other processes read, while this one goes on
    explorer.open_link(options.settings)
    server.controller.on_server_bind.add(lambda web_server: _bind(web_server.app, explorer, options, policy))
    server.controller.on_server_ready.add(
        lambda **state: _begin(explorer, options, address_of(options.host, server.port, policy.token), say, done)
    )
    running = {"open_browser": False, "show_connection_info": False, "timeout": 0, "thread": True}
    try:
        serving = server.start(host=options.host, port=options.port, exec_mode="coroutine", **running)
        serving = asyncio.ensure_future(serving)
        await asyncio.wait([serving, done], return_when=asyncio.FIRST_COMPLETED)
        (serving if serving.done() else done).result()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await explorer.close()


def _bind(app: Any, explorer: Any, options: Options, policy: Policy) -> None:
    """Add what the server answers besides the page, and who is let in."""
    from SPRExplorer.routes import Routes, decorate, guard

    app.middlewares.insert(0, guard(policy))
    app.on_response_prepare.append(decorate)
    Routes(explorer.panel, explorer.open_file, options.upload_mb, explorer.scratch).add_to(app)


def _begin(explorer: Any, options: Options, address: str, say: Callable[[str], object], done: asyncio.Future) -> None:
    """Tell where the page is, and open it; or take pictures."""
    if options.pictures is not None:
        from SPRExplorer.pictures import take

        explorer.panel.open_by_itself()
        explorer.soon(_until_done(take(explorer, address, options.pictures, say), done))
        return
    say(f"The Explorer is at {address}")
    say("Stop it with Ctrl-C.")
    if options.open_browser:
        webbrowser.open(address)


async def _until_done(work: Awaitable[None], done: asyncio.Future) -> None:
    """Do something, and pass on how it ended."""
    try:
        await work
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)


def _leave_cores_to_the_worker() -> None:
    """Draw with half of the cores: threads that wait for each other on busy cores are slower than one."""
    from vtkmodules.vtkCommonCore import vtkMultiThreader, vtkSMPTools

    vtkMultiThreader.SetGlobalMaximumNumberOfThreads(half_of_the_cores())
    vtkSMPTools.Initialize(half_of_the_cores())


def address_of(host: str, port: int, token: str) -> str:
    """Return the address to open."""
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def _check(options: Options) -> None:
    if not 0 <= options.port < 65536:
        raise InputError("--port", got=str(options.port), expected="0 to 65535")
    if options.upload_mb < 1:
        raise InputError("--upload-mb", got=str(options.upload_mb), expected="1 or more")
    for path in options.pair or ():
        if not on_disk(path).exists():
            raise InputError(str(path), got="nothing there", expected="an image", remedy="check the path")
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


class Drawing:
    """Tries whether pictures can be drawn, in a process of its own: without OpenGL the first one would end ours.

    It is started at once, and asked later: what is imported meanwhile takes as long.
    """

    def __init__(self) -> None:
        self._alone = sys.platform == "linux" and "DISPLAY" not in os.environ
        if self._alone:
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        self._trial = self._try()

    def check(self) -> None:
        """Wait for the answer.

        Raises:
            InputError: There is no OpenGL that can draw.
        """
        can = self._trial.wait(PATIENCE_SECONDS) == 0
        if not can and self._alone:
            os.environ.pop("VTK_DEFAULT_OPENGL_WINDOW")  # VTK looks for another one itself
            can = self._try().wait(PATIENCE_SECONDS) == 0
        if not can:
            remedy = "on Debian and Ubuntu: apt-get install libegl1 libgl1-mesa-dri"
            raise InputError("OpenGL", got="none that can draw", expected="OpenGL 3.2 or Mesa", remedy=remedy)

    def _try(self) -> subprocess.Popen:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([sys.executable, "-c", PROBE], **quiet)
