"""`spr models`: the trained networks that `spr register --method` can use."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg, subcommand

from SPRCore.cli.console import print_line, print_table
from SPRCore.errors import InputError
from SPRCore.io import atomic_path, find_bundle, list_bundles, read_bundle, read_card, write_bundle
from SPRCore.io.bundles import SUFFIX, check_suffix, installed_path, models_folder
from SPRCore.io.headers import MAX_HEADER_BYTES, parse_json
from SPRCore.io.outputs import check_outputs, check_replaceable
from SPRCore.networks.loading import build_from_bundle, import_model

_Model = Annotated[Positional[str], arg(metavar="NAME|BUNDLE")]


@dataclass(frozen=True, kw_only=True)
class ListModels:
    """List the models that can be called by name: those imported, and those that come with the package."""

    def run(self) -> None:
        """Print a table; a file that cannot be used is listed with what is wrong with it."""
        rows = [self._row(name, path) for name, path in sorted(list_bundles().items())]
        print_table("Models", ("name", "network", "prior", "anatomy", "modality"), rows)
        print_line(f"imported models are in {models_folder()}")

    def _row(self, name: str, path: Path) -> tuple[str, ...]:
        try:
            card = read_card(path)
        except InputError as error:
            return name, str(error), "", "", ""
        return name, str(card.architecture.get("architecture", "")), card.prior, card.anatomy, card.modality


@dataclass(frozen=True, kw_only=True)
class ShowModel:
    """Show the card of a model: task, data, ranges of hyperparameters, and metrics."""

    model: _Model
    """Name of a model, or the path of its bundle."""

    json: bool = False
    """Print the card as JSON, for `spr models import --card`."""

    def run(self) -> None:
        """Print the card."""
        card = read_card(find_bundle(self.model)).to_dict()
        if self.json:
            print_line(json.dumps(card, indent=2))
            return
        for name, value in card.items():
            print_line(f"{name.replace('_', ' ')}: {_plain(value)}")


@dataclass(frozen=True, kw_only=True)
class ImportModel:
    """Import a model from a bundle, or from a checkpoint (.pth.tar) that the author of the method released."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Bundle (*.sprmodel.safetensors) or checkpoint."""

    name: Annotated[str | None, arg(metavar="N", help_behavior_hint="(default: from the bundle or the file)")] = None
    """Name of the model."""

    composition: Annotated[
        str | None,
        arg(metavar="addition|composition", help_behavior_hint="(default: that of the checkpoint's format)"),
    ] = None
    """How the time steps of a checkpoint are combined, which the file does not state."""

    card: Annotated[Path | None, arg(metavar="CARD.json", help_behavior_hint="(optional)")] = None
    """Fields of the card to set, such as spacing and preprocessing of a checkpoint."""

    out: Annotated[Path | None, arg(metavar="BUNDLE", help_behavior_hint="(default: the folder of models)")] = None
    """File to write, named *.sprmodel.safetensors."""

    def run(self) -> None:
        """Read, check and write the bundle."""
        card = None if self.card is None else _read_fields(self.card)
        bundle = import_model(self.file, name=self.name, composition=self.composition, card=card)
        path = installed_path(bundle.card.name) if self.out is None else check_suffix(self.out)
        if self.out is None and path.exists():
            remedy = f"give another --name, or first spr models remove {bundle.card.name}"
            raise InputError(f"model {bundle.card.name}", got="a model of this name already", remedy=remedy)
        _check_place(path, bundle.sha256, self.file, self.card)
        write_bundle(bundle, path)
        print_line(f"written: {path}")


@dataclass(frozen=True, kw_only=True)
class ExportModel:
    """Copy a model to a file."""

    model: _Model
    """Name of a model, or the path of its bundle."""

    out: Annotated[Path, arg(metavar="BUNDLE")]
    """File to write, named *.sprmodel.safetensors, or a folder."""

    def run(self) -> None:
        """Verify and copy."""
        source = find_bundle(self.model)
        bundle = read_bundle(source)
        path = self.out / f"{bundle.card.name}{SUFFIX}" if self.out.is_dir() else check_suffix(self.out)
        _check_place(path, bundle.sha256, source)
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
        print_line(f"written: {path}")


@dataclass(frozen=True, kw_only=True)
class VerifyModel:
    """Verify a model: the hash of its tensors, its card, and that both match the network."""

    model: _Model
    """Name of a model, or the path of its bundle."""

    def run(self) -> None:
        """Read everything and build the network."""
        bundle = read_bundle(find_bundle(self.model))
        count = sum(parameter.numel() for parameter in build_from_bundle(bundle).parameters())
        print_line(f"{bundle.card.name} is valid: {count} parameters, SHA-256 of the tensors {bundle.sha256}")


@dataclass(frozen=True, kw_only=True)
class RemoveModel:
    """Remove an imported model."""

    model: Annotated[Positional[str], arg(metavar="NAME")]
    """Name of the model."""

    def run(self) -> None:
        """Remove its file, valid or not."""
        path = installed_path(self.model)
        if not path.is_file():
            raise InputError(f"model {self.model}", got=f"none in {models_folder()}", remedy="see spr models list")
        path.unlink()
        print_line(f"removed: {path}")


_Action = (
    Annotated[ListModels, subcommand("list")]
    | Annotated[ShowModel, subcommand("show")]
    | Annotated[ImportModel, subcommand("import")]
    | Annotated[ExportModel, subcommand("export")]
    | Annotated[VerifyModel, subcommand("verify")]
    | Annotated[RemoveModel, subcommand("remove")]
)


@dataclass(frozen=True, kw_only=True)
class Models:
    """List, show, import, export, verify and remove trained models."""

    action: Annotated[_Action, arg(name="")]

    def run(self, command: str) -> None:
        """Run the action."""
        self.action.run()


def _check_place(path: Path, digest: str, *inputs: Path | None) -> None:
    """Refuse to write a model over an input, or over another model or file."""
    check_outputs([path], inputs)
    check_replaceable(path, lambda there: read_bundle(there).sha256 == digest)


def _read_fields(path: Path) -> dict[str, Any]:
    """Read fields of a model card from a JSON file, unchecked."""
    with path.open("rb") as stream:
        fields = parse_json(stream.read(MAX_HEADER_BYTES), str(path))
    if not isinstance(fields, dict):
        raise InputError(str(path), got="no JSON object", expected="fields of a card, as spr models show --json gives")
    return fields


def _plain(value: Any) -> str:
    """Format a value of a card on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) if any(isinstance(item, dict) for item in value) else str(list(value))
    return "-" if value in (None, "") else str(value)
