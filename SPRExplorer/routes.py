"""What the server answers besides the page itself: uploads, downloads, a sign of life; and who is let in at all."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from SPRRegistrationLib import messages
from SPRRegistrationLib.scene import exports

from SPRCore.errors import SPRError
from SPRCore.io.places import SUFFIX
from SPRExplorer.controller import ExplorerController
from SPRExplorer.files import LANDMARK_ENDINGS, MEGABYTE, Inbox
from SPRExplorer.security import COOKIE, HEADERS, Policy, judge

logger = logging.getLogger("SPRRegistration")

IMAGES = ("deformedVolume", "weightVolume", "jacobianVolume")
WHAT = {
    "deformedVolume": "deformed",
    "weightVolume": "stiffness",
    "jacobianVolume": "volume-change",
    "displacementTransform": "displacement",
    "inverseTransform": "inverse",
}
"""Last part of the name of a file, by the field that it is of."""
UPLOADS = {
    **dict.fromkeys(("fixedVolume", "movingVolume", "fixedLabels", "movingLabels"), ()),
    **dict.fromkeys(("fixedLandmarks", "movingLandmarks"), LANDMARK_ENDINGS),
    "model": (SUFFIX,),
}
"""What may be sent: a field of the parameters or a task model, and what the name of its one file ends in."""
OWN_REQUEST = "X-SPR-Explorer"
"""Header that our own script sends with an upload; a form of another page cannot."""


def guard(policy: Policy) -> Callable:
    """Return what looks at each request first.

    Args:
        policy: What the server insists on.
    """

    @web.middleware
    async def look(request: web.Request, handler: Callable[[web.Request], Awaitable]) -> web.StreamResponse:
        verdict = judge(policy, request.method, request.headers, request.query, request.cookies)
        if verdict.status != 200:
            logger.warning("refused %s %s: %s", request.method, request.path, verdict.why)
            return web.Response(status=verdict.status, text=verdict.why, headers=HEADERS)
        if verdict.welcome and request.path in ("/", "/index.html"):
            response = web.HTTPFound("/index.html", headers=HEADERS)  # the token is not to stay in the address
            response.set_cookie(COOKIE, policy.token, httponly=True, samesite="Strict")
            return response
        try:
            return await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise

    return look


async def decorate(request: web.Request, response: web.StreamResponse) -> None:
    """Send our headers with every answer."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


class Routes:
    """Uploads and downloads.

    Args:
        panel: The registration.
        take: Called with what it is to be, the file or folder that has come, its name, and the folder that it lies in.
        limit_mb: Most megabytes of an upload.
        scratch: A folder for what has come.
    """

    def __init__(
        self, panel: ExplorerController, take: Callable[[str, Path, str, Path], Awaitable], limit_mb: int, scratch: Path
    ) -> None:
        self._panel, self._take, self._limit, self._scratch = panel, take, limit_mb * MEGABYTE, scratch
        self._name = secrets.token_hex(4)

    def add_to(self, app: Any) -> None:
        """Add the routes to the application of aiohttp."""
        app.router.add_get("/explorer/alive", self.alive)
        app.router.add_post(f"/explorer/upload/{{what:{'|'.join(UPLOADS)}}}", self.upload)
        app.router.add_get("/explorer/export/{name}", self.export)

    async def alive(self, request: web.Request) -> web.Response:
        """Say that the server runs, and which one."""
        return web.json_response({"server": self._name}, headers={"Cache-Control": "no-store"})

    async def upload(self, request: web.Request) -> web.Response:
        """Take what a registration is made of, as one or more files of a form."""
        if request.headers.get(OWN_REQUEST) != "1" or not request.content_type.startswith("multipart/"):
            return _refusal(400, "An upload comes from the page of the Explorer.")
        if (request.content_length or 0) > self._limit + MEGABYTE:
            return _refusal(413, f"The upload is larger than {self._limit // MEGABYTE} MB.")
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        inbox = Inbox(folder, self._limit)
        try:
            async for part in await request.multipart():
                if part.filename:
                    await _store(part, inbox)
            what = request.match_info["what"]
            found = inbox.single(UPLOADS[what]) if UPLOADS[what] else inbox.image()
            await self._take(what, found, inbox.title, folder)
        except SPRError as error:
            status = 413 if error.what == "upload" and error.got == "more data" else 422
            return _refusal(status, messages.refused(error))
        except (ValueError, OSError):
            logger.exception("an upload failed")
            return _refusal(400, "The upload was not complete.")
        return web.json_response({"ok": True})

    async def export(self, request: web.Request) -> web.Response:
        """Make a file and send it."""
        name = request.match_info["name"]
        parameters = self._panel.parameters
        if name == "report.json" and parameters.report:
            return _attachment(
                exports.file_name(parameters, "report", ".json"), exports.report_text(parameters).encode()
            )
        endings = [ending for _title, ending in exports.formats()]
        allowed = {f"{field}{ending}": field for _title, field in exports.directions() for ending in endings}
        allowed |= {f"{field}.nii.gz": field for field in IMAGES}
        node = getattr(parameters, allowed[name]) if name in allowed and parameters.report else None
        if node is None:
            return _refusal(404, "There is nothing of that name to be saved; press Apply first.")
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path = Path(folder) / name
            try:
                exports.write_node(node, path)
            except SPRError as error:
                return _refusal(500, messages.refused(error))
            what = WHAT[allowed[name]]
            return _attachment(exports.file_name(parameters, what, name[name.index(".") :]), path.read_bytes())


async def _store(part: Any, inbox: Inbox) -> None:
    with inbox.place(part.filename).open("xb") as target:
        while data := await part.read_chunk(MEGABYTE):
            inbox.count(len(data))
            target.write(data)


def _attachment(name: str, data: bytes) -> web.Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


def _refusal(status: int, why: str) -> web.Response:
    return web.json_response({"ok": False, "why": why}, status=status)
