"""Requests answered by a tiny model: bytes in, status and JSON out."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file

from medimageinsight import MedImageInsight
from medimageinsight.serve import RequestLimits, score, to_json
from tests.toy import LOGIT_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = "x-ray chest"


@pytest.fixture(scope="module")
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


def make_image(seed: int = 0, form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format=form)
    return encoded.getvalue()


def b64(image: bytes) -> str:
    return base64.encodebytes(image).decode()


def body(*rows: Any, **params: Any) -> bytes:
    content = {"input_data": {"columns": ["image", "text"], "data": rows}, "params": params}
    return json.dumps(content).encode()


def answer(request: bytes, model: MedImageInsight, **options: Any) -> Any:
    """Return the parsed response to a valid request."""
    found = score(request, model, **options)
    assert found.status == 200, found.body
    return json.loads(to_json(found))


def test_the_contract_s_sample(model: MedImageInsight) -> None:
    sample = {
        "input_data": {"columns": ["image", "text"], "index": [0], "data": [[b64(make_image()), TEXT]]},
        "params": {"get_scaling_factor": True},
    }
    images, texts, scale = answer(json.dumps(sample).encode(), model)
    np.testing.assert_array_equal(np.float32(images["image_features"]), model.embed_images([make_image()]))
    np.testing.assert_array_equal(np.float32(texts["text_features"]), model.embed_texts([TEXT]))
    assert scale == {"scaling_factor": LOGIT_SCALE}
    (row,) = answer(json.dumps(sample).encode(), model, response_shape="rows")
    assert row == {**images, "text_features": texts["text_features"][0], **scale}


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_image_formats(model: MedImageInsight, form: str) -> None:
    image = make_image(form=form)
    (row,) = answer(body([b64(image), None]), model)
    assert row.keys() == {"image_features", "scaling_factor"}
    np.testing.assert_array_equal(np.float32(row["image_features"]), model.embed_images([image]))


def test_dicom(model: MedImageInsight) -> None:
    path = get_testdata_file("CT_small.dcm", download=False)
    with open(path, "rb") as file:  # noqa: PTH123
        (row,) = answer(body([b64(file.read()), None]), model)
    np.testing.assert_array_equal(np.float32(row["image_features"][0]), model.embed_images(path))


def test_mixed_rows_keep_their_order_and_bad_rows_fail_alone(model: MedImageInsight) -> None:
    rows = [
        [b64(make_image(1)), "a"],
        ["", "b"],
        [b64(b"not an image"), "c"],
        [b64(make_image(2))],
        [None, "\ud800"],
        [None, None],
        [b64(make_image(1)), 7],
        {"text": "a"},
    ]
    found = answer(body(*rows), model)
    codes = [row.get("error", {}).get("code") for row in found]
    assert codes == [
        None,
        None,
        "image_not_an_image",
        None,
        "text_not_unicode",
        "row_empty",
        "text_not_a_string",
        None,
    ]
    assert [sorted(row) for row in found if "error" not in row] == [
        ["image_features", "scaling_factor", "text_features"],
        ["scaling_factor", "text_features"],
        ["image_features", "scaling_factor"],
        ["scaling_factor", "text_features"],
    ]
    np.testing.assert_allclose(
        np.float32([found[0]["image_features"][0], found[3]["image_features"][0]]),
        model.embed_images([make_image(1), make_image(2)]),
        atol=1e-6,
    )
    np.testing.assert_allclose(np.float32(found[1]["text_features"]), model.embed_texts("b"), atol=1e-6)
    assert found[0]["text_features"] == found[7]["text_features"]


@pytest.mark.parametrize(
    ("row", "status", "code"),
    [
        ([b64(b"not an image"), None], 422, "image_not_an_image"),
        ([b64(make_image()[:200]), None], 422, "image_truncated"),
        ([None, "a" * 100_001], 422, "text_too_long"),
        ([None, None], 422, "row_empty"),
        ("a", 400, "row_invalid"),
    ],
)
def test_a_single_bad_row_is_a_4xx(model: MedImageInsight, row: Any, status: int, code: str) -> None:
    found = score(body(row, get_scaling_factor=True), model)
    assert (found.status, found.body["error"]["code"]) == (status, code)  # type: ignore[call-overload]


@pytest.mark.parametrize("bad", [[b64(b"bad"), "a"], [None, "\ud800"], [None, None]])
def test_on_error_fail(model: MedImageInsight, bad: Any) -> None:
    found = score(body([b64(make_image()), "a"], bad, on_error="fail"), model)
    assert found.status == 422
    assert found.body["error"]["message"].startswith("row 1, counted from 0: expected ")  # type: ignore[call-overload]


def test_refused_requests(model: MedImageInsight) -> None:
    limits = RequestLimits(max_bytes=1000, max_rows=1)
    assert score(b"not json", model).status == 400
    assert score(b"{}", model).status == 400
    assert score(body([None, "a"], preprocessing="other"), model).status == 400
    assert score(body([None, "a"], [None, "b"]), model, limits=limits).status == 413
    assert score(body([None, "a" * 1000]), model, limits=limits).status == 413


def test_each_image_and_text_is_embedded_once(model: MedImageInsight, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[str, int]] = []
    embed_pixels, embed_tokens = model._engine.embed_pixels, model._engine.embed_tokens
    monkeypatch.setattr(
        model._engine, "embed_pixels", lambda batch: (sizes.append(("image", len(batch))), embed_pixels(batch))[1]
    )
    monkeypatch.setattr(
        model._engine, "embed_tokens", lambda rows: (sizes.append(("text", len(rows))), embed_tokens(rows))[1]
    )
    found = answer(body(*[[b64(make_image()), text] for text in ("a", "b", "a", "b")]), model)
    assert sizes == [("text", 2), ("image", 1)]
    assert found[0] == found[2] != found[1]


def test_the_request_s_preprocessing_precedes_the_manifest_s(model: MedImageInsight) -> None:
    image = make_image(form="JPEG")

    def scored(**params: Any) -> np.ndarray:
        (row,) = answer(body([b64(image), None], **params), model)
        return np.float32(row["image_features"][0])

    def embedded(**changes: Any) -> np.ndarray:
        return model.embed_images(image, preprocessing=dataclasses.replace(model.preprocessing, **changes))

    size, quality = "image_standardization_image_size", "image_standardization_jpeg_compression_ratio"
    azure = embedded(default="azure")
    assert model.manifest.scoring_preprocessing == "direct"
    np.testing.assert_array_equal(scored(), embedded(default="direct"))
    np.testing.assert_array_equal(scored(preprocessing="azure"), azure)
    np.testing.assert_array_equal(scored(preprocessing="azure", **{size: 0, quality: 0}), azure)
    np.testing.assert_array_equal(scored(preprocessing="azure", **{size: 512, quality: 75}), azure)
    other = embedded(default="azure", standardization_size=20, jpeg_quality=10)
    np.testing.assert_array_equal(scored(preprocessing="azure", **{size: 20, quality: 10}), other)
    assert not np.array_equal(azure, other)
    assert not np.array_equal(azure, scored())


def test_a_manifest_with_azure_scoring_standardizes_by_default(toy_bundle: Path, tmp_path: Path) -> None:
    hosted = tmp_path / "hosted"
    hosted.mkdir()
    for file in toy_bundle.iterdir():
        (hosted / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((hosted / "manifest.json").read_text())
    (hosted / "manifest.json").write_text(json.dumps({**manifest, "scoring_preprocessing": "azure"}))
    with MedImageInsight.load(hosted, threads=1) as model:
        (row,) = answer(body([b64(make_image()), None]), model)
        azure = model.embed_images(
            make_image(), preprocessing=dataclasses.replace(model.preprocessing, default="azure")
        )
        np.testing.assert_array_equal(np.float32(row["image_features"][0]), azure)


SECRET = "Doe^Jane"


@pytest.mark.parametrize(
    "request_body",
    [
        SECRET.encode(),
        json.dumps({SECRET: 1}).encode(),
        json.dumps({"input_data": SECRET}).encode(),
        json.dumps({"input_data": {"columns": [SECRET], "data": []}}).encode(),
        json.dumps({"input_data": {SECRET: [SECRET]}}).encode(),
        json.dumps({"input_data": [], "params": {"preprocessing": SECRET}}).encode(),
        json.dumps({"input_data": [], "params": SECRET}).encode(),
        body([SECRET, None]),
        body([f"https://example.org/{SECRET}.png", None]),
        body([f"data:{SECRET},abc", None]),
        body([{SECRET: SECRET}, None]),
        body([None, [SECRET]]),
        body([None, f"{SECRET}\ud800"]),
        body([b64(SECRET.encode()), None]),
        body(SECRET),
    ],
)
def test_no_error_quotes_the_request(model: MedImageInsight, request_body: bytes) -> None:
    found = score(request_body, model)
    assert found.status in (400, 422)
    assert SECRET.encode() not in to_json(found)
    assert found.body.keys() == {"error"}  # type: ignore[union-attr]


CELLS = st.none() | st.text(max_size=12) | st.integers() | st.sampled_from([b64(make_image()), b64(make_image()[:90])])
ROWS = st.lists(CELLS, max_size=3) | st.dictionaries(st.sampled_from(["image", "text", "id"]), CELLS) | CELLS


@settings(max_examples=30, deadline=None)
@given(st.lists(ROWS, max_size=5), st.sampled_from(["auto", "rows", "card"]), st.sampled_from(["in_place", "fail"]))
def test_every_row_has_a_result(model: MedImageInsight, rows: list[Any], shape: str, on_error: str) -> None:
    found = score(body(*rows, response_shape=shape, on_error=on_error), model)
    printed = json.loads(to_json(found))
    if found.status != 200:
        assert found.status in (400, 422)
        assert printed["error"].keys() == {"code", "message"}
    elif shape == "card" and printed and "error" not in printed[0]:
        *lists, scale = printed
        assert scale == {"scaling_factor": LOGIT_SCALE}
        assert all(len(cells) == len(rows) for entry in lists for cells in entry.values())
    else:
        assert len(printed) == len(rows)
