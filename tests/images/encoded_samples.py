"""One small image in every transfer syntax and file format that is read, made here by the encoders of the libraries."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pydicom.uid
import tifffile
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence

from tests.images.dicom_datasets import make_dataset, sequence_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEIGHT, WIDTH = 40, 48
_rows, _columns = np.mgrid[0:HEIGHT, 0:WIDTH]
GREY = ((_columns * 5 + _rows * 3) % 256).astype(np.uint8)
DEEP = (GREY.astype(np.uint16) * 16 + _columns % 16).astype(np.uint16)  # 12 bits
SIGNED = (DEEP.astype(np.int32) - 2048).astype(np.int16)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)

_TIFF_COMPRESSIONS = {
    "none": "grey deep signed float rgb planar rgb16",
    "lzw": "grey deep float rgb",
    "deflate": "grey deep float rgb planar",
    "adobe_deflate": "deep rgb",
    "packbits": "grey deep rgb",
    "lzma": "grey deep",
    "zstd": "grey deep float rgb",
    "jpeg": "grey rgb",
    "jpeg2000": "grey deep rgb",
    "lerc": "grey deep float",
    "png": "grey deep rgb",
    "webp": "rgb",
    "jpegxl": "grey deep rgb",
}


def _unchanged(data: bytes) -> bytes:
    return data


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """A file as its codestream and the function that writes the file around a codestream."""

    name: str
    codestream: bytes
    wrap: Callable[[bytes], bytes] = _unchanged

    @functools.cached_property
    def file(self) -> bytes:
        """The intact file."""
        return self.wrap(self.codestream)


def encoded_samples() -> list[EncodedSample]:
    """Return all samples, in an order that does not change."""
    return [*_native_dicom(), *_compressed_dicom(), *_tiff(), *_other_formats()]


def write_dicom(dataset: pydicom.Dataset, syntax: str) -> bytes:
    """Return the dataset as a file in a transfer syntax; its pixel data are written as they are."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OB" if dataset.file_meta.TransferSyntaxUID.is_compressed else "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _native_dicom() -> Iterator[EncodedSample]:
    lut = sequence_item(LUTDescriptor=[4096, 0, 12], LUTData=np.arange(4095, -1, -1, "<u2").tobytes())
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = np.arange(256, dtype="<u2").tobytes()
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    datasets = {
        "grey": make_dataset(GREY, WindowCenter=100, WindowWidth=200),
        "signed": make_dataset(SIGNED, RescaleSlope=2, RescaleIntercept=-1024, PixelPaddingValue=-2048),
        "luts": make_dataset(DEEP, ModalityLUTSequence=Sequence([lut]), VOILUTSequence=Sequence([lut])),
        "palette": make_dataset(GREY, **palette),
        "rgb": make_dataset(RGB, **colour),
        "frames": make_dataset(np.stack([DEEP, DEEP])),
        "float": _float_dataset(),
    }
    syntaxes = {
        "implicit": pydicom.uid.ImplicitVRLittleEndian,
        "explicit": pydicom.uid.ExplicitVRLittleEndian,
        "deflated": pydicom.uid.DeflatedExplicitVRLittleEndian,
    }
    for syntax_name, syntax in syntaxes.items():
        for name, dataset in datasets.items():
            yield EncodedSample(name=f"{syntax_name}-{name}.dcm", codestream=write_dicom(dataset, syntax))
    swapped = make_dataset(DEEP, RescaleSlope=2, RescaleIntercept=-1024)
    swapped.PixelData = DEEP.astype(">u2").tobytes()
    big_endian = write_dicom(swapped, pydicom.uid.ExplicitVRBigEndian)
    yield EncodedSample(name="big-endian.dcm", codestream=big_endian)
    yield EncodedSample(name="no-preamble.dcm", codestream=write_dicom(datasets["grey"], syntaxes["explicit"])[132:])


def _float_dataset() -> pydicom.Dataset:
    dataset = make_dataset(np.zeros((HEIGHT, WIDTH), np.uint32))
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.FloatPixelData = (DEEP / 7).astype(np.float32).tobytes()
    return dataset


def _compressed_dicom() -> Iterator[EncodedSample]:
    uid = pydicom.uid
    jpeg, jpegls, jpeg2k, htj2k = (
        getattr(imagecodecs, f"{name}_encode") for name in ("jpeg8", "jpegls", "jpeg2k", "htj2k")
    )
    yield _compressed("jpeg-baseline", uid.JPEGBaseline8Bit, GREY, jpeg(GREY, level=90))
    yield _compressed("jpeg-baseline-rgb", uid.JPEGBaseline8Bit, RGB, jpeg(RGB, level=90), photometric="YBR_FULL_422")
    yield _compressed("jpeg-extended-8", uid.JPEGExtended12Bit, GREY, jpeg(GREY, level=90))
    yield _compressed("jpeg-extended-12", uid.JPEGExtended12Bit, DEEP, jpeg(DEEP, level=90, bitspersample=12), bits=12)
    for selection in range(1, 8):
        syntax = uid.JPEGLosslessSV1 if selection == 1 else uid.JPEGLossless
        for values, bits in ((GREY, 8), (DEEP, 12), (DEEP * 16, 16), (RGB, 8)):
            codestream = jpeg(values, lossless=True, predictor=selection, bitspersample=bits)
            yield _compressed(f"jpeg-lossless-{selection}-{values.ndim}-{bits}", syntax, values, codestream, bits=bits)
    for values, bits in ((GREY, 8), (DEEP, 12), (RGB, 8)):
        name = f"{values.ndim}-{bits}"
        yield _compressed(f"jpegls-{name}", uid.JPEGLSLossless, values, jpegls(values), bits=bits)
        yield _compressed(f"jpegls-near-{name}", uid.JPEGLSNearLossless, values, jpegls(values, level=2), bits=bits)
        j2k = functools.partial(jpeg2k, codecformat="j2k", bitspersample=bits, mct=False)
        yield _compressed(f"jpeg2k-{name}", uid.JPEG2000Lossless, values, j2k(values, reversible=True), bits=bits)
        yield _compressed(f"jpeg2k-lossy-{name}", uid.JPEG2000, values, j2k(values, level=40), bits=bits)
        yield _compressed(
            f"htj2k-{name}", uid.HTJ2KLossless, values, htj2k(values, reversible=True, rgb=False), bits=bits
        )
        rle = RLELosslessEncoder.encode(
            values.tobytes(),
            rows=HEIGHT,
            columns=WIDTH,
            samples_per_pixel=3 if values.ndim == 3 else 1,
            bits_allocated=values.itemsize * 8,
            bits_stored=bits,
            pixel_representation=0,
            number_of_frames=1,
            photometric_interpretation="RGB" if values.ndim == 3 else "MONOCHROME2",
            planar_configuration=0,
        )
        yield _compressed(f"rle-{name}", uid.RLELossless, values, rle, bits=bits)
    yield _compressed("jpeg-frames", uid.JPEGBaseline8Bit, GREY, jpeg(GREY, level=90), frames=3)
    yield _compressed("jpegls-frames", uid.JPEGLSLossless, DEEP, jpegls(DEEP), bits=12, frames=3, extended=True)


def _compressed(
    name: str,
    syntax: str,
    values: np.ndarray,
    codestream: bytes,
    *,
    bits: int = 8,
    photometric: str = "",
    frames: int = 1,
    extended: bool = False,
) -> EncodedSample:
    def wrap(data: bytes) -> bytes:
        elements: dict[str, Any] = {"BitsStored": bits, "HighBit": bits - 1}
        if values.ndim == 3:
            elements |= {"SamplesPerPixel": 3, "PhotometricInterpretation": photometric or "RGB"}
            elements |= {"PlanarConfiguration": 0}
        if frames > 1:
            elements["NumberOfFrames"] = frames
        dataset = make_dataset(values, **elements)
        encoded = [data] + [codestream] * (frames - 1)
        if extended:
            dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
                encoded
            )
        else:
            dataset.PixelData = encapsulate(encoded)
        return write_dicom(dataset, syntax)

    return EncodedSample(name=f"{name}.dcm", codestream=bytes(codestream), wrap=wrap)


def _tiff() -> Iterator[EncodedSample]:
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "grey": (GREY, {"photometric": "minisblack"}),
        "deep": (DEEP, {"photometric": "miniswhite"}),
        "signed": (SIGNED, {"photometric": "minisblack"}),
        "float": (DEEP.astype(np.float32), {"photometric": "minisblack"}),
        "rgb": (RGB, {"photometric": "rgb", "rowsperstrip": 16}),
        "planar": (planes, {"photometric": "rgb", "planarconfig": "separate"}),
        "rgb16": (RGB.astype(np.uint16) * 200, {"photometric": "rgb", "tile": (16, 16)}),
    }
    for compression, names in _TIFF_COMPRESSIONS.items():
        for name in names.split():
            values, options = kinds[name]
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, values, compression=compression, metadata=None, **options)
            yield EncodedSample(name=f"{compression}-{name}.tif", codestream=buffer.getvalue())
    for name, options in {"bigtiff": {"bigtiff": True}, "big-endian": {"byteorder": ">"}}.items():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, np.stack([DEEP] * 3), photometric="minisblack", metadata=None, **options)
        yield EncodedSample(name=f"{name}-pages.tif", codestream=buffer.getvalue())
    for compression in ("group3", "group4", "tiff_ccitt"):
        data = _save(Image.fromarray(GREY).convert("1"), "TIFF", compression=compression)
        yield EncodedSample(name=f"{compression}.tif", codestream=data)
    yield EncodedSample(name="palette.tif", codestream=_save(Image.fromarray(RGB).convert("P"), "TIFF"))


def _other_formats() -> Iterator[EncodedSample]:
    grey, rgb, deep = Image.fromarray(GREY), Image.fromarray(RGB), Image.fromarray(DEEP * 16)
    animation = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    files = {
        "grey.png": _save(grey, "PNG"),
        "deep.png": _save(deep, "PNG"),
        "rgb16.png": imagecodecs.png_encode(RGB.astype(np.uint16) * 200),
        "palette.png": _save(rgb.convert("P"), "PNG"),
        "animation.png": _save(rgb, "PNG", **animation),
        "baseline.jpg": _save(rgb, "JPEG"),
        "progressive.jpg": _save(
            rgb, "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
        ),
        "cmyk.jpg": _save(rgb.convert("CMYK"), "JPEG"),
        "12-bit.jpg": imagecodecs.jpeg8_encode(DEEP, level=90, bitspersample=12),
        "lossless.jpg": imagecodecs.jpeg8_encode(DEEP, lossless=True, predictor=1, bitspersample=12),
        "rgb.bmp": _save(rgb, "BMP"),
        "palette.bmp": _save(rgb.convert("P"), "BMP"),
        "still.gif": _save(rgb.convert("P"), "GIF"),
        "animation.gif": _save(rgb.convert("P"), "GIF", **animation),
        "lossy.webp": _save(rgb, "WEBP"),
        "lossless.webp": _save(rgb.convert("RGBA"), "WEBP", lossless=True),
        "animation.webp": _save(rgb, "WEBP", **animation),
        "grey.jp2": _save(grey, "JPEG2000"),
        "rgb.jp2": _save(rgb, "JPEG2000"),
        "deep.j2k": imagecodecs.jpeg2k_encode(DEEP, codecformat="j2k", reversible=True),
        "rgb16.jp2": imagecodecs.jpeg2k_encode(RGB.astype(np.uint16) * 200, codecformat="jp2", reversible=True),
        "grey.jls": imagecodecs.jpegls_encode(GREY),
        "deep.jls": imagecodecs.jpegls_encode(DEEP),
        "rgb.jls": imagecodecs.jpegls_encode(RGB),
        "grey.jxl": imagecodecs.jpegxl_encode(GREY),
        "deep.jxl": imagecodecs.jpegxl_encode(DEEP),
        "rgb.jxl": imagecodecs.jpegxl_encode(RGB, level=90),
        "grey.pgm": _save(grey, "PPM"),
        "rgb.ppm": _save(rgb, "PPM"),
        "rgb.avif": _save(rgb, "AVIF"),
        "animation.avif": _save(rgb, "AVIF", **animation),
    }
    try:
        import pillow_heif
    except ModuleNotFoundError:
        pass  # an extra
    else:
        for name, image in {"rgb.heic": rgb, "grey.heic": grey}.items():
            buffer = io.BytesIO()
            pillow_heif.from_pillow(image).save(buffer, quality=80)
            files[name] = buffer.getvalue()
    for name, data in files.items():
        yield EncodedSample(name=name, codestream=bytes(data))


def _save(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
