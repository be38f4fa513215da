"""Configuration of the data: location, split, pairs and preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from SPRCore.config import ConfigError, Keys, encode, require
from SPRCore.errors import InputError
from SPRCore.geometry.orientation import check_orientation
from SPRCore.io.cards import Preprocessing, WorkingGrid
from SPRCore.synthetic import SceneConfig
from SPRCore.training.label_names import HEART, label_names, label_numbers, label_sets

Layout = Literal["acdc", "mnms", "ixi", "ixi_pkl", "autopet", "learn2reg", "csv", "bids"]
Dataset = Literal["generated", "acdc", "mnms", "ixi", "ixi_pkl", "autopet", "learn2reg", "csv", "bids"]
Task = Literal["atlas-to-subject", "inter-subject", "intra-subject"]
TWO_CHANNELS: tuple[Layout, ...] = ("autopet", "csv")
"""Layouts that have second channels."""


def _read_labels(value: object, keys: Keys) -> tuple[int | str, ...] | None:
    """Read a list of numbers and names."""
    if value is None:
        return None
    good = isinstance(value, (list, tuple)) and all(type(entry) in (int, str) for entry in value)
    if not good:
        raise ConfigError(keys, got=repr(value)[:60], expected="a list of labels, numbers or names")
    return tuple(value)


@dataclass(frozen=True, kw_only=True)
class GeneratedConfig:
    """Synthetic pairs with exact labels, see `SPRCore.synthetic`.

    Attributes:
        kind: "shapes": random shapes of random intensity; "heart": a beating heart, labels 1 RV, 2 myocardium, 3 LV;
            "scenes": shapes that vary in size, contrast, texture and motion, see `SceneConfig`.
        shape: Voxels along each axis.
        spacing_mm: Size of a voxel.
        train: Number of training pairs.
        validation: Number of validation pairs.
        test: Number of test pairs.
        labels: Shapes: number of labels, background included.
        scale_mm: Shapes: size of the shapes and of the deformation.
        amplitude_mm: Shapes: approximate largest displacement.
        noise: Standard deviation of the noise of images in [0, 1]; not for scenes.
        scene: Scenes: their parameters.
        thin: Scenes: fraction of training pairs with few slices; requires batches of one.
    """

    kind: Literal["shapes", "heart", "scenes"] = "shapes"
    shape: tuple[int, int, int] = (32, 32, 32)
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    train: int = 64
    validation: int = 8
    test: int = 8
    labels: int = 4
    scale_mm: float = 20.0
    amplitude_mm: float = 8.0
    noise: float = 0.02
    scene: SceneConfig = field(default_factory=SceneConfig)
    thin: float = 0.0

    def __post_init__(self) -> None:
        require(min(self.shape) >= 16, "shape", list(self.shape), "16 voxels or more along each axis")
        require(min(self.spacing_mm) > 0, "spacing_mm", list(self.spacing_mm), "numbers above 0")
        for name in ("train", "validation", "test"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(2 <= self.labels <= 255, "labels", self.labels, "2 to 255")
        require(self.scale_mm > 0, "scale_mm", self.scale_mm, "a number above 0")
        require(self.amplitude_mm >= 0, "amplitude_mm", self.amplitude_mm, "0 or more")
        for name in ("noise", "thin"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Split of the subjects; images of one subject are always in one set.

    Attributes:
        file: Split file of an earlier run or of `spr prepare --split`. None draws a split.
        hashes: Whether the image files must have the hashes in `file`.
        train: Number of subjects, or a fraction below 1; None for the remaining ones.
        validation: Number or fraction.
        test: Number or fraction; 0 for none.
        seed: Seed of the draw, which depends otherwise on the names of the subjects alone.
        redraw: Whether to draw a split even if the data set prescribes one.
        datasets: Data sets whose subjects are all in one set, such as {acdc: test} for training on another one; the
            numbers divide the remaining subjects among the remaining sets.
    """

    file: Path | None = None
    hashes: bool = True
    train: float | None = None
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    redraw: bool = False
    datasets: dict[str, Literal["train", "validation", "test"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            value = getattr(self, name)
            good = value is None or (value >= 0 and (value < 1 or value == int(value)))
            require(good, name, value, "a fraction below 1 or a whole number of subjects")
        require(self.seed >= 0, "seed", self.seed, "0 or more")


@dataclass(frozen=True, kw_only=True)
class OtherData:
    """A second data set whose subjects are added to the first, such as M&Ms to ACDC.

    Attributes:
        dataset: Layout of its folder.
        folder: Its folder.
        listing: List of its images, see `DataConfig`.
    """

    dataset: Layout
    folder: Path | None = None
    listing: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Images and the pairs to register.

    Attributes:
        dataset: Layout of the folder, see Training/README.md.
        folder: Folder of the data set as downloaded; none for "generated".
        listing: List of the images: the CSV of "csv" and "mnms", the JSON of "learn2reg". None for the usual name in
            the folder.
        also: A second data set.
        image_suffix: Suffix of the images of "bids".
        task: "atlas-to-subject": an atlas to every subject; "inter-subject": every subject to every other;
            "intra-subject": images of one subject to each other.
        both_ways: Whether to use each pair in both directions; not with an atlas.
        atlas: Name of the subject that is the atlas, for "atlas-to-subject".
        atlas_image: Image of an atlas outside the data set.
        atlas_labels: Its labels.
        atlas_channel: Its second channel, for `preprocessing.second_channel`.
        pairs_per_epoch: Training pairs drawn per epoch; None for each once. The pairs of inter-subject training grow
            with the square of the subjects.
        labels: Labels that count (after grouping), by number, or by name where the layout or the grouping has names,
            such as "LV", or the sets "30 structures" of IXI and "103 classes" of autoPET; None for all that occur but
            0.
        grouping: Merges labels into groups 1, 2, …: "totalsegmentator" its 104 classes into 39, see `label_names.py`;
            None for no grouping.
        trust_voxels: Whether to ignore the header of label maps and use the voxels of their image.
        use_labels: Whether the data must have labels. They train the network only where the loss has a term for them.
        split: Training, validation and test subjects.
        generated: Parameters of "generated".
        cache: Folder of the prepared images; None for one in the cache folder of the system.

    Raises:
        ConfigError: Values do not fit each other.
    """

    dataset: Dataset = "generated"
    folder: Path | None = None
    listing: Path | None = None
    also: OtherData | None = None
    image_suffix: str = "T1w"
    task: Task = "intra-subject"
    both_ways: bool = True
    atlas: str | None = None
    atlas_image: Path | None = None
    atlas_labels: Path | None = None
    atlas_channel: Path | None = None
    pairs_per_epoch: int | None = None
    labels: tuple[int | str, ...] | None = field(default=None, metadata={"decode": _read_labels})
    grouping: Literal["totalsegmentator"] | None = None
    trust_voxels: bool = False
    use_labels: bool = True
    split: SplitConfig = field(default_factory=SplitConfig)
    generated: GeneratedConfig = field(default_factory=GeneratedConfig)
    cache: Path | None = None

    def __post_init__(self) -> None:
        for name in ("atlas", "atlas_image", "atlas_labels", "atlas_channel"):
            good = self.task == "atlas-to-subject" or getattr(self, name) is None
            require(good, name, f"{getattr(self, name)} with {self.task}", "null")
        both = self.atlas is not None and self.atlas_image is not None
        require(not both, "atlas_image", str(self.atlas_image), "null with atlas", "give one of the two")
        if self.dataset == "generated":
            require(self.task == "intra-subject", "task", self.task, "intra-subject with generated data")
            require(self.also is None, "also", "a second data set", "null with generated data")
        layouts = [self.dataset] if self.also is None else [self.dataset, self.also.dataset]
        for name in self.split.datasets:
            key, expected = f"split.datasets.{name}", f"a data set of this recipe: {', '.join(layouts)}"
            require(layouts.count(name) == 1, key, name, expected)
        pairs = self.pairs_per_epoch
        require(pairs is None or pairs >= 1, "pairs_per_epoch", pairs, "1 or more, or null")
        if self.labels is not None:
            require(bool(self.labels) and 0 not in self.labels, "labels", list(self.labels), "labels other than 0")
            try:
                self.label_numbers()
            except InputError as error:
                raise ConfigError(("labels",), got=error.got, expected=error.expected, remedy=error.remedy) from None

    def label_names(self) -> dict[int, str]:
        """Return the names of the labels, as far as layout or grouping have some."""
        if self.dataset == "generated":
            return dict(HEART) if self.generated.kind == "heart" else {}
        return label_names(self.dataset, self.grouping)

    def label_numbers(self) -> tuple[int, ...] | None:
        """Return the labels that count, by number; None for all that occur (`InputError` for an unknown name)."""
        if self.labels is None:
            return None
        return label_numbers(self.labels, self.label_names(), label_sets(self.dataset, self.grouping))


@dataclass(frozen=True, kw_only=True)
class ChannelConfig:
    """Preprocessing of the intensities of the second channel, as of the first.

    Attributes:
        clip: Lowest and highest intensity, such as [0, 10] of an SUV.
        normalize: Intensities mapped to 0 and 1: "minmax", "percentile" or "clip".
        percentiles: Lower and upper percentile for "percentile".

    Raises:
        ConfigError: Values do not fit each other.
    """

    clip: tuple[float, float] | None = None
    normalize: Literal["minmax", "percentile", "clip"] = "minmax"
    percentiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _card_preprocessing(self)


@dataclass(frozen=True, kw_only=True)
class PreprocessingConfig:
    """Preprocessing of the images, in this order; the model card stores the part that users of the model need.

    Attributes:
        align: Affine pre-alignment with the reference: "none", "center", "rigid" or "affine".
        reference: Image to align with; None for the atlas, or the first subject by name.
        strip: Whether to set voxels without a label to 0 (skull stripping by a segmentation).
        clip: Lowest and highest intensity.
        normalize: Intensities mapped to 0 and 1: "minmax", "percentile" or "clip", see `io.cards.Preprocessing`.
        percentiles: Lower and upper percentile for "percentile".
        second_channel: Second channel of each image, such as the SUV of a CT, and its intensities; None for images of
            one channel. Layouts "autopet" and "csv", with a network of `channels: 2`.
        orientation: Directions of the axes; None for those of the image.
        spacing_mm: Voxel size; None for that of the image (of the reference if images are aligned).
        voxels: Largest number of voxels of the field of view; a finer grid is coarsened isotropically. None for any.
        shape: Number of voxels; a smaller field of view is padded by repeating its border, without labels. None for the
            whole field of view.
        crop: Center of the crop: "center" of the field of view, or the center of the bounding box of all "labels" of
            the subject (of `crop_labels` if given).
        crop_labels: Labels of the volume of interest.

    Raises:
        ConfigError: A value is out of range or does not fit another.
    """

    align: Literal["none", "center", "rigid", "affine"] = "none"
    reference: Path | None = None
    strip: bool = False
    clip: tuple[float, float] | None = None
    normalize: Literal["minmax", "percentile", "clip"] = "minmax"
    percentiles: tuple[float, float] | None = None
    second_channel: ChannelConfig | None = None
    orientation: str | None = "RAS"
    spacing_mm: tuple[float, float, float] | None = None
    voxels: int | None = None
    shape: tuple[int, int, int] | None = None
    crop: Literal["center", "labels"] = "center"
    crop_labels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.orientation is not None:
            check_orientation(self.orientation)
        if self.shape is not None:
            require(min(self.shape) >= 16, "shape", list(self.shape), "16 voxels or more along each axis")
        require(self.crop == "center" or self.shape is not None, "crop", "labels without shape", "a shape as well")
        good = self.crop_labels is None or self.crop == "labels"
        require(good, "crop_labels", list(self.crop_labels or ()), "crop: labels as well")
        require(self.reference is None or self.align != "none", "reference", str(self.reference), "align as well")
        self.card_grid(), self.card_preprocessing()

    def card_grid(self) -> WorkingGrid:
        """Return the grid for the model card, without the shape, since networks take any."""
        return WorkingGrid(orientation=self.orientation, spacing_mm=self.spacing_mm, voxels=self.voxels)

    def card_preprocessing(self) -> Preprocessing:
        """Return the intensity preprocessing for the model card and for `registration.working`."""
        return _card_preprocessing(self)

    def card_second_channel(self) -> Preprocessing | None:
        """Return that of the second channel; None for images of one."""
        return None if self.second_channel is None else _card_preprocessing(self.second_channel)

    def intensities(self) -> tuple[Preprocessing, ...]:
        """Return the intensity preprocessing of each channel."""
        second = self.card_second_channel()
        return (self.card_preprocessing(),) if second is None else (self.card_preprocessing(), second)

    def facts(self) -> dict[str, Any]:
        """Return what determines prepared images, besides the content of files; without a second channel if none."""
        facts = encode(replace(self, reference=None))
        return {name: value for name, value in facts.items() if name != "second_channel" or value is not None}


def _card_preprocessing(config: PreprocessingConfig | ChannelConfig) -> Preprocessing:
    try:
        return Preprocessing(clip=config.clip, normalize=config.normalize, percentiles=config.percentiles)
    except InputError as error:
        require(False, error.what, error.got, error.expected)
        raise
