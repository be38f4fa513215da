"""Bundles: what was written comes back, and files made to do harm are refused in one line before anything is loaded."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from SPRCore.errors import InputError, OutputError
from SPRCore.io import bundles
from SPRCore.io.bundles import Bundle, find_bundle, list_bundles, models_folder, read_bundle, read_card, write_bundle
from SPRCore.io.cards import ModelCard

NAME = "model.sprmodel.safetensors"
CARD = ModelCard(name="model", architecture={"architecture": "voxelmorph"})
WEIGHT = np.arange(6, dtype="<f4").reshape(2, 3)


def bundle() -> Bundle:
    tensors = {
        "conv.weight": torch.from_numpy(WEIGHT.copy()),
        "conv.bias": torch.ones(5, dtype=torch.bfloat16),
        "half": torch.ones(2, 2, dtype=torch.float16),
        "norm.batches": torch.tensor(7),
    }
    return Bundle(CARD, tensors)


@pytest.fixture
def good(tmp_path) -> Path:
    write_bundle(bundle(), tmp_path / NAME)
    return tmp_path / NAME


def test_what_was_written_comes_back(good):
    found = read_bundle(good)
    assert found.card == CARD == read_card(good)
    assert set(found.tensors) == set(bundle().tensors)
    for name, tensor in bundle().tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)
    assert found.sha256 == bundle().sha256


def test_the_digest_is_what_the_documentation_says():
    import hashlib

    expected = hashlib.sha256(b"w\0F32\x002,3\0" + WEIGHT.tobytes()).hexdigest()
    assert Bundle(CARD, {"w": torch.from_numpy(WEIGHT)}).sha256 == expected
    transposed = torch.from_numpy(np.ascontiguousarray(WEIGHT.T)).T  # the same values in another order of memory
    assert Bundle(CARD, {"w": transposed}).sha256 == expected
    two = {"a": torch.ones(1), "b": torch.zeros(1)}
    assert Bundle(CARD, two).sha256 == Bundle(CARD, dict(reversed(two.items()))).sha256
    assert Bundle(CARD, two).sha256 != Bundle(CARD, {"a": two["b"], "b": two["a"]}).sha256
    assert Bundle(CARD, {"w": torch.ones(2, 3)}).sha256 != Bundle(CARD, {"w": torch.ones(3, 2)}).sha256


@pytest.mark.parametrize("tensor", [torch.ones(2, dtype=torch.complex64), torch.tensor([1.0, torch.nan])])
def test_what_could_not_be_read_is_not_written(tensor, tmp_path):
    with pytest.raises(InputError):
        write_bundle(Bundle(CARD, {"w": tensor}), tmp_path / NAME)
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_not_written_to_a_place_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="suffix"):
        write_bundle(bundle(), tmp_path / "model.safetensors")
    many = {f"layer{number}.weight": torch.ones(1) for number in range(20_000)}
    with pytest.raises(InputError, match="header length"):
        write_bundle(Bundle(CARD, many), tmp_path / NAME)
    (tmp_path / "folder.sprmodel.safetensors").mkdir()
    with pytest.raises(OutputError, match="folder"):
        write_bundle(bundle(), tmp_path / "folder.sprmodel.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.sprmodel.safetensors"]


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Bytes of a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def metadata(card: object = None, sha256: str | None = None) -> dict:
    text = card if isinstance(card, str) else json.dumps(card or CARD.to_dict())
    return {"card": text, "sha256": sha256 or Bundle(CARD, {"w": torch.from_numpy(WEIGHT)}).sha256}


def file(entry: object = None, data: bytes = WEIGHT.tobytes(), name: str = "w", **text: object) -> bytes:
    """A file of one tensor that is right but for what is given."""
    place = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    place = place | entry if isinstance(entry, dict) else place if entry is None else entry
    return raw({"__metadata__": metadata(**text), name: place}, data)


def two(first: list[int], second: list[int], size: int) -> bytes:
    places = {
        name: {"dtype": "F32", "shape": [(place[1] - place[0]) // 4], "data_offsets": place}
        for name, place in {"a": first, "b": second}.items()
    }
    return raw({"__metadata__": metadata()} | places, bytes(size))


class Bomb:
    """Its unpickling makes a file."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def nan() -> bytes:
    values = WEIGHT.copy()
    values[1, 1] = np.nan
    digest = Bundle(CARD, {"w": torch.from_numpy(values)}).sha256
    return file(data=values.tobytes(), sha256=digest)


def archive(folder: Path) -> bytes:
    torch.save({"state_dict": Bomb()}, folder / "checkpoint")
    return (folder / "checkpoint").read_bytes()


HUGE = 2**62
HOSTILE = {
    "empty": (b"", "0 bytes"),
    "seven bytes": (bytes(7), "7 bytes"),
    "nothing after the length": (raw(b"", length=100), "0 of the 100"),
    "header of no length": (raw(b"", length=0), "length of 0"),
    "header longer than the file": (raw({}, length=1000), "of the 1000 bytes"),
    "header of exabytes": (raw({}, length=2**63), "header length"),
    "header above the limit": (raw(b" " * (2**20 + 1)), "header length"),
    "header length that cuts the JSON": (raw({"a": 1}, length=5), "invalid JSON"),
    "header length that takes in data": (raw({"a": 1}, b"\xff" * 8, length=10), "invalid JSON"),
    "not JSON": (raw(b"{weights: yes}"), "invalid JSON"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "invalid JSON"),
    "number NaN": (raw(b'{"w": NaN}'), "NaN"),
    "number of a million digits": (raw(b'{"w": ' + b"9" * 10**6 + b"}"), "JSON"),
    "nested a hundred thousand deep": (raw(b"[" * 10**5 + b"]" * 10**5), "JSON"),
    "key twice": (raw(b'{"w": 1, "w": 2}'), "duplicate"),
    "a list": (raw([1, 2]), "no JSON object"),
    "metadata of numbers": (raw({"__metadata__": {"card": 3}}), "metadata"),
    "no tensors": (raw({"__metadata__": metadata()}), "no tensors"),
    "no card": (raw({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "no card"),
    "tensor that is a number": (file(entry=3), "tensor w"),
    "tensor with another key": (file({"offset": 3}), "tensor w"),
    "tensor named as a path": (file(name="../../evil"), "named"),
    "tensor named as an absolute path": (file(name="/etc/passwd"), "named"),
    "type unknown": (file({"dtype": "F33"}), "F33"),
    "type of objects": (file({"dtype": ["F32"]}), "type"),
    "type with another size": (file({"dtype": "F16"}), "24 bytes"),
    "shape too large": (file({"shape": [HUGE, HUGE]}), "24 bytes"),
    "shape and offsets too large": (file({"shape": [2**40], "data_offsets": [0, 2**42]}), "24 bytes of tensors"),
    "shape negative": (file({"shape": [-2, -3]}), "shape"),
    "shape of a fraction": (file({"shape": [2.0, 3]}), "shape"),
    "shape of truth": (file({"shape": [True, 6]}), "shape"),
    "shape with nothing": (file({"shape": [0], "data_offsets": [0, 0]}), "shape"),
    "shape of many axes": (file({"shape": [1] * 9 + [6]}), "shape"),
    "offsets beyond the file": (file({"shape": [8], "data_offsets": [0, 32]}), "24 bytes of tensors"),
    "offsets backwards": (file({"data_offsets": [24, 0]}), "bytes for tensor w"),
    "offsets negative": (file({"data_offsets": [-24, 0]}), "at"),
    "offsets one": (file({"data_offsets": [24]}), "at"),
    "data missing": (file(data=WEIGHT.tobytes()[:-1]), "23 bytes"),
    "data left over": (file(data=WEIGHT.tobytes() + b"x"), "25 bytes"),
    "overlap": (two([0, 16], [8, 24], 24), "overlaps"),
    "the same place": (two([0, 16], [0, 16], 16), "overlaps"),
    "gap": (two([0, 8], [16, 24], 24), "gap"),
    "wrong hash": (file(sha256="0" * 64), "SHA-256"),
    "hash of escape codes": (file(sha256="\x1b[31m"), "SHA-256"),
    "changed weight": (file(data=WEIGHT.tobytes()[:-1] + b"\x01"), "SHA-256"),
    "changed name": (file(name="v"), "SHA-256"),
    "changed shape": (file({"shape": [3, 2]}), "SHA-256"),
    "NaN": (nan(), "NaN"),
    "card not JSON": (file(card="name: x"), "model card"),
    "card of another schema": (file(card=CARD.to_dict() | {"schema": 2}), "schema"),
    "card with a range upside down": (file(card=CARD.to_dict() | {"ranges": {"alpha": [1, 0]}}), "ranges"),
    "card named as a path": (file(card=CARD.to_dict() | {"name": "../../evil"}), "name"),
    "card named as an absolute path": (file(card=CARD.to_dict() | {"name": "/tmp/evil"}), "name"),
    "card of another field": (file(card=CARD.to_dict() | {"anatomie": "x"}), "anatomy"),
    "pickle": (pickle.dumps(Bomb()), "header length"),
    "checkpoint": (archive, "header length"),
}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_bundle(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < 500 + len(str(path))
    return message


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(fault, tmp_path, monkeypatch):
    content, words = HOSTILE[fault]
    path = tmp_path / NAME
    path.write_bytes(content(tmp_path) if callable(content) else content)
    if words not in ("SHA-256", "NaN") or fault == "number NaN":
        monkeypatch.setattr("safetensors.torch.load_file", lambda path: pytest.fail("loaded before it was checked"))
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    assert words in refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert not (tmp_path / "exploded").exists()


def test_the_file_that_the_faults_are_made_of_is_right(tmp_path):
    (tmp_path / NAME).write_bytes(file())
    assert torch.equal(read_bundle(tmp_path / NAME).tensors["w"], torch.from_numpy(WEIGHT))


def test_every_truncation_is_refused(good):
    whole = good.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for size in {0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(whole) - 1}:
        good.write_bytes(whole[:size])
        refusal(good)


def test_every_changed_byte_is_refused_or_harmless(good):
    """Whatever single byte is changed: one line, or the card is still a card and the tensors are the same."""
    whole, expected = good.read_bytes(), bundle().sha256
    for place in range(0, len(whole), 7):
        good.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            assert read_bundle(good).sha256 == expected


@pytest.mark.skipif(os.name == "nt", reason="files with holes and named pipes are made by means of POSIX")
def test_what_is_no_ordinary_file_is_refused(tmp_path):
    path = tmp_path / NAME
    assert "no such file" in refusal(path)
    path.mkdir()
    assert "folder" in refusal(path)
    path.rmdir()
    os.mkfifo(path)
    assert "no such file" in refusal(path)  # and nobody waits for a writer
    path.unlink()
    path.write_bytes(raw({}))
    os.truncate(path, 2**40)  # a hole: it takes no space on the disk
    assert "bytes" in refusal(path)


def test_models_are_found_by_path_and_by_name(good, tmp_path, monkeypatch):
    user, packaged = tmp_path / "user", tmp_path / "packaged"
    monkeypatch.setenv("SPR_MODELS", str(user))
    monkeypatch.setattr(bundles, "packaged_folder", lambda: packaged)
    assert list_bundles() == {}
    with pytest.raises(InputError, match="spr models import"):
        find_bundle("model")
    for folder, name in ((packaged, "model"), (packaged, "other"), (user, "model")):
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.sprmodel.safetensors").write_bytes(good.read_bytes())
    assert find_bundle(good) == find_bundle(str(good)) == good
    assert find_bundle("model") == user / NAME
    assert find_bundle("other") == packaged / "other.sprmodel.safetensors"
    with pytest.raises(InputError, match="one of: model, other"):
        find_bundle("third")
    for missing in ("third.sprmodel.safetensors", "../../model", str(tmp_path / "nowhere")):
        with pytest.raises(InputError, match="no such file"):
            find_bundle(missing)


def test_the_folder_of_models_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.delenv("SPR_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert models_folder() == tmp_path / "spr" / "models"
    monkeypatch.setattr("sys.platform", "darwin")
    assert models_folder().parts[-4:] == ("Library", "Caches", "spr", "models")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert models_folder() == tmp_path / "local" / "spr" / "models"
    monkeypatch.setenv("SPR_MODELS", str(tmp_path / "mine"))
    assert models_folder() == tmp_path / "mine"
