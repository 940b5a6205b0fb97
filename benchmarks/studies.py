"""Embed CT series from DICOM files, and the same pixels from PNG files; then many series from a generator.

    python benchmarks/studies.py
    python benchmarks/studies.py --slices 300 --rounds 5 --series 10000

The header pass over the folder counts with DICOM. Rounds alternate, and so does their order; the figures are medians.
The peak of memory is measured by the operating system over the whole process, after a tenth of the series and after
all. Prints a Markdown table, then the same figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medimageinsight import MedImageInsight, images, studies

SIDE = 512  # pixels
ELEMENTS = 80  # of a header besides those that are needed, as scanners write them


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=60, help="of the CT series")
    parser.add_argument("--rounds", type=int, default=3, help="of DICOM and PNG each")
    parser.add_argument("--series", type=int, default=200, help="small series from a generator, for the memory")
    options = parser.parse_args()
    model = MedImageInsight.load()
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            **measure_speed(model, Path(folder), slices=options.slices, rounds=options.rounds),
            **measure_memory(model, options.series),
        }
    print("| figure | value |\n| --- | ---: |")
    for name, value in figures.items():
        print(f"| {name} | {value:,.4g} |")
    print(json.dumps(figures))


def measure_speed(model: MedImageInsight, folder: Path, *, slices: int, rounds: int) -> dict[str, float]:
    """Return the seconds of the header pass and of embedding, from DICOM files and from PNG files."""
    (folder / "dicom").mkdir()
    for index, dataset in enumerate(make_series(slices)):
        dataset.save_as(folder / "dicom" / f"{(index * 7919) % 100_003:06d}.dcm", enforce_file_format=True)
    (series,) = next(studies.read(folder / "dicom")).series
    names = []
    for index, image in enumerate(series.images):
        name = folder / f"{index}.png"
        Image.fromarray(images.load(image)[..., 0]).save(name)
        names.append(str(name))
    seconds: dict[str, list[float]] = {"headers": [], "DICOM": [], "PNG": []}
    results: dict[str, Any] = {}
    for round_number in range(rounds):
        for kind in ("DICOM", "PNG") if round_number % 2 else ("PNG", "DICOM"):
            start = time.perf_counter()
            if kind == "DICOM":
                (series,) = next(studies.read(folder / "dicom")).series
                seconds["headers"].append(time.perf_counter() - start)
            results[kind] = model.embed_images(series.images if kind == "DICOM" else names)
            seconds[kind].append(time.perf_counter() - start)
    if not np.array_equal(results["DICOM"], results["PNG"]):
        raise SystemExit("the vectors of DICOM and PNG differ")
    return {
        "slices": slices,
        "seconds of the header pass": float(np.median(seconds["headers"])),
        "seconds from DICOM": float(np.median(seconds["DICOM"])),
        "seconds from PNG": float(np.median(seconds["PNG"])),
        "speed from DICOM, of that from PNG": float(np.median(np.divide(seconds["PNG"], seconds["DICOM"]))),
    }


def measure_memory(model: MedImageInsight, count: int) -> dict[str, float]:
    """Return the peak of memory in MiB after a tenth of the series, which are made as they are read, and after all."""
    peaks = {}
    series = (make_series(2, side=64) for _ in range(count))
    for index, result in enumerate(model.stream_images(studies.read(series))):
        if result.error is not None:
            raise result.error
        if index == count // 10:
            peaks["MiB after a tenth"] = peak_mib()
    return {"series": count, **peaks, "MiB after all": peak_mib()}


def make_series(slices: int, side: int = SIDE) -> list[Dataset]:
    """Return a CT series with the texture of a body in noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side - 0.5
    body = np.where(x**2 + (1.4 * y) ** 2 < 0.2, 1060, 24)
    study, series = generate_uid(), generate_uid()
    datasets = []
    for index in range(slices):
        dataset = make_header(study, series, index)
        pixels = (body + rng.normal(0, 30, (side, side))).clip(0, 4095).astype("<u2")
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()
        datasets.append(dataset)
    return datasets


def make_header(study: str, series: str, index: int) -> Dataset:
    """Return a slice of a series without its pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.Modality, dataset.InstanceNumber, dataset.ImageType = "CT", index + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImagePositionPatient = [-250, -250, 1.25 * index]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.9, 0.9]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    block = dataset.private_block(0x0019, "SCANNER", create=True)
    for number in range(ELEMENTS):
        block.add_new(number, "LO", f"value {number}")
    return dataset


def peak_mib() -> float:
    """Return the peak of memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
