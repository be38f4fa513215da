"""Pickles of arrays are read; what else a pickle can hold is refused before anything of it runs."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.training.data.pickles import read_arrays

IMAGE = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
LABELS = (IMAGE * 9).astype(np.int16)


@pytest.fixture
def write(tmp_path):
    def make(data: bytes):
        path = tmp_path / "case.pkl"
        path.write_bytes(data)
        return path

    return make


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "arrays",
    [
        (IMAGE, LABELS),
        [IMAGE.astype(">f8"), LABELS.astype(np.uint8)],
        (np.asfortranarray(IMAGE), LABELS[:, ::2]),
        (IMAGE > 0.5,),
    ],
)
def test_arrays_come_back_as_they_were(write, arrays, protocol):
    found = read_arrays(write(pickle.dumps(arrays, protocol)))
    assert len(found) == len(arrays)
    for one, other in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_pickles_of_older_numpy_and_python_are_read(write):
    data = pickle.dumps((IMAGE, LABELS), 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    np.testing.assert_array_equal(read_arrays(write(data))[0], IMAGE)


class Hostile:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def touch(path):
    """What a hostile pickle would do; it must never be called."""
    with open(path, "w"):  # noqa: PTH123
        pass


def hostile_pickles(mark):
    import os
    import subprocess

    return {
        "system": pickle.dumps(Hostile(os.system, f"touch {mark}")),
        "touch": pickle.dumps((IMAGE, Hostile(touch, str(mark)))),
        "popen": pickle.dumps((IMAGE, Hostile(subprocess.Popen, ["touch", str(mark)]))),
        "eval": pickle.dumps((IMAGE, Hostile(eval, f"open({str(mark)!r}, 'w').close()"))),
        "open": pickle.dumps(Hostile(open, str(mark), "w")),
        "in an array": pickle.dumps((np.array([Hostile(touch, str(mark)), 1], dtype=object), LABELS)),
        "load": pickle.dumps((IMAGE, Hostile(np.load, str(mark)))),
        "getattr": pickle.dumps(Hostile(getattr, np.ndarray, "tofile")),
        "opcode": b"c__builtin__\neval\n(S'1+1'\ntR.",
        "inst": b"(S'touch " + str(mark).encode() + b"'\nios\nsystem\n.",
        "codec": pickle.dumps(Hostile(__import__("_codecs").encode, "a", "rot13")),
    }


@pytest.mark.parametrize("kind", hostile_pickles("mark"))
def test_a_hostile_pickle_does_nothing(write, tmp_path, kind):
    mark = tmp_path / "mark"
    path = write(hostile_pickles(mark)[kind])
    with pytest.raises(InputError, match="expected arrays of numbers and nothing else") as caught:
        read_arrays(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_the_hostile_pickles_would_do_harm(tmp_path):
    """So that the test above can fail."""
    pickle.loads(hostile_pickles(tmp_path / "mark")["touch"])
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("cut", [0, 1, 40, 150, -1])
def test_a_truncated_pickle_is_said(write, cut):
    with pytest.raises(InputError, match="expected arrays of numbers"):
        read_arrays(write(pickle.dumps((IMAGE, LABELS))[:cut]))


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps("text"),
        pickle.dumps({"image": IMAGE}),
        pickle.dumps((IMAGE, None)),
        pickle.dumps(()),
        pickle.dumps(np.dtype("f4")),
        pickle.dumps(np.ndarray),
        pickle.dumps((np.array(["a", "b"]),)),
        pickle.dumps((np.zeros(3, dtype=[("a", "f4")]),)),
        pickle.dumps(np.zeros((0, 3))),
        b"\x80\x04" + b"B" + struct.pack("<I", 2**31 - 1) + b"x",  # claims two gigabytes
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x",
        b"\x80\x04cnumpy\nndarray\n}b.",  # sets the state of a class
        b"\x80\x04cnumpy\nndarray\n)\x81(I1\nI2\ntb.",
        b"\x82\x01.",  # an extension code
        b"Pname\n.",  # a persistent name
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b"no pickle at all",
    ],
)
def test_everything_else_is_refused_in_one_line(write, data):
    with pytest.raises(InputError, match="expected arrays of numbers") as caught:
        read_arrays(write(data))
    assert "\n" not in str(caught.value)


def test_a_shape_that_its_bytes_do_not_fill_is_refused(write):
    data = pickle.dumps((np.zeros((2, 2, 2), np.uint8),), 2)
    grown = data.replace(b"K\x02K\x02K\x02\x87", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x87")
    assert grown != data
    with pytest.raises(InputError, match="bytes do not fit its shape"):
        read_arrays(write(grown))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_arrays(tmp_path / "none.pkl")
