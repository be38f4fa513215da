"""HTTP routes besides the page itself: uploads, downloads and a liveness check, with access control for all."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from SPRRegistrationLib import messages
from SPRRegistrationLib.scene import exports, uncertainty

from SPRCore.errors import SPRError
from SPRCore.io.places import SUFFIX
from SPRExplorer.controller import ExplorerController
from SPRExplorer.files import LANDMARK_SUFFIXES, MEGABYTE, UploadFolder
from SPRExplorer.security import COOKIE, HEADERS, AccessPolicy, decide

logger = logging.getLogger("SPRRegistration")

IMAGES = ("deformedVolume", "weightVolume", "jacobianVolume", "uncertaintyVolume")
FILE_SUFFIXES = {
    "deformedVolume": "deformed",
    "weightVolume": "stiffness",
    "jacobianVolume": "volume-change",
    "uncertaintyVolume": "uncertainty",
    "displacementTransform": "displacement",
    "inverseTransform": "inverse",
}
"""Last part of the file name of an export, by the exported field."""
UPLOADS = {
    **dict.fromkeys(("fixedVolume", "movingVolume", "fixedChannel", "movingChannel"), ()),
    **dict.fromkeys(("fixedLabels", "movingLabels"), ()),
    **dict.fromkeys(("fixedLandmarks", "movingLandmarks"), LANDMARK_SUFFIXES),
    "model": (SUFFIX,),
}
"""Accepted uploads: a field of the parameters or a task model, and the suffixes of its file."""
UPLOAD_HEADER = "X-SPR-Explorer"
"""Header that the page's script sends with an upload; a form of another site cannot set it."""


def access_control(policy: AccessPolicy) -> Callable:
    """Return the middleware that decides about each request before anything else."""

    @web.middleware
    async def check(request: web.Request, handler: Callable[[web.Request], Awaitable]) -> web.StreamResponse:
        decision = decide(policy, request.method, request.headers, request.query, request.cookies)
        if decision.status != 200:
            logger.warning("refused %s %s: %s", request.method, request.path, decision.reason)
            return web.Response(status=decision.status, text=decision.reason, headers=HEADERS)
        if decision.set_cookie and request.path in ("/", "/index.html"):
            response = web.HTTPFound("/index.html", headers=HEADERS)  # removes the token from the address bar
            response.set_cookie(COOKIE, policy.token, httponly=True, samesite="Strict")
            return response
        try:
            return await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise

    return check


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to a response."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


class Routes:
    """Uploads and downloads.

    Args:
        controller: The controller of the registration.
        open_file: Called with the field, the uploaded file or folder, its title, and its temporary folder.
        limit_mb: Largest upload in megabytes.
        scratch: Folder for uploads.
    """

    def __init__(
        self, controller: ExplorerController, open_file: Callable[..., Awaitable], limit_mb: int, scratch: Path
    ) -> None:
        self._controller, self._open_file, self._limit, self._scratch = (
            controller,
            open_file,
            limit_mb * MEGABYTE,
            scratch,
        )
        self._server_id = secrets.token_hex(4)

    def add_to(self, app: Any) -> None:
        """Add the routes to the application of aiohttp."""
        app.router.add_get("/explorer/alive", self.alive)
        app.router.add_post(f"/explorer/upload/{{field:{'|'.join(UPLOADS)}}}", self.upload)
        app.router.add_get("/explorer/export/{name}", self.export)

    async def alive(self, request: web.Request) -> web.Response:
        """Return the identifier of this server process."""
        return web.json_response({"server": self._server_id}, headers={"Cache-Control": "no-store"})

    async def upload(self, request: web.Request) -> web.Response:
        """Open the uploaded files of a form: an image, a second channel, segments, landmarks or a task model."""
        if request.headers.get(UPLOAD_HEADER) != "1" or not request.content_type.startswith("multipart/"):
            return _refusal(400, "Uploads are accepted from the page of the Explorer only.")
        if (request.content_length or 0) > self._limit + MEGABYTE:
            return _refusal(413, f"The upload is larger than {self._limit // MEGABYTE} MB.")
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        upload = UploadFolder(folder, self._limit)
        try:
            async for part in await request.multipart():
                if part.filename:
                    await _store(part, upload)
            field = request.match_info["field"]
            path = upload.single_file(UPLOADS[field]) if UPLOADS[field] else upload.image()
            await self._open_file(field, path, upload.title, folder)
        except SPRError as error:
            status = 413 if error.what == "upload" and error.got == "more data" else 422
            return _refusal(status, messages.refused(error))
        except (ValueError, OSError):
            logger.exception("an upload failed")
            return _refusal(400, "The upload is incomplete.")
        return web.json_response({"ok": True})

    async def export(self, request: web.Request) -> web.Response:
        """Write a result to a file and send it."""
        name = request.match_info["name"]
        parameters = self._controller.parameters
        if name == "report.json" and parameters.report:
            return _attachment(
                exports.file_name(parameters, "report", ".json"), exports.report_text(parameters).encode()
            )
        endings = [ending for _title, ending in exports.formats()]
        allowed = {f"{field}{ending}": field for _title, field in exports.directions() for ending in endings}
        allowed |= {f"{field}.nii.gz": field for field in IMAGES}
        node = getattr(parameters, allowed[name]) if name in allowed and parameters.report else None
        if node is None or (node is parameters.uncertaintyVolume and not uncertainty.has_exact_map(parameters)):
            return _refusal(404, "There is no result of that name; press Apply first.")
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path = Path(folder) / name
            try:
                exports.write_node(node, path)
            except SPRError as error:
                return _refusal(500, messages.refused(error))
            suffix = FILE_SUFFIXES[allowed[name]]
            return _attachment(exports.file_name(parameters, suffix, name[name.index(".") :]), path.read_bytes())


async def _store(part: Any, upload: UploadFolder) -> None:
    with upload.path_for(part.filename).open("xb") as target:
        while data := await part.read_chunk(MEGABYTE):
            upload.count_bytes(len(data))
            target.write(data)


def _attachment(name: str, data: bytes) -> web.Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


def _refusal(status: int, reason: str) -> web.Response:
    return web.json_response({"ok": False, "reason": reason}, status=status)
