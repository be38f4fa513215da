"""Responses to hostile requests and to uploads."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest

from SPRCore.io.places import SUFFIX, packaged_folder

pytestmark = [pytest.mark.slicer, pytest.mark.slow]

BOUNDARY = "spr-boundary"
KEY = base64.b64encode(b"0123456789abcdef").decode()
SOCKET = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chosen")
    (folder.parent / "outside.nii").write_bytes(b"secret")
    models = tmp_path_factory.mktemp("models")
    server = serve(quick=True, upload_mb=8, folder=str(folder), models=str(models))
    server.models = models
    return server


@pytest.fixture(scope="module")
def with_token(serve):
    return serve(quick=True, token=True)


def ask(server, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None and "Content_Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    if body:
        connection.send(body)
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def form(*files):
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def upload(server, *files, what="fixedVolume", **headers):
    usual = {"Content_Type": f"multipart/form-data; boundary={BOUNDARY}", "X_SPR_Explorer": "1"}
    return ask(server, f"/explorer/upload/{what}", "POST", form(*files), **usual | headers)


def nifti(tmp_path, shape=(12, 10, 8), whole=False):
    import nibabel as nib

    path = tmp_path / "image.nii.gz"
    values = np.random.default_rng(1).uniform(0, 100, shape).astype(np.int16 if whole else np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-2.0, -2.0, 3.0, 1.0])), path)
    return path.read_bytes()


def test_the_page_has_security_headers(server):
    answer = ask(server, "/index.html")
    assert answer.status == 200
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert server.seconds_to_start < 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/__explorer/../server.py",
        "/__explorer/%2e%2e/server.py",
        "/__explorer/..%2fserver.py",
        "/__explorer//etc/passwd",
        "/explorer/export/..%2f..%2fetc%2fpasswd",
        "/explorer/export/../../etc/passwd",
        "/explorer/export/fixedVolume.nii.gz",
        "/explorer/export/report.json",
        "/explorer/upload/etc",
        "/outside.nii",
    ],
)
def test_no_path_leads_out_of_the_served_folders(server, path):
    answer = ask(server, path)
    assert answer.status in (403, 404, 405)
    assert b"root:" not in answer.body
    assert b"def serve" not in answer.body
    assert b"secret" not in answer.body


def test_other_host_names_are_refused(server):
    assert ask(server, "/", Host="evil.example").status == 403
    assert ask(server, "/explorer/alive", Host=f"evil.example:{server.port}").status == 403


def test_cross_site_requests_are_refused(server, tmp_path):
    evil = {"Origin": "http://evil.example"}
    assert ask(server, "/ws", **{name.replace("-", "_"): value for name, value in SOCKET.items()}, **evil).status == 403
    assert upload(server, ("a.nii.gz", nifti(tmp_path)), **evil).status == 403
    assert upload(server, ("a.nii.gz", nifti(tmp_path)), Sec_Fetch_Site="cross-site").status == 403


def test_the_own_page_may_open_the_socket(server):
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    headers = {name.replace("-", "_"): value for name, value in SOCKET.items()} | own
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
        lines = [f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"]
        lines += [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        raw.sendall("".join([*lines, "\r\n"]).encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 101")


def test_requests_without_the_token_are_refused(with_token, tmp_path):
    for path in ("/", "/index.html", "/explorer/alive", "/__explorer/explorer.js", "/?token=wrong"):
        answer = ask(with_token, path)
        assert answer.status == 403
        assert b"token" in answer.body
    assert ask(with_token, "/ws", **{name.replace("-", "_"): value for name, value in SOCKET.items()}).status == 403
    assert upload(with_token, ("a.nii.gz", nifti(tmp_path))).status == 403


def test_the_token_sets_a_cookie(with_token):
    token = with_token.address.partition("token=")[2]
    assert len(token) >= 32
    answer = ask(with_token, f"/?token={token}")
    assert answer.status == 302
    assert "token" not in answer.headers["Location"]
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ask(with_token, "/index.html", Cookie=cookie.partition(";")[0]).status == 200


def test_the_stated_length_of_an_upload_is_limited(server):
    answer = upload(server, ("a.nii", b""), Content_Length=str(10**12))
    assert answer.status == 413


def test_the_length_of_a_chunked_upload_is_limited(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "X-SPR-Explorer": "1"}
    body = form(("a.nii", os.urandom(10 << 20)))
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    try:
        connection.request("POST", "/explorer/upload/fixedVolume", pieces, headers, encode_chunked=True)
        with connection.getresponse() as answer:
            status = answer.status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server closed the connection
    finally:
        connection.close()
    assert status == 413
    assert ask(server, "/explorer/alive").status == 200


def test_the_unpacked_size_of_an_archive_is_limited(server):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", b"\0" * (20 << 20))
    assert upload(server, ("series.zip", buffer.getvalue())).status == 413


@pytest.mark.parametrize(
    "files",
    [
        (("image.nii.gz", b"no image"),),
        (("image.nrrd", b"NRRD0004\ntype: float\ndimension: 3\nsizes: 99999 99999 99999\nencoding: raw\n\n"),),
        (("1.dcm", b"no dicom"), ("2.dcm", b"no dicom either")),
        (("a.nii", b"x"), ("b.nii", b"y")),
        (("../../../../tmp/spr-explorer-escape.nii", b"x"),),
        (),
    ],
    ids=["damaged", "huge", "dicom", "two", "traversal", "none"],
)
def test_an_invalid_image_is_refused_with_a_reason(server, files):
    answer = upload(server, *files)
    assert answer.status == 422
    assert b"reason" in answer.body
    assert b"Traceback" not in answer.body
    assert not Path("/tmp/spr-explorer-escape.nii").exists()
    assert ask(server, "/explorer/alive").status == 200


def test_malformed_uploads_are_refused(server):
    assert ask(server, "/explorer/upload/fixedVolume", "POST", b"x", X_SPR_Explorer="1").status == 400
    assert upload(server, ("a.nii", b"x"), X_SPR_Explorer="0").status == 400
    headers = {"Content_Type": f"multipart/form-data; boundary={BOUNDARY}", "X_SPR_Explorer": "1"}
    assert ask(server, "/explorer/upload/fixedVolume", "POST", b"no form at all", **headers).status in (400, 422)
    assert ask(server, "/explorer/upload/other", "POST", b"").status in (404, 405)


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("fixedLabels", ("labels.nii.gz", b"no image")),
        ("fixedLandmarks", ("points.csv", b"x,y,z\n1,2\n")),
        ("movingLandmarks", ("points.exe", b"x,y,z\n1,2,3\n")),
        ("model", ("evil.sprmodel.safetensors", b"no model")),
        ("model", ("evil.pkl", b"cos\nsystem\n(S'true'\ntR.")),
    ],
    ids=["labels", "landmarks", "ending", "model", "pickle"],
)
def test_invalid_segments_landmarks_and_models_are_refused_with_a_reason(server, what, file):
    answer = upload(server, file, what=what)
    assert answer.status == 422, answer.body
    assert len(json.loads(answer.body)["reason"]) > 20
    assert not list(server.models.rglob("evil*"))


def test_segments_landmarks_and_models_are_accepted(server, tmp_path):
    assert upload(server, ("fixed.nii.gz", nifti(tmp_path, whole=True)), what="fixedLabels").status == 200
    for what in ("fixedLandmarks", "movingLandmarks"):
        assert upload(server, ("points.csv", b"x,y,z\n1,2,3\n4,5,6\n"), what=what).status == 200
    model = next(packaged_folder().glob(f"*{SUFFIX}"))
    answer = upload(server, (model.name, model.read_bytes()), what="model")
    assert answer.status == 200, answer.body
    assert [path.name for path in server.models.rglob(f"*{SUFFIX}")] == [model.name]
    assert server.is_running


def test_images_are_accepted(server, tmp_path):
    for what in ("fixedVolume", "movingVolume", "fixedChannel", "movingChannel"):
        answer = upload(server, ("some/where/image.nii.gz", nifti(tmp_path)), what=what)
        assert answer.status == 200, answer.body
    assert server.is_running
