"""Measure how fast the tiles of a large slide are embedded, against the same tiles in memory, and the memory needed.

    python benchmarks/slides.py [--side 20000] [--format svs|ome|dicom] [--content FOLDER] [--tiles 3000]

The slide is made here, from the images of a folder or from noise, with JPEG tiles of 256 pixels and levels of a 4th and
a 16th. The same tiles are embedded from the slide and from arrays in turns, round after round, so that both meet the
same load of the machine. The memory is that of a process of its own which embeds from the slide alone.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from medimageinsight import MedImageInsight, images, studies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TILE = 256
FACTORS = (1, 4, 16)
MPP = 0.5
ROUND = 512  # tiles embedded in turn
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def read_content(folder: Path | None) -> list[NDArray[np.uint8]]:
    """Return tiles with tissue."""
    if folder is None:
        rng = np.random.default_rng(0)
        colour = np.array([200, 130, 180])
        return [(colour + rng.integers(-40, 40, (TILE, TILE, 3))).astype(np.uint8) for _ in range(32)]
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    return [np.asarray(Image.open(path).convert("RGB").resize((TILE, TILE))) for path in paths[:100]]


def encoded_tiles(content: list[NDArray[np.uint8]], side: int, factor: int) -> Iterator[bytes]:
    """Yield the JPEG tiles of a level, row by row; a frame of glass surrounds the tissue."""
    count = -(-(side // factor) // TILE)
    glass = imagecodecs.jpeg8_encode(np.full((TILE, TILE, 3), 243, np.uint8), level=80)
    encoded = [imagecodecs.jpeg8_encode(tile, level=80) for tile in content]
    tissue = [1 / 8 < (index + 0.5) / count < 7 / 8 for index in range(count)]
    for row in range(count):
        for column in range(count):
            inside = tissue[row] and tissue[column]
            yield encoded[(row * 31 + column) % len(encoded)] if inside else glass


def write_tiff(path: Path, content: list[NDArray[np.uint8]], side: int, *, ome: bool) -> None:
    """Write an Aperio file, or an OME-TIFF with SubIFDs."""
    options = {"dtype": "uint8", "tile": (TILE, TILE), "photometric": "ycbcr", "compression": "jpeg"}
    description = f"Aperio Image Library v12\r\n{side}x{side} (256x256)|AppMag = 20|MPP = {MPP}"
    size = {"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP}
    with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as file:
        for number, factor in enumerate(FACTORS):
            tiles = encoded_tiles(content, side, factor)
            named = {"metadata": None, "description": description}
            if ome:
                named = {"metadata": size, "subifds": len(FACTORS) - 1} if number == 0 else {"subfiletype": 1}
            file.write(tiles, shape=(side // factor, side // factor, 3), **options, **named)
            if number == 0 and not ome:
                file.write(np.full((256, 256, 3), 240, np.uint8), metadata=None, description=description)


def write_dicom(folder: Path, content: list[NDArray[np.uint8]], side: int) -> None:
    """Write the levels as instances of one series, TILED_FULL."""
    folder.mkdir()
    uids = [generate_uid() for _ in range(3)]
    for number, factor in enumerate(FACTORS):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = WHOLE_SLIDE
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uids
        dataset.Modality, dataset.InstanceNumber = "SM", number + 1
        dataset.ImageType = ["DERIVED" if number else "ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        dataset.Rows = dataset.Columns = TILE
        dataset.TotalPixelMatrixRows = dataset.TotalPixelMatrixColumns = side // factor
        dataset.TotalPixelMatrixFocalPlanes = dataset.NumberOfOpticalPaths = 1
        dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
        origin, path, measures, shared = Dataset(), Dataset(), Dataset(), Dataset()
        origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 20.0
        dataset.TotalPixelMatrixOriginSequence = [origin]
        path.OpticalPathIdentifier = "1"
        dataset.OpticalPathSequence = [path]
        measures.PixelSpacing, measures.SliceThickness = [MPP * factor / 1000] * 2, 0.001
        shared.PixelMeasuresSequence = [measures]
        dataset.SharedFunctionalGroupsSequence = [shared]
        dataset.ImagedVolumeWidth = dataset.ImagedVolumeHeight = side * MPP / 1000
        dataset.ImagedVolumeDepth = 1.0
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "YBR_FULL_422", 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        dataset.DimensionOrganizationType, dataset.SpecimenLabelInImage = "TILED_FULL", "NO"
        dataset.BurnedInAnnotation, dataset.FocusMethod, dataset.ExtendedDepthOfField = "NO", "AUTO", "NO"
        frames = list(encoded_tiles(content, side, factor))
        dataset.NumberOfFrames = len(frames)
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def measure_memory(path: Path, model: str, count: int) -> str:
    """Return the line that a process of its own prints: tiles and megabytes."""
    command = [sys.executable, __file__, "--only", str(path), "--model", model, "--tiles", str(count)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def embed_only(path: Path, model: str, count: int) -> None:
    """Embed tiles from the slide and print the peak memory of this process."""
    series = next(studies.read(path)).series[0]
    loaded = MedImageInsight.load(model)
    done = sum(1 for _ in loaded.stream_images(series.images[:count]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{done:,} tiles embedded from the slide alone: peak memory {peak:,.0f} MB")


def compare(path: Path, model: str, count: int) -> None:
    """Embed from the slide and from memory in turns, and print both rates."""
    began = time.perf_counter()
    series = next(studies.read(path)).series[0]
    print(f"{len(series.images):,} tiles with tissue, found in {time.perf_counter() - began:.1f} s", flush=True)
    loaded = MedImageInsight.load(model)
    seconds = {"slide": 0.0, "memory": 0.0}
    cpu_seconds = {"slide": 0.0, "memory": 0.0}
    done = 0
    for first in range(0, min(count, len(series.images)), ROUND):
        tiles = series.images[first : first + ROUND]
        arrays = [images.load(tile) for tile in tiles]
        results = {}
        order = ("memory", "slide") if first // ROUND % 2 else ("slide", "memory")
        for kind in order:
            began, cpu_began = time.perf_counter(), time.process_time()
            results[kind] = loaded.embed_images(tiles if kind == "slide" else arrays)
            if first:  # the first round warms up
                seconds[kind] += time.perf_counter() - began
                cpu_seconds[kind] += time.process_time() - cpu_began
        assert np.array_equal(results["slide"], results["memory"])
        done += len(tiles) if first else 0
    slide, memory = done / seconds["slide"], done / seconds["memory"]
    print(f"{done:,} tiles: {slide:.1f} a second from the slide, {memory:.1f} from memory: {slide / memory:.1%}")
    slide, memory = (cpu_seconds[kind] / done * 1000 for kind in ("slide", "memory"))
    print(f"CPU time: {slide:.2f} ms a tile from the slide, {memory:.2f} ms from memory: {memory / slide:.1%}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--format", choices=("svs", "ome", "dicom"), default="svs")
    parser.add_argument("--content", type=Path)
    parser.add_argument("--tiles", type=int, default=3000)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only is not None:
        embed_only(given.only, given.model, given.tiles)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide"
        content = read_content(given.content)
        if given.format == "dicom":
            write_dicom(path, content, given.side)
        else:
            write_tiff(path, content, given.side, ome=given.format == "ome")
        size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))
        print(f"{given.format}, {given.side:,} x {given.side:,} pixels, {size / 1e6:,.0f} MB", flush=True)
        print(measure_memory(path, given.model, given.tiles), flush=True)
        compare(path, given.model, given.tiles)


if __name__ == "__main__":
    main()
