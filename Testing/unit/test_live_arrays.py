"""Arrays shared between processes: content, permissions, full memory and cleanup."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SPRCore.errors import InputError, OutputError
from SPRCore.live import segments
from SPRCore.live.arrays import LOCK, PREFIX, SegmentStore, SessionFolder
from SPRCore.live.protocol import SLOTS

AFFINE = np.array([[2.0, 0.1, 0, -20], [0, -2.5, 0, 10], [0, 0, 3, 5], [0, 0, 0, 1]])
SHM = Path("/dev/shm")


def left_over():
    """Existing segments and folders of sessions of this test."""
    shared = list(segments.MEMORY.glob(f"{PREFIX}*")) if segments.MEMORY.is_dir() else []
    return {str(path) for path in (*shared, *Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Folders of each test for its sessions and its segments: other processes have theirs beside them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with contextlib.ExitStack() as stack:
        if SHM.is_dir():
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="spr-test-", dir=SHM))
            monkeypatch.setattr(segments, "MEMORY", Path(own))
        yield


@pytest.fixture
def session():
    before = left_over()
    session = SessionFolder()
    yield session
    session.close()
    assert left_over() == before


@pytest.fixture
def worker(session):
    store = SegmentStore(session.folder, "w")
    yield store
    store.sweep("w")


@pytest.fixture(params=["memory", "file"])
def kind(request, monkeypatch, tmp_path):
    if request.param == "file":
        monkeypatch.setattr(segments, "MEMORY", tmp_path / "missing")  # a system without /dev/shm
    elif not segments.MEMORY.is_dir():
        pytest.skip("this system has no /dev/shm")
    return request.param


def some_arrays():
    rng = np.random.default_rng(0)
    return {
        "image": (rng.random((5, 4, 3), dtype=np.float32), AFFINE),
        "labels": (rng.integers(0, 9, (4, 3, 2)).astype(np.uint8), AFFINE),
        "flags": (rng.random((3, 3, 3)) > 0.5, AFFINE),
        "points": (rng.random((7, 3)), None),
        "none": (np.zeros((0, 3)), None),
        "turned": (np.asfortranarray(rng.random((4, 3, 2)))[::-1, :, ::2], AFFINE),
        "swapped": (np.arange(6, dtype=">i2").reshape(1, 2, 3), AFFINE),
    }


def test_arrays_are_transferred_unchanged(session, worker, kind):
    given = some_arrays()
    segment = session.store.put(0, given)
    assert segment.kind == kind
    got = worker.get(segment)
    assert list(got) == list(given)
    for name, (array, affine) in given.items():
        np.testing.assert_array_equal(got[name][0], array)
        assert got[name][0].dtype == array.dtype.newbyteorder("=")
        assert got[name][0].flags.owndata
        np.testing.assert_array_equal(got[name][1], affine)


def test_both_sides_write_at_the_same_time(session, worker, kind):
    ours, theirs = (np.full((2, 2, 2), value) for value in (1.0, 2.0))
    places = session.store.put(3, {"a": (ours, None)}), worker.put(3, {"a": (theirs, None)})
    assert worker.get(places[0])["a"][0].max() == 1.0
    assert session.store.get(places[1])["a"][0].min() == 2.0


def test_a_worker_that_ends_late_removes_no_segment_of_the_next(session, kind):
    """Slicer can kill only the launcher of a worker, so a session may have two workers for seconds."""
    late, following = SegmentStore(session.folder, "w", 4711), SegmentStore(session.folder, "w", 4712)
    written = [store.put(0, {"a": (np.full(3, value), None)}) for store, value in ((late, 1.0), (following, 2.0))]
    late.sweep("w")
    late.put(1, {"a": (np.zeros(3), None)})
    assert session.store.get(written[1])["a"][0].max() == 2.0
    with pytest.raises(InputError, match="segment w0-4711"):
        session.store.get(written[0])
    session.store.sweep("w")  # of all workers
    with pytest.raises(InputError, match="segment w0-4712"):
        session.store.get(written[1])


def test_after_the_end_of_a_session_a_worker_cannot_write(kind):
    session = SessionFolder()
    late = SegmentStore(session.folder, "w", 4711)
    late.put(0, {"a": (np.zeros(3), None)})
    before = left_over()
    session.close()
    assert not [name for name in left_over() & before if session.folder.name in name]
    with pytest.raises(OutputError, match="a session that has ended"):
        late.put(1, {"a": (np.zeros(3), None)})


def test_a_segment_is_reused_and_resized(session, worker, kind):
    sizes = []
    for length in (100, 90, 100_000, 3):
        array = np.arange(float(length))
        segment = session.store.put(0, {"a": (array, None)})
        np.testing.assert_array_equal(worker.get(segment)["a"][0], array)
        sizes.append(segment.size)
    assert sizes[0] == sizes[1] < sizes[2] > sizes[3]  # shrinks after a large array


def test_other_users_can_neither_read_nor_guess_a_segment(session, worker, kind):
    folder = segments.MEMORY if kind == "memory" else session.folder
    prefix = f"{session.folder.name}-" if kind == "memory" else ""
    for store, slot in ((session.store, "c0"), (worker, "w0")):
        store.put(0, {"a": (np.zeros(3), None)})
        assert (folder / f"{prefix}{slot}").stat().st_mode & 0o777 == 0o600
    assert session.folder.stat().st_mode & 0o077 == 0
    other = SessionFolder()
    assert other.folder.name != session.folder.name
    assert len(other.folder.name) >= len(PREFIX) + 8
    other.close()


def test_a_link_with_the_name_of_a_segment_is_not_followed(session, worker, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine" * 100)
    (session.folder / "c0").symlink_to(victim)
    segment = replace(session.store.put(1, {"a": (np.zeros(1), None)}), slot="c0", kind="file")
    with pytest.raises(InputError, match="segment c0"):
        worker.get(segment)
    segments.create(session.folder / "c0", 64).close()  # replaces the link
    assert victim.read_bytes() == b"mine" * 100
    assert not (session.folder / "c0").is_symlink()


def test_a_missing_segment_or_a_wrong_layout_is_refused(session, worker, kind):
    segment = session.store.put(0, {"a": (np.zeros(8), None)})
    place = segment.arrays["a"]
    for wrong in (replace(place, shape=(10**9,)), replace(place, shape=(2**31,) * 5), replace(place, offset=10**9)):
        with pytest.raises(InputError, match=r"segment c0.*bytes"):
            worker.get(replace(segment, arrays={"a": wrong}))
    session.store.drop(0)
    with pytest.raises(InputError, match="segment c0"):
        worker.get(segment)
    with pytest.raises(InputError, match="segment c1"):
        worker.get(replace(segment, slot="c1"))


def test_an_empty_file_is_not_a_segment(session, worker):
    (session.folder / "c0").touch()
    segment = replace(session.store.put(1, {"a": (np.zeros(1), None)}), slot="c0", kind="file")
    with pytest.raises(InputError, match="empty"):
        worker.get(segment)


@pytest.fixture
def full(monkeypatch):
    """Let space run out, in memory or everywhere."""

    def fill(where, error=errno.ENOSPC):
        real = os.posix_fallocate

        def fallocate(descriptor, offset, size):
            in_memory = Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(SHM)
            if where == "everywhere" or in_memory:
                raise OSError(error, os.strerror(error))
            real(descriptor, offset, size)

        monkeypatch.setattr(os, "posix_fallocate", fallocate)

    if not SHM.is_dir() or not hasattr(os, "posix_fallocate"):
        pytest.skip("needs /dev/shm")
    return fill


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EFBIG, errno.ENOMEM])
def test_full_memory_falls_back_to_a_temporary_file(session, worker, full, error):
    full("in memory", error)
    segment = session.store.put(0, some_arrays())
    assert segment.kind == "file"
    assert not list(segments.MEMORY.glob(f"{session.folder.name}*"))
    np.testing.assert_array_equal(worker.get(segment)["image"][0], some_arrays()["image"][0])


def test_no_space_at_all_is_an_error(session, full):
    full("everywhere")
    with pytest.raises(OutputError, match=r"shared memory: got No space left on device; expected room for 8 MiB"):
        session.store.put(0, {"a": (np.zeros(2**20), None)})
    assert sorted(path.name for path in session.folder.iterdir()) == [LOCK]


@pytest.mark.parametrize("name", ["elsewhere", "spr-live-", "spr-live-a b c d", "spr-live-gone1234"])
def test_a_folder_of_no_session_is_refused(tmp_path, name):
    if name == "elsewhere":
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="folder of the session"):
        SegmentStore(tmp_path / name, "w")


KILLED = f"""
import os, signal, sys, tempfile
import numpy as np
from pathlib import Path
from SPRCore.live import segments
from SPRCore.live.arrays import SessionFolder, SegmentStore
tempfile.tempdir, segments.MEMORY = sys.argv[1], Path(sys.argv[2])
session = SessionFolder()
for store in (session.store, SegmentStore(session.folder, "w"), SegmentStore(session.folder, "w", 4711)):
    store.put(0, {{"a": (np.zeros(100), None)}})
    store.put({SLOTS - 1}, {{"a": (np.zeros(100), None)}})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_next_session_removes_the_files_of_a_killed_one_only(tmp_path):
    living = SessionFolder()
    living.store.put(0, {"a": (np.zeros(100), None)})
    before = left_over()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(segments.MEMORY)], check=False)
    assert len(left_over() - before) >= 1 + 6 * SHM.is_dir()
    SessionFolder().close()
    assert left_over() == before
    assert living.folder.is_dir()
    living.close()


def test_unknown_files_are_not_swept(tmp_path):
    others = [tmp_path / f"{PREFIX}notes.txt", tmp_path / f"{PREFIX}link1234", tmp_path / f"{PREFIX}without_lock"]
    others[0].write_text("mine", encoding="utf-8")
    target = tmp_path / "target"
    target.mkdir()
    (target / LOCK).touch()
    others[1].symlink_to(target)
    others[2].mkdir()
    SessionFolder().close()
    assert all(path.exists() for path in (*others, target / LOCK))


def test_without_file_locks_nothing_is_swept(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", no_locks)
    first, second = SessionFolder(), SessionFolder()
    assert first.folder.is_dir()
    for session in (first, second):
        session.close()
        assert not session.folder.exists()


def test_a_missing_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match="session"):
        SessionFolder()
