"""Model bundles: one file with the tensors of a network and its card, and the folders of bundles.

A bundle is a safetensors file `NAME.sprmodel.safetensors` whose metadata hold the card (key `card`, JSON) and the
SHA-256 of the tensors (key `sha256`). Reading executes no code and refuses invalid files.

The SHA-256 covers all tensors sorted by name (code points): name, safetensors type, and sizes in decimal joined by ",",
each in ASCII and followed by a zero byte; then the values, little endian, last axis fastest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from SPRCore.errors import InputError
from SPRCore.io.atomic import atomic_path
from SPRCore.io.cards import ModelCard, check_name
from SPRCore.io.headers import BundleHeader, parse_json, read_header
from SPRCore.io.places import SUFFIX, models_folder, packaged_folder
from SPRCore.io.volumes import named
from SPRCore.typing import Tensor

_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model: its card and the tensors of its network by name, on the CPU."""

    card: ModelCard
    tensors: dict[str, Tensor]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the tensors in hexadecimal digits."""
        return _digest(self.tensors)


def write_bundle(bundle: Bundle, path: str | Path) -> None:
    """Write a bundle atomically.

    Args:
        bundle: Card and tensors (float32, float16, bfloat16 or int64).
        path: File to write, named `*.sprmodel.safetensors`; missing folders are created.

    Raises:
        InputError: Wrong file name or tensor type, a value is not finite, or the card is too long.
        OutputError: The file could not be written.
    """
    from safetensors.torch import save_file

    path = check_suffix(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in bundle.tensors.items()}
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise InputError(f"tensor {name}", got=str(tensor.dtype), expected="float32, float16, bfloat16 or int64")
    _check_finite(tensors)
    metadata = {"card": json.dumps(bundle.card.to_dict(), allow_nan=False), "sha256": bundle.sha256}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
        read_header(temporary)


def read_card(path: str | Path) -> ModelCard:
    """Read the card of a bundle without its tensors.

    Raises:
        InputError: The file is not a bundle, or its header or its card is invalid.
    """
    with named(Path(path)):
        return _card(read_header(Path(path)))


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle and verify it.

    Raises:
        InputError: As for `read_card`, the tensors have another SHA-256 than in the file, or hold NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    with named(path):
        header = read_header(path)
        card = _card(header)
        try:
            bundle = Bundle(card, load_file(path))
        except SafetensorError as error:
            raise InputError("not a usable model bundle", got=str(error)) from error
        if bundle.sha256 != header.metadata["sha256"]:
            got = f"SHA-256 {bundle.sha256[:12]}… of the tensors"
            expected = f"{header.metadata['sha256'][:12]!r}…, as the file says"
            raise InputError("model bundle", got=got, expected=expected, remedy="download the file again")
        _check_finite(bundle.tensors)
        return bundle


def find_bundle(name_or_path: str | Path) -> Path:
    """Find a model by a path (with a folder or the suffix), or by its name in the user's folder or in the package.

    Raises:
        InputError: There is no such file or no such model.
    """
    text = str(name_or_path)
    if text.endswith(SUFFIX) or Path(text).name != text:
        if not Path(text).is_file():
            raise InputError(text, got="no such file", remedy="check the path")
        return Path(text)
    known = list_bundles()
    if text not in known:
        raise InputError("model", got=repr(text), expected=f"the path of a *{SUFFIX} file or {_listing(known)}")
    return known[text]


def list_bundles() -> dict[str, Path]:
    """Return all models by name; those of the user's folder take precedence over those of the package."""
    folders = (packaged_folder(), models_folder())
    return {
        path.name.removesuffix(SUFFIX): path
        for folder in folders
        for path in sorted(folder.glob(f"*{SUFFIX}"))
        if path.is_file()
    }


def installed_path(name: str) -> Path:
    """Return the path of a model in the user's folder (`InputError` for an invalid name)."""
    return models_folder() / f"{check_name(name)}{SUFFIX}"


def check_suffix(path: str | Path) -> Path:
    """Return the path if it has the suffix of a bundle (`InputError` otherwise)."""
    if not str(path).endswith(SUFFIX):
        raise InputError(str(path), got="another suffix", expected=f"a file named *{SUFFIX}")
    return Path(path)


def _card(header: BundleHeader) -> ModelCard:
    missing = {"card", "sha256"} - set(header.metadata)
    if missing:
        raise InputError(
            "not a model bundle", got=f"no {' and no '.join(sorted(missing))}", remedy="see spr models import"
        )
    return ModelCard.from_dict(parse_json(header.metadata["card"].encode(), "model card"))


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sizes = ",".join(map(str, tensor.shape))
        digest.update(f"{name}\0{_DTYPES[tensor.dtype]}\0{sizes}\0".encode("ascii"))
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _check_finite(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError("model bundle", got=f"NaN or infinity in tensor {name}", expected="finite numbers")


def _listing(known: dict[str, Path]) -> str:
    names = f"one of: {', '.join(sorted(known))}, or one" if known else "a model"
    return f"{names} that was imported (see spr models import)"
