"""Files with several images in requests: pooled vectors, scores of each image, and the series of a file."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the server needs the serve extra")

from medimageinsight import studies
from medimageinsight.images import Limits

if TYPE_CHECKING:
    from tests.serve.server_process import Reply, ServerProcess

SIZE = 16
LABELS = {"labels": ["x-ray", "skin"]}


def make_stack(count: int = 5) -> bytes:
    """A TIFF with pages of noise."""
    import tifffile

    pages = np.random.default_rng(0).integers(0, 255, (count, SIZE, SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pages, photometric="rgb")
    return buffer.getvalue()


def make_volume(count: int = 4) -> bytes:
    """A NIfTI file of noise."""
    nibabel = pytest.importorskip("nibabel", reason="volumes need the volumes extra")
    values = np.random.default_rng(1).integers(0, 900, (SIZE, SIZE, count)).astype(np.int16)
    data: bytes = nibabel.Nifti1Image(values, np.eye(4)).to_bytes()
    return data


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(server: ServerProcess, path: str, **body: Any) -> Any:
    return server.post(path, body).json


def score(server: ServerProcess, data: bytes, **params: Any) -> Reply:
    table = {"columns": ["image"], "data": [[encoded(data)]]}
    return server.post("/score", {"input_data": table, "params": params})


def embed(server: ServerProcess, data: bytes, **params: Any) -> list[float]:
    response = score(server, data, **params)
    assert response.status == 200, response.json
    features: list[float] = response.json[0]["image_features"][0]
    return features


def test_the_vector_of_a_choice_is_that_of_its_pooled_images(server: ServerProcess) -> None:
    data = make_stack()
    frames = np.array([embed(server, data, frame=frame) for frame in (0, 2, 4)])
    pooled = embed(server, data, select="every:2")
    np.testing.assert_allclose(pooled, studies.pool(frames), atol=1e-5)
    largest = embed(server, data, select="every:2", pooling="max")
    np.testing.assert_allclose(largest, studies.pool(frames, "max"), atol=1e-5)


def test_a_slice_of_a_volume_is_a_frame(server: ServerProcess) -> None:
    data = make_volume()
    (study,) = studies.read(data)
    slices = [np.array(image.decode(window=None, limits=Limits()).image) for image in study.series[0].images]
    first, last = embed(server, data), embed(server, data, frame=len(slices) - 1)
    for pixels, vector in ((slices[0], first), (slices[-1], last)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        np.testing.assert_allclose(embed(server, buffer.getvalue()), vector, atol=1e-5)
    refused = server.post(
        "/score", {"input_data": {"data": [[encoded(data)]], "columns": ["image"]}, "params": {"frame": 99}}
    )
    assert refused.json["error"]["code"] == "image_frame_out_of_range"


def test_a_classification_has_the_scores_of_each_image(server: ServerProcess) -> None:
    data = make_stack()
    (result,) = post(server, "/api/classify", images=[encoded(data)], select="frames:1,3", **LABELS)["results"]
    assert [(part["series"], part["frame"]) for part in result["images"]] == [(0, 1), (0, 3)]
    alone = post(server, "/api/classify", images=[encoded(data)], frame=3, **LABELS)["results"][0]
    assert "images" not in alone
    for label, probability in result["images"][1]["probabilities"].items():
        assert probability == pytest.approx(alone["probabilities"][label], abs=1e-5)


def test_a_damaged_member_is_its_own_error_and_the_rest_is_used(server: ServerProcess) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.tif", make_stack(2))
        archive.writestr("notes.txt", "not an image")
    response = server.post("/api/study", {"image": encoded(buffer.getvalue()), "select": "all", "size": 32})
    assert response.status == 200, response.json
    (series,) = response.json["series"]
    assert series["count"] == 2
    assert [image["frame"] for image in series["images"]] == [0, 1]
    assert all(image["image"].startswith("data:image/png;base64,") for image in series["images"])


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"select": "even:4", "frame": 2}, "selection_invalid"),
        ({"pooling": "max"}, "selection_invalid"),
        ({"select": "odd"}, "selection_invalid"),
        ({"select": "frames:0-9000000"}, "selection_not_applicable"),
        ({"plane": "axial"}, "params_not_applicable"),
        ({"level": "study"}, "params_not_applicable"),
        ({"preprocessing": "direct", "image_standardization_image_size": 64}, "params_not_applicable"),
    ],
)
def test_known_parameters_that_do_not_apply_are_refused(
    server: ServerProcess, params: dict[str, Any], code: str
) -> None:
    body = {"input_data": {"columns": ["image"], "data": [[encoded(make_stack(2))]]}, "params": params}
    response = server.post("/score", body)
    assert response.status in (400, 422)
    assert response.json["error"]["code"] == code


def test_more_images_than_a_request_may_have_are_refused(server: ServerProcess) -> None:
    buffer = io.BytesIO()
    Image.new("L", (2, 2)).save(buffer, "TIFF", save_all=True, append_images=[Image.new("L", (2, 2))] * 1100)
    (result,) = post(server, "/api/classify", images=[encoded(buffer.getvalue())], select="all", **LABELS)["results"]
    assert result["error"]["code"] == "study_too_large"


def test_unknown_parameters_are_ignored_with_a_warning(server: ServerProcess) -> None:
    response = score(server, make_stack(1), zoom=2)
    assert response.status == 200
    assert "params_unknown" in response.headers["x-warnings"]


def test_the_times_of_a_loop_are_listed(server: ServerProcess) -> None:
    pydicom = pytest.importorskip("pydicom")
    heart = Path(pydicom.__file__).parent / "data" / "test_files" / "examples_ybr_color.dcm"
    if not heart.exists():
        pytest.skip("pydicom was installed without its test files")
    (series,) = post(server, "/api/study", image=encoded(heart.read_bytes()), select="frames:0,2", size=16)["series"]
    first, third = (image["time_ms"] for image in series["images"])
    assert series["kind"] == "loop"
    assert first == 0
    assert third > 0
