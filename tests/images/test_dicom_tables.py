"""Look-up tables, padding and windows as real files have them: wrong VR, wrong bits, malformed, in odd positions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medimageinsight import images
from tests.images.dicom_datasets import LEVELS, decode_grey, error_code, linear_window, make_dataset, sequence_item

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

XA = "1.2.840.10008.5.1.4.1.1.12."
UNSIGNED = np.arange(4096, dtype=np.uint16).reshape(64, 64)
RAMP = np.clip(np.rint(np.arange(1001) / 1000 * 4095), 0, 4095).astype(int)  # entries of 12 bits


@pytest.fixture(params=[ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda uid: uid.name)
def syntax(request: pytest.FixtureRequest) -> Any:
    return request.param


def encode(dataset: Dataset, syntax: Any) -> bytes:
    """Write a dataset whose PixelData are little endian in another uncompressed transfer syntax."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    if not syntax.is_little_endian and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def with_words(dataset: Dataset, keyword: str, vr: str, values: list[int] | int) -> Dataset:
    """Set an element of a stated VR, US or SS; values are taken modulo 2^16 to fit."""
    listed = values if isinstance(values, list) else [values]
    wrapped = [value % 65536 if vr == "US" else (value + 32768) % 65536 - 32768 for value in listed]
    tag = Tag(pydicom.datadict.tag_for_keyword(keyword))
    dataset[tag] = DataElement(tag, vr, wrapped if isinstance(values, list) else wrapped[0])
    return dataset


def table(descriptor: list[int], entries: Any, *, vr: str = "US") -> Dataset:
    item = with_words(sequence_item(), "LUTDescriptor", vr, descriptor)
    return with_words(item, "LUTData", "US", [int(entry) for entry in entries])


def codes(source: object) -> list[str]:
    return [warning.code for warning in images.open(source).warnings]


class TestSigns:
    """PS3.3 C.11.2.1.1: a first value, padding or limit is a 16-bit word in the range of the values it applies to."""

    @pytest.mark.parametrize("vr", ["US", "SS"])
    def test_voi_lut_of_rescaled_values(self, syntax: Any, vr: str) -> None:
        lut = table([1001, -500, 12], RAMP, vr=vr)
        dataset = make_dataset(
            UNSIGNED, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=Sequence([lut])
        )
        expected = np.rint(RAMP[np.clip(UNSIGNED.astype(int) - 1024 + 500, 0, 1000)] / 4095 * 255)
        np.testing.assert_array_equal(decode_grey(encode(dataset, syntax)), expected)

    @pytest.mark.parametrize("vr", ["US", "SS"])
    def test_voi_lut_of_large_unsigned_values(self, syntax: Any, vr: str) -> None:
        values = np.linspace(34000, 60000, 400).astype(np.uint16).reshape(20, 20)
        dataset = make_dataset(values, VOILUTSequence=Sequence([table([1001, 40000, 12], RAMP, vr=vr)]))
        expected = np.rint(RAMP[np.clip(values.astype(int) - 40000, 0, 1000)] / 4095 * 255)
        np.testing.assert_array_equal(decode_grey(encode(dataset, syntax)), expected)

    def test_a_word_below_32768_has_one_reading(self, syntax: Any) -> None:
        values = np.arange(12000, 14000, 5, dtype=np.int16).reshape(20, 20)
        dataset = make_dataset(values, RescaleSlope=2, RescaleIntercept=0)  # -65,536 to 65,534
        dataset.VOILUTSequence = Sequence([table([1001, 26000, 12], RAMP, vr="SS")])
        expected = np.rint(RAMP[np.clip(values.astype(int) * 2 - 26000, 0, 1000)] / 4095 * 255)
        np.testing.assert_array_equal(decode_grey(encode(dataset, syntax)), expected)

    @pytest.mark.parametrize("vr", ["US", "SS"])
    def test_modality_lut_of_signed_values(self, syntax: Any, vr: str) -> None:
        lut = with_words(table([1001, -500, 16], RAMP, vr=vr), "PixelRepresentation", "US", 0)
        del lut.PixelRepresentation
        values = np.arange(-800, 800, dtype=np.int16).reshape(40, 40)
        dataset = make_dataset(values, ModalityLUTSequence=Sequence([lut]))
        expected = np.rint(RAMP[np.clip(values.astype(int) + 500, 0, 1000)] / 4095 * 255)
        np.testing.assert_array_equal(decode_grey(encode(dataset, syntax)), expected)

    @pytest.mark.parametrize("vr", ["US", "SS"])
    @pytest.mark.parametrize("dtype", [np.uint16, np.int16])
    def test_padding(self, syntax: Any, vr: str, dtype: type) -> None:
        padding = 63536 if dtype is np.uint16 else -2000
        values = np.array([[padding, 100], [150, 200]], dtype)
        dataset = with_words(make_dataset(values), "PixelPaddingValue", vr, padding)
        assert decode_grey(encode(dataset, syntax)).ravel()[1:].tolist() == [0, 128, 255]

    @pytest.mark.parametrize("vr", ["US", "SS"])
    def test_padding_range(self, syntax: Any, vr: str) -> None:
        values = np.array([[-2000, -1500, -1000], [100, 150, 200]], np.int16)
        dataset = with_words(make_dataset(values), "PixelPaddingValue", vr, -2000)
        with_words(dataset, "PixelPaddingRangeLimit", vr, -1000)
        assert decode_grey(encode(dataset, syntax))[1].tolist() == [0, 128, 255]

    @pytest.mark.parametrize("vr", ["US", "SS"])
    def test_palette(self, syntax: Any, vr: str) -> None:
        values = np.arange(39990, 40040, dtype=np.uint16).reshape(5, 10)
        dataset = make_dataset(values, PhotometricInterpretation="PALETTE COLOR")
        entries = np.arange(0, 256, 8, dtype=np.uint16)
        for channel in ("Red", "Green", "Blue"):
            with_words(dataset, f"{channel}PaletteColorLookupTableDescriptor", vr, [len(entries), 40000, 16])
            data = (entries * 257).astype("<u2" if syntax.is_little_endian else ">u2").tobytes()
            setattr(dataset, f"{channel}PaletteColorLookupTableData", data)
        expected = entries[np.clip(values.astype(int) - 40000, 0, len(entries) - 1)]
        np.testing.assert_array_equal(images.load(encode(dataset, syntax))[:, :, 0], expected)

    def test_padding_without_pixel_representation(self) -> None:
        dataset = make_dataset(np.array([[63536, 100], [150, 200]], np.uint16))
        del dataset.PixelRepresentation
        with_words(dataset, "PixelPaddingValue", "US", 63536)
        data = encode(dataset, ImplicitVRLittleEndian)
        assert decode_grey(data).ravel()[1:].tolist() == [0, 128, 255]


class TestVoiLutBits:
    @pytest.mark.parametrize(
        ("stated", "largest", "white"),
        [
            (16, 4095, 4095),  # Agfa: 16 bits stored, 12 bits used
            (16, 3900, 3900),
            (16, 1023, 1023),
            (12, 1023, 1023),
            (16, 255, 255),
            (16, 60000, 65535),  # an honest table that ends below its range
            (12, 4000, 4095),
            (8, 100, 255),
            (10, 4095, 4095),  # too few bits stated
            (0, 4095, 4095),
        ],
    )
    def test_white_is_the_end_of_the_bits_or_the_largest_entry(self, stated: int, largest: int, white: int) -> None:
        entries = np.linspace(0, largest, 4096).astype(int)
        dataset = make_dataset(UNSIGNED, VOILUTSequence=Sequence([table([4096, 0, stated], entries)]))
        expected = np.rint(entries / white * 255).reshape(64, 64)
        np.testing.assert_array_equal(decode_grey(dataset), expected)

    def test_nan_of_real_values_gets_the_first_entry(self) -> None:
        dataset = make_dataset(np.zeros((2, 2), np.uint32), VOILUTSequence=Sequence([table([2, 0, 8], [7, 255])]))
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.FloatPixelData = np.array([[np.nan, 0], [1, np.inf]], np.float32).tobytes()
        assert decode_grey(dataset).tolist() == [[7, 7], [255, 255]]

    def test_entries_of_8_bits_may_be_packed_in_words(self) -> None:
        entries = np.arange(255, -1, -1).astype(np.uint8)
        lut = table([256, 0, 8], entries.view("<u2"))
        values = np.arange(256, dtype=np.uint8).reshape(16, 16)
        shown = decode_grey(encode(make_dataset(values, VOILUTSequence=Sequence([lut])), ExplicitVRLittleEndian))
        np.testing.assert_array_equal(shown.ravel(), entries)


class TestXrayAngiography:
    """PS3.4 N.2.5: XA and XRF values are displayed without the modality LUT."""

    LUT = table([4096, 0, 16], (np.arange(4096.0) ** 2 / 4095).astype(int))

    @pytest.mark.parametrize("relationship", ["LIN", "LOG", "DISP", None])
    @pytest.mark.parametrize("kind", ["1", "2", "3", "1.1", "1.2"])
    @pytest.mark.parametrize("transform", ["lut", "rescale"])
    def test_by_sop_class(self, relationship: str | None, kind: str, transform: str) -> None:
        assert self.is_linear(transform, SOPClassUID=XA + kind, PixelIntensityRelationship=relationship)

    @pytest.mark.parametrize(("modality", "linear"), [("XA", True), ("RF", True), ("CT", False)])
    def test_by_modality_where_the_sop_class_is_missing(self, modality: str, linear: bool) -> None:
        assert self.is_linear("lut", SOPClassUID=None, Modality=modality) == linear

    def test_a_reconstructed_volume_is_rescaled(self) -> None:
        assert not self.is_linear("rescale", SOPClassUID="1.2.840.10008.5.1.4.1.1.13.1.1", Modality="XA")

    def is_linear(self, transform: str, **elements: Any) -> bool:
        if transform == "lut":
            elements["ModalityLUTSequence"] = Sequence([self.LUT])
        else:
            elements |= {"RescaleSlope": "0.5", "RescaleIntercept": "-7"}
        dataset = make_dataset(UNSIGNED, WindowCenter=2048, WindowWidth=4096, **elements)
        expected = [linear_window(x, 2048, 4096) for x in UNSIGNED.ravel().tolist()]
        return bool(np.abs(decode_grey(dataset).ravel() - expected).max() <= 0.5)


class TestMalformedTables:
    GOOD = table([400, -200, 8], np.repeat(np.arange(200), 2), vr="SS")
    BROKEN = (
        sequence_item(),
        sequence_item(LUTDescriptor=[]),
        table([400, -200, 8], [1, 2, 3], vr="SS"),
        table([400, -200], range(400), vr="SS"),
        sequence_item(LUTDescriptor=[400, -200, 8], LUTData=b""),
        sequence_item(LUTDescriptor=[400, -200, 8]),
        sequence_item(LUTData=bytes(800)),
    )

    @pytest.mark.parametrize("broken", BROKEN)
    def test_the_next_voi_lut_is_used(self, broken: Dataset) -> None:
        dataset = make_dataset(LEVELS, VOILUTSequence=Sequence([broken, self.GOOD]), WindowCenter=1, WindowWidth=9)
        np.testing.assert_array_equal(
            decode_grey(dataset), decode_grey(make_dataset(LEVELS, VOILUTSequence=Sequence([self.GOOD])))
        )
        assert codes(dataset) == ["voi_lut_malformed"]

    @pytest.mark.parametrize("broken", BROKEN)
    def test_the_window_is_used(self, broken: Dataset) -> None:
        window = {"WindowCenter": 30, "WindowWidth": 90}
        dataset = make_dataset(LEVELS, VOILUTSequence=Sequence([broken, broken]), **window)
        np.testing.assert_array_equal(decode_grey(dataset), decode_grey(make_dataset(LEVELS, **window)))
        assert codes(dataset) == ["voi_lut_malformed"]

    @pytest.mark.parametrize("broken", BROKEN)
    def test_the_value_range_is_used(self, broken: Dataset) -> None:
        dataset = make_dataset(LEVELS, VOILUTSequence=Sequence([broken]))
        np.testing.assert_array_equal(decode_grey(dataset), decode_grey(make_dataset(LEVELS)))
        assert codes(dataset) == ["voi_lut_malformed"]

    @pytest.mark.parametrize("broken", BROKEN)
    def test_the_rescale_replaces_a_modality_lut(self, broken: Dataset) -> None:
        other = {"RescaleSlope": 2, "RescaleIntercept": 5, "WindowCenter": 30, "WindowWidth": 90}
        dataset = make_dataset(LEVELS, ModalityLUTSequence=Sequence([broken]), **other)
        np.testing.assert_array_equal(decode_grey(dataset), decode_grey(make_dataset(LEVELS, **other)))
        assert codes(dataset) == ["modality_lut_malformed"]

    def test_functional_groups_that_end_before_the_frame(self) -> None:
        shared = sequence_item(FrameVOILUTSequence=Sequence([sequence_item(WindowCenter=5, WindowWidth=60)]))
        dataset = make_dataset(
            np.stack([LEVELS, LEVELS]),
            SharedFunctionalGroupsSequence=Sequence([shared]),
            PerFrameFunctionalGroupsSequence=Sequence([sequence_item()]),
        )
        expected = [linear_window(x, 5, 60) for x in LEVELS.ravel().tolist()]
        decoded = images.open(dataset, frame=1)
        np.testing.assert_allclose(np.asarray(decoded.image).ravel(), expected, atol=0.5)
        assert [warning.code for warning in decoded.warnings] == ["functional_groups_malformed"]
        assert [warning.code for warning in images.open(dataset, frame=0).warnings] == ["frames_unused"]

    @pytest.mark.parametrize("vr", [b"DP", b"\x44\x09"])
    def test_a_window_of_an_unknown_vr_is_read_from_its_bytes(self, vr: bytes) -> None:
        data = encode(make_dataset(LEVELS, WindowCenter=30, WindowWidth=9), ExplicitVRLittleEndian)
        damaged = data.replace(b"\x28\x00\x51\x10DS", b"\x28\x00\x51\x10" + vr)
        np.testing.assert_array_equal(decode_grey(damaged), decode_grey(data))

    def test_a_palette_is_required(self) -> None:
        dataset = make_dataset(np.zeros((4, 4), np.uint8), PhotometricInterpretation="PALETTE COLOR")
        for channel in ("Red", "Green", "Blue"):
            with_words(dataset, f"{channel}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
            setattr(dataset, f"{channel}PaletteColorLookupTableData", bytes(512 if channel != "Blue" else 100))
        assert error_code(dataset) == "image_bad_header"

    def test_a_segment_without_entries_is_refused_at_once(self) -> None:
        dataset = make_dataset(np.zeros((4, 4), np.uint8), PhotometricInterpretation="PALETTE COLOR")
        segments = np.array([0, 0] + [2, 65535, 0, 0] * 16000, "<u2").tobytes()  # 2^30 runs of nothing
        for channel in ("Red", "Green", "Blue"):
            with_words(dataset, f"{channel}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
            setattr(dataset, f"Segmented{channel}PaletteColorLookupTableData", segments)
        assert error_code(dataset) == "image_bad_header"


class TestWindows:
    @pytest.mark.parametrize(
        ("center", "width", "expected"),
        [
            (b"1000,5", b"400,5", (1000.5, 400.5)),
            (b"1000 HU", b"400 HU", (1000, 400)),
            (b" 1000 ", b"+400 ", (1000, 400)),
            (b"1,000.0", b"400.0", (1000, 400)),
            (b"1000\\400", b"500\\300", (1000, 500)),
            (b"\\1000", b"\\400", (1000, 400)),
            (b"n/a\\1000", b"80\\400", (1000, 400)),
            (b"1000\\50", b"0\\400", (50, 400)),
            (b"1e3", b"4E2", (1000, 400)),
        ],
    )
    def test_decimal_strings_as_written(self, center: bytes, width: bytes, expected: tuple[float, float]) -> None:
        dataset = make_dataset(UNSIGNED, WindowCenter="11111111", WindowWidth="22222222")
        data = encode(dataset, ExplicitVRLittleEndian)
        for placeholder, text in ((b"11111111", center), (b"22222222", width)):
            data = data.replace(placeholder, text.ljust(8))
        shown = decode_grey(data)
        np.testing.assert_allclose(
            shown.ravel(), [linear_window(x, *expected) for x in UNSIGNED.ravel().tolist()], atol=0.5
        )

    @pytest.mark.parametrize("width", [0.004, 0.9])
    def test_a_width_below_one_of_fractions_is_meant(self, width: float) -> None:
        slope = width / 2000
        dataset = make_dataset(UNSIGNED, RescaleSlope=slope, RescaleIntercept=0, WindowCenter=width, WindowWidth=width)
        expected = np.clip((UNSIGNED * slope - width) / width + 0.5, 0, 1) * 255
        np.testing.assert_allclose(decode_grey(dataset), expected, atol=0.5001)

    @pytest.mark.parametrize("function", [b"sigmoid ", b" SIGMOID", b"SIGMOID\0"])
    def test_the_function_may_be_padded_or_in_lower_case(self, function: bytes) -> None:
        dataset = make_dataset(LEVELS, WindowCenter=10, WindowWidth=100, VOILUTFunction="FUNCTION")
        shown = decode_grey(encode(dataset, ExplicitVRLittleEndian).replace(b"FUNCTION", function))
        np.testing.assert_allclose(shown, 255 / (1 + np.exp(-4 * (LEVELS - 10) / 100)), atol=0.5)

    def test_unusable_windows_are_reported(self) -> None:
        dataset = make_dataset(LEVELS, WindowCenter=[5, 9], WindowWidth=[0, -1])
        assert codes(dataset) == ["window_unusable"]
        assert codes(make_dataset(LEVELS, WindowCenter="", WindowWidth="")) == []

    @pytest.mark.parametrize("group", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
    def test_voi_lut_of_a_functional_group(self, group: str) -> None:
        lut = table([400, -200, 8], np.arange(400) // 2, vr="SS")
        macro = sequence_item(VOILUTSequence=Sequence([lut]))
        dataset = make_dataset(LEVELS, **{group: Sequence([sequence_item(FrameVOILUTSequence=Sequence([macro]))])})
        np.testing.assert_array_equal(decode_grey(dataset).ravel(), np.arange(400) // 2)

    def test_an_empty_functional_group_leaves_the_window_of_the_dataset(self) -> None:
        groups = Sequence([sequence_item(FrameVOILUTSequence=Sequence([sequence_item()]))])
        window = {"WindowCenter": 30, "WindowWidth": 90}
        dataset = make_dataset(LEVELS, PerFrameFunctionalGroupsSequence=groups, **window)
        np.testing.assert_array_equal(decode_grey(dataset), decode_grey(make_dataset(LEVELS, **window)))


class TestMaps:
    @pytest.mark.parametrize(
        ("sop_class", "kind"),
        [
            ("66.4", "segmentation"),
            ("66.7", "label map segmentation"),
            ("30", "parametric map"),
            ("481.2", "RT dose grid"),
            ("81.1", "ophthalmic thickness map"),
        ],
    )
    def test_maps_are_refused_unless_accepted(self, sop_class: str, kind: str) -> None:
        dataset = make_dataset(LEVELS, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{sop_class}")
        with pytest.raises(images.source.ImageError, match=kind) as caught:
            images.open(dataset)
        assert caught.value.code == "image_is_map"
        accepted = images.open(dataset, limits=images.Limits(accept_maps=True))
        np.testing.assert_array_equal(np.asarray(accepted.image), decode_grey(make_dataset(LEVELS)))

    @pytest.mark.parametrize("modality", ["SEG", "RTDOSE"])
    def test_the_modality_decides_where_the_sop_class_is_missing(self, modality: str) -> None:
        assert error_code(make_dataset(LEVELS, SOPClassUID=None, Modality=modality)) == "image_is_map"
        assert decode_grey(make_dataset(LEVELS, Modality=modality)).max() == 255  # a CT by its SOP class


def test_deep_values_need_little_memory() -> None:
    import tracemalloc

    values = np.random.default_rng(0).integers(0, 1 << 31, (2000, 1000), dtype=np.uint32)  # too many for a table
    dataset = make_dataset(values, RescaleSlope="0.001", RescaleIntercept=0, WindowCenter=1e6, WindowWidth=2e6)
    for window in (None, "1%-99%"):
        images.open(dataset, window=window)
        tracemalloc.start()
        images.open(dataset, window=window)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # decoded values, their copy, the result; then blocks
        assert peak < values.size * (4 + 4 + 4) + (32 << 20)
