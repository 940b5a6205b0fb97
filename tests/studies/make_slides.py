"""Small slides made by the tests: stained tissue on glass as SVS, OME-TIFF, plain pyramids and DICOM."""

from __future__ import annotations

import re
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
MPP = 0.5


def stained(width: int = 1024, height: int = 768, *, tissue: bool = True, seed: int = 0) -> NDArray[np.uint8]:
    """Glass with a little noise; in the left half of the middle rows, pink tissue with purple nuclei."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(238, 248, (height, width, 1)).repeat(3, axis=2)
    if tissue:
        top, bottom, right = height // 4, height * 3 // 4, width // 2
        area = (bottom - top, right)
        pink = np.array([222, 150, 190]) + rng.integers(-12, 12, (*area, 1))
        nuclei = rng.random(area)[..., None] < 0.15
        pixels[top:bottom, :right] = np.where(nuclei, [110, 70, 150], pink)
    return pixels.astype(np.uint8)


def shrunk(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def write_svs(
    path: Path,
    pixels: NDArray[np.uint8],
    *,
    levels: tuple[int, ...] = (1, 4),
    mpp: str | None = "0.5",
    power: str | None = "20",
    compression: Any = "zlib",
    associated: bool = True,
    tile: int = 128,
) -> Path:
    """Write an Aperio file: the levels in tiles, after the first a thumbnail, at the end a label and a macro image."""
    description = f"Aperio Image Library v12.0.15\r\n{pixels.shape[1]}x{pixels.shape[0]} (128x128)"
    description += "".join(f"|{name} = {value}" for name, value in (("AppMag", power), ("MPP", mpp)) if value)
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "description": description}
    with tifffile.TiffWriter(path) as file:
        for number, factor in enumerate(levels):
            level = shrunk(pixels, factor) if factor > 1 else pixels
            file.write(level, tile=(tile, tile), compression=compression, **options)
            if number == 0:
                file.write(shrunk(pixels, 8), rowsperstrip=32, **options)
        if associated:
            for kind, name in ((1, "label 40x40"), (9, "macro 40x40")):
                text = f"Aperio Image Library v12.0.15\r\n{name}"
                image = np.zeros((40, 40, 3), np.uint8)
                file.write(image, subfiletype=kind, rowsperstrip=40, photometric="rgb", metadata=None, description=text)
    return path


def write_ome(path: Path, pixels: NDArray[np.uint8], *, factors: tuple[int, ...] = (2, 4), unit: str = "µm") -> Path:
    """Write an OME-TIFF whose lower levels are SubIFDs."""
    size = {"µm": MPP, "nm": MPP * 1000}[unit]
    metadata = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    metadata |= {"PhysicalSizeY": size, "PhysicalSizeYUnit": unit}
    options: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib"}
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as file:
        file.write(pixels, subifds=len(factors), metadata=metadata, **options)
        for factor in factors:
            file.write(shrunk(pixels, factor), subfiletype=1, **options)
    return path


def write_ndpi(path: Path, pixels: NDArray[np.uint8], *, factors: tuple[int, ...] = (1, 4)) -> Path:
    """Write a Hamamatsu file: a JPEG for each level, with restart markers whose positions a tag states.

    Its directories are followed by 8 bytes for the next offset and 4 for the upper half of each value.
    """
    data = bytearray(b"II*\0" + bytes(8))
    link = 4
    for factor in factors:
        level = shrunk(pixels, factor) if factor > 1 else pixels
        stream = BytesIO()
        blocks = 16  # of 8 pixels: the width of a part
        Image.fromarray(level).save(stream, "JPEG", quality=95, subsampling=0, restart_marker_blocks=blocks)
        jpeg = stream.getvalue()
        scan = jpeg.index(b"\xff\xda")
        starts = [scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")]
        starts += [match.end() for match in re.finditer(rb"\xff[\xd0-\xd7]", jpeg) if match.end() > starts[0]]
        offset, positions, resolution = len(data), len(data) + len(jpeg), len(data) + len(jpeg) + 4 * len(starts)
        data += jpeg + struct.pack(f"<{len(starts)}I", *starts) + struct.pack("<II", int(10_000 / MPP / factor), 1)
        bits, maker = len(data), len(data) + 6
        data += struct.pack("<3H", 8, 8, 8) + b"Hamamatsu\0"
        lens = int.from_bytes(struct.pack("<f", 20 / factor), "little")
        entries = [
            *((256, 4, 1, level.shape[1]), (257, 4, 1, level.shape[0]), (258, 3, 3, bits), (259, 3, 1, 7)),
            *((262, 3, 1, 6), (271, 2, 10, maker), (273, 4, 1, offset), (277, 3, 1, 3), (278, 4, 1, level.shape[0])),
            *((279, 4, 1, len(jpeg)), (282, 5, 1, resolution), (283, 5, 1, resolution), (296, 3, 1, 3)),
            *((65420, 4, 1, 1), (65421, 11, 1, lens), (65426, 4, len(starts), positions)),
        ]
        data += bytes(len(data) % 2)
        struct.pack_into("<Q", data, link, len(data))
        data += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        link = len(data)
        data += bytes(8 + 4 * len(entries))
    path.write_bytes(data)
    return path


def write_pyramid(
    path: Path, pixels: NDArray[np.uint8], *, factors: tuple[int, ...] = (1, 2, 4), **changes: Any
) -> Path:
    """Write a plain BigTIFF with one page for each level, as vips does."""
    options: dict[str, Any] = {
        "tile": (128, 128),
        "compression": "zlib",
        "metadata": None,
        "resolutionunit": "CENTIMETER",
    }
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for factor in factors:
            level = shrunk(pixels, factor) if factor > 1 else pixels
            resolution = (10_000 / MPP / factor,) * 2
            file.write(level, subfiletype=int(factor > 1), **{"resolution": resolution, **options, **changes})
    return path


def write_dicom(
    folder: Path,
    pixels: NDArray[np.uint8],
    *,
    factors: tuple[int, ...] = (1, 4),
    sparse: bool = False,
    jpeg: bool = False,
    parts: int = 1,
    extras: tuple[str, ...] = (),
    mpp: float = MPP,
    missing: frozenset[int] = frozenset(),
) -> Path:
    """Write the instances of one series: levels, as TILED_FULL or TILED_SPARSE, the first possibly concatenated."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = {name: generate_uid() for name in ("study", "series", "frame", "pyramid")}
    for number, factor in enumerate(factors):
        level = shrunk(pixels, factor) if factor > 1 else pixels
        frames = _tiles(level)
        count = parts if number == 0 else 1
        bounds = np.linspace(0, len(frames), count + 1).astype(int)
        concatenation = generate_uid()
        for part in range(count):
            chosen = list(range(bounds[part], bounds[part + 1]))
            if sparse:
                chosen = [index for index in chosen if index not in missing]
            dataset = _instance(level, uids, mpp * factor, number + 1, "VOLUME")
            dataset.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
            if count > 1:
                dataset.ConcatenationUID = concatenation
                dataset.SOPInstanceUIDOfConcatenationSource = concatenation
                dataset.InConcatenationNumber = part + 1
                dataset.InConcatenationTotalNumber = count
                dataset.ConcatenationFrameOffsetNumber = int(bounds[part])
            if sparse:
                dataset.PerFrameFunctionalGroupsSequence = [_position(level, index) for index in chosen]
            _add_frames(dataset, [frames[index] for index in chosen], jpeg=jpeg)
            dataset.save_as(folder / f"level{number}-{part}.dcm", enforce_file_format=True)
    for number, kind in enumerate(extras, 100):
        image = np.full((128, 128, 3), 40, np.uint8)
        dataset = _instance(image, uids, 10.0, number, kind)
        dataset.DimensionOrganizationType = "TILED_FULL"
        _add_frames(dataset, _tiles(image), jpeg=jpeg)
        dataset.save_as(folder / f"{kind.lower()}.dcm", enforce_file_format=True)
    return folder


def _tiles(level: NDArray[np.uint8], tile: int = 128) -> list[NDArray[np.uint8]]:
    height, width = level.shape[:2]
    padded = np.pad(level, ((0, -height % tile), (0, -width % tile), (0, 0)), constant_values=255)
    rows, columns = padded.shape[0] // tile, padded.shape[1] // tile
    return [padded[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile] for r in range(rows) for c in range(columns)]


def _add_frames(dataset: Dataset, frames: list[NDArray[np.uint8]], *, jpeg: bool) -> None:
    dataset.NumberOfFrames = len(frames)
    if not jpeg:
        dataset.PixelData = b"".join(frame.tobytes() for frame in frames)
        return
    encoded = []
    for frame in frames:
        stream = BytesIO()
        Image.fromarray(frame).save(stream, "JPEG", quality=90, subsampling=0)
        encoded.append(stream.getvalue())
    dataset.PixelData = encapsulate(encoded)
    dataset["PixelData"].is_undefined_length = True
    dataset.PhotometricInterpretation = "YBR_FULL"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit


def _instance(level: NDArray[np.uint8], uids: dict[str, str], mpp: float, number: int, kind: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = WHOLE_SLIDE
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uids["study"], uids["series"]
    dataset.FrameOfReferenceUID = uids["frame"]
    dataset.Modality, dataset.InstanceNumber = "SM", number
    dataset.PatientName, dataset.PatientID = "Nobody^Never", "secret-id"
    dataset.ImageType = ["ORIGINAL" if mpp == MPP else "DERIVED", "PRIMARY", kind, "NONE"]
    dataset.Rows, dataset.Columns = 128, 128
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = level.shape[:2]
    dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.NumberOfOpticalPaths = 1
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.0, 40.0
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.ImagedVolumeWidth, dataset.ImagedVolumeHeight = (side * mpp / 1000 for side in level.shape[1::-1])
    dataset.ImagedVolumeDepth = 1.0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.BurnedInAnnotation, dataset.SpecimenLabelInImage = "NO", "YES" if kind == "LABEL" else "NO"
    dataset.VolumetricProperties, dataset.FocusMethod, dataset.ExtendedDepthOfField = "VOLUME", "AUTO", "NO"
    dataset.AcquisitionDateTime = "20240101120000"
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    dataset.OpticalPathSequence = [path]
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1000, mpp / 1000], 0.001
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    return dataset


def _position(level: NDArray[np.uint8], index: int) -> Dataset:
    columns = -(-level.shape[1] // 128)
    place, group, path = Dataset(), Dataset(), Dataset()
    place.ColumnPositionInTotalImagePixelMatrix = index % columns * 128 + 1
    place.RowPositionInTotalImagePixelMatrix = index // columns * 128 + 1
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = 0.0
    place.ZOffsetInSlideCoordinateSystem = 0.0
    group.PlanePositionSlideSequence = [place]
    path.OpticalPathIdentifier = "1"
    group.OpticalPathIdentificationSequence = [path]
    return group
