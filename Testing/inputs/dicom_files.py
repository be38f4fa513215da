"""DICOM files for the tests: slices, and enhanced files of many frames, with whatever attributes a case asks for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from table import refused

from SPRCore.geometry import Volume, affine_from_itk
from SPRCore.io import read_volume

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def number(value) -> str:
    """A decimal string of 16 characters at most, as DICOM writes numbers."""
    return f"{float(value):.10g}"[:16]


def dataset(plane, **attributes) -> Dataset:
    """An image of one plane (rows, columns) with the attributes of its pixels; others by keyword, None for none."""
    result = Dataset()
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = attributes.pop("syntax", ExplicitVRLittleEndian)
    result.SOPClassUID, result.SOPInstanceUID = MR, pydicom.uid.generate_uid()
    result.SeriesInstanceUID, result.StudyInstanceUID, result.SeriesNumber = "1.2.3.4", "1.2.3", 7
    result.Modality, result.PatientName, result.PatientID = "MR", "Doe^Jane", "42"
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.Rows, result.Columns = plane.shape[-2:]
    bits = 8 * plane.dtype.itemsize
    result.BitsAllocated, result.BitsStored, result.HighBit = bits, bits, bits - 1
    result.PixelRepresentation = int(plane.dtype.kind == "i")
    result.PixelData = plane.tobytes()
    result["PixelData"].VR = "OW" if bits > 8 else "OB"
    for name, value in attributes.items():
        if value is not None:
            setattr(result, name, value)
        elif name in result:
            delattr(result, name)
    result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    return result


def save(image: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, image, enforce_file_format=True)
    return path


def write_slices(folder: Path, planes, positions, *, axes=AXIAL, spacing=(1.2, 1.5), name="{:03}.dcm", **each) -> None:
    """Write planes (n, rows, columns) at positions (n, 3) in LPS; an attribute is one value, or a list of them."""
    for k, (plane, position) in enumerate(zip(planes, positions, strict=True)):
        attributes = {
            "ImagePositionPatient": [number(value) for value in position],
            "ImageOrientationPatient": [number(value) for value in axes],
            "PixelSpacing": [number(value) for value in spacing],
            "InstanceNumber": k + 1,
        }
        attributes |= {key: value[k] if isinstance(value, list) else value for key, value in each.items()}
        save(dataset(np.ascontiguousarray(plane), **attributes), folder / name.format(k))


def straight(count, step=2.5, start=(-20.0, -30.0, 0.0), along=(0.0, 0.0, 1.0)):
    """Positions one behind the other."""
    return np.array(start) + np.arange(count)[:, None] * step * np.array(along)


def group(**macros) -> Dataset:
    """A functional group of an enhanced file: macro=attributes."""
    result = Dataset()
    for macro, attributes in macros.items():
        item = Dataset()
        for name, value in attributes.items():
            setattr(item, name, value)
        setattr(result, macro, Sequence([item]))
    return result


def enhanced(planes, positions, *, axes=AXIAL, spacing=(1.2, 1.5), scaling=None, index=None, **attributes) -> Dataset:
    """An enhanced MR file of planes (n, rows, columns), positions and scaling by frame."""
    frames = []
    for k, position in enumerate(positions):
        macros = {"PlanePositionSequence": {"ImagePositionPatient": [number(value) for value in position]}}
        if scaling is not None:
            slope, intercept = scaling[k]
            transformation = {"RescaleSlope": number(slope), "RescaleIntercept": number(intercept), "RescaleType": "US"}
            macros["PixelValueTransformationSequence"] = transformation
        if index is not None:
            macros["FrameContentSequence"] = {"TemporalPositionIndex": int(index[k])}
        frames.append(group(**macros))
    shared = group(
        PlaneOrientationSequence={"ImageOrientationPatient": [number(value) for value in axes]},
        PixelMeasuresSequence={"PixelSpacing": [number(value) for value in spacing], "SliceThickness": "2.5"},
    )
    attributes = {"SOPClassUID": ENHANCED_MR, "NumberOfFrames": len(planes)} | attributes
    image = dataset(np.ascontiguousarray(planes), **attributes)
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    image.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return image


COUNT = 6
PLANES = np.random.default_rng(0).integers(0, 1000, (24, 4, 5)).astype(np.int16)
POSITIONS = straight(COUNT)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def true(planes=PLANES[:COUNT], positions=POSITIONS, axes=(1, 0, 0, 0, 1, 0), spacing=(1.2, 1.5)) -> Volume:
    """The volume that slices in the order of their positions make up."""
    step = positions[1] - positions[0]
    length = np.linalg.norm(step)
    direction = np.stack([axes[:3], axes[3:], step / length], axis=1)
    affine = affine_from_itk((spacing[1], spacing[0], length), positions[0], direction.ravel())
    return Volume(np.asarray(planes).transpose(2, 1, 0), affine)


def same(found: Volume, expected: Volume, rtol=1e-6) -> None:
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-5)
    np.testing.assert_allclose(found.array, expected.array, rtol=rtol, atol=1e-4)


def check_refused(folder: Path, *said: str, order=range(COUNT), positions=POSITIONS, **each) -> None:
    order = list(order)
    write_slices(folder / "s", PLANES[order], positions[order], **each)
    refused(lambda: read_volume(folder / "s"), str(folder / "s"), *said)  # the folder, or a file of it


def wrong(*said: str, **given):
    return partial(lambda folder, **rest: check_refused(folder, *said, **rest), **given)


def save_enhanced(folder: Path, planes, positions, **given) -> Path:
    return save(enhanced(planes, positions, **given), folder / "enhanced.dcm")
