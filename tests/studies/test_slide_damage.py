"""Slides that are damaged, hostile or of a kind that is not read: each has its error, and the process lives."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
import tifffile

from medimageinsight import images, studies
from medimageinsight.errors import ImageError, InputError
from tests.studies.make_slides import stained, write_dicom, write_ome, write_pyramid, write_svs

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tiffslide", reason="slides need the slides extra")
pytest.importorskip("wsidicom", reason="slides need the slides extra")
pytest.importorskip("skimage", reason="slides need the slides extra")

ALL = studies.SlideOptions(tile_pixels=128, min_tissue=0)
WIDTH, LENGTH, COMPRESSION, OFFSETS, COUNTS = 256, 257, 259, 324, 325


def read_error(path: Path) -> str:
    options = studies.SlideOptions(tile_pixels=128)
    with pytest.raises(ImageError) as caught:
        list(studies.read(path, slides=options))
    assert "secret" not in caught.value.message
    assert str(path) not in caught.value.message
    return caught.value.code


def change_tag(path: Path, tag: int, values: list[int], page: int = 0) -> Path:
    """Overwrite the first values of a tag."""
    with tifffile.TiffFile(path) as file:
        found = file.pages[page].tags[tag]
        code = {3: "H", 4: "I", 16: "Q"}[int(found.dtype)]
        offset, order = found.valueoffset, file.byteorder
    data = bytearray(path.read_bytes())
    struct.pack_into(f"{order}{len(values)}{code}", data, offset, *values)
    path.write_bytes(data)
    return path


def test_a_damaged_tile_is_one_error_and_the_others_remain(tmp_path: Path) -> None:
    slide = stained()
    path = write_svs(tmp_path / "s.svs", slide, compression="jpeg", levels=(1,))
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[2]
    data = bytearray(path.read_bytes())
    data[offset : offset + 200] = bytes(200)
    path.write_bytes(data)
    (study,) = studies.read(path, slides=ALL)
    tiles = study.series[0].images
    with pytest.raises(ImageError) as caught:
        images.load(tiles[2])
    assert caught.value.code == "image_truncated"
    assert images.load(tiles[3]).shape == (128, 128, 3)


def test_a_file_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "s.svs", stained(), levels=(1, 4), associated=False)
    with tifffile.TiffFile(path) as file:
        cut = file.series[0].levels[1][0].dataoffsets[0] + 10  # in the lower level, which shows the tissue
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    assert read_error(path) in ("slide_no_tissue", "slide_damaged")
    (study,) = studies.read(path, slides=ALL)
    assert images.load(study.series[0].images[0]).shape == (128, 128, 3)
    path.write_bytes(data[: len(data) // 3])
    outcomes = []
    for tile in next(studies.read(path, slides=ALL)).series[0].images:
        try:
            outcomes.append(images.load(tile).shape)
        except ImageError as error:
            outcomes.append(error.code)
    assert outcomes[0] == (128, 128, 3)
    assert outcomes[-1] == "slide_damaged"


def test_tiles_that_the_file_does_not_store_are_white(tmp_path: Path) -> None:
    path = change_tag(write_svs(tmp_path / "s.svs", stained(), levels=(1,), associated=False), COUNTS, [0, 0])
    (study,) = studies.read(path, slides=ALL)
    assert (images.load(study.series[0].images[1]) == 255).all()
    assert not (images.load(study.series[0].images[2]) == 255).all()


def test_an_absurd_size_is_refused_in_no_memory(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "s.svs", stained(), levels=(1,), associated=False)
    for width in (1_000_000, 40_000_000):
        for tag in (WIDTH, LENGTH):
            change_tag(path, tag, [width])
        assert read_error(path) in ("slide_damaged", "slide_too_large", "slide_unsupported")
        with pytest.raises(ImageError):
            studies.read_thumbnail(path)


def test_a_huge_empty_slide_without_levels_is_not_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    rows = columns = 1_000_000
    tile = 4096
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        empty = (b"" for _ in range((-(-rows // tile)) ** 2))
        file.write(
            empty, shape=(rows, columns, 3), dtype="uint8", tile=(tile, tile), photometric="rgb", compression="zlib"
        )
    assert read_error(path) == "slide_too_large"
    with pytest.raises(ImageError, match="levels of lower resolution"):
        studies.read_thumbnail(path)
    assert studies.read_region(path, (500_000, 500_000, 256, 256), (64, 64)).size == (64, 64)


def test_an_unknown_compression_and_other_pixels_are_unsupported(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("medimageinsight.studies.slides.opening.has_openslide", lambda: False)
    unknown = change_tag(write_svs(tmp_path / "a.svs", stained(), associated=False), COMPRESSION, [12345])
    assert read_error(unknown) == "slide_unsupported"
    deep = tmp_path / "deep.tif"
    with tifffile.TiffWriter(deep) as file:
        for step in (1, 2):
            pixels = stained()[::step, ::step].astype(np.uint16) * 256
            file.write(pixels, tile=(128, 128), photometric="rgb", subfiletype=step - 1, metadata=None)
    assert read_error(deep) == "slide_unsupported"
    stain = np.repeat(stained()[:, :, :1], 5, axis=2)
    options = {"tile": (128, 128), "photometric": "minisblack", "planarconfig": "contig"}
    with tifffile.TiffWriter(tmp_path / "fluorescence.tif") as file:
        file.write(stain, subifds=1, **options)
        file.write(stain[::2, ::2], subfiletype=1, **options)
    assert read_error(tmp_path / "fluorescence.tif") in ("slide_unsupported", "slide_damaged")


def test_damaged_instances_of_a_dicom_slide_are_counted(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "s", stained(), factors=(1, 2, 4), extras=("LABEL",))
    lower = folder / "level2-0.dcm"
    data = lower.read_bytes()
    lower.write_bytes(data[:2000])
    studies_read = list(studies.read(folder, slides=ALL, failed=lambda name, error: None))
    (series,) = [series for study in studies_read for series in study.series]
    assert len(series.images) == 48


def test_a_label_alone_and_an_unknown_transfer_syntax_have_their_codes(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "label", stained(), factors=(), extras=("LABEL",))
    assert read_error(folder) == "slide_no_levels"
    other = write_dicom(tmp_path / "other", stained(), factors=(1,))
    dataset = pydicom.dcmread(other / "level0-0.dcm")
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    dataset["PixelData"].is_undefined_length = True
    dataset.PixelData = pydicom.encaps.encapsulate([b"1234"] * dataset.NumberOfFrames)
    dataset.save_as(other / "level0-0.dcm")
    assert read_error(other) in ("slide_unsupported", "image_is_video", "image_unsupported")


def test_missing_libraries_name_the_extra_and_other_files_are_still_read(tmp_path: Path, monkeypatch) -> None:
    import builtins

    write_svs(tmp_path / "s.svs", stained())
    tifffile.imwrite(tmp_path / "plain.tif", stained(64, 64))
    real = builtins.__import__

    def without(name: str, *arguments: object, **named: object) -> object:
        if name.partition(".")[0] in ("tiffslide", "wsidicom", "skimage"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    errors: list[InputError] = []
    found = list(studies.read(tmp_path, failed=lambda _, error: errors.append(error)))
    assert [error.code for error in errors] == ["slide_extra_missing"]
    assert "medimageinsight-onnx[slides]" in errors[0].message
    assert [study.series[0].kind for study in found] == ["image"]


@pytest.mark.parametrize("write", [write_svs, write_ome, write_pyramid, write_dicom])
def test_random_damage_never_raises_anything_else(tmp_path: Path, write) -> None:
    slide = write(tmp_path / "whole", stained(512, 384))
    files = sorted(slide.iterdir()) if slide.is_dir() else [slide]
    rng = random.Random(5)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for _ in range(25):
        for file in files:
            data = bytearray(file.read_bytes())
            for _ in range(rng.choice((1, 4, 40))):
                where = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(4096, len(data)))
                data[where] = rng.randrange(256)
            if rng.random() < 0.3:
                del data[rng.randrange(len(data)) :]
            (damaged / file.name).write_bytes(data)
        for study in studies.read(damaged, slides=ALL, failed=lambda _, error: None):
            for series in study.series:
                for image in list(series.images)[:3]:
                    with suppress(ImageError):
                        images.load(image)
