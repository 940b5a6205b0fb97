"""Classification, tags, comparison and the image as the model sees it: HTTP gives what the Python calls give."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from medimageinsight.preprocess import to_model_image
from medimageinsight.tasks import Text
from tests.serve.server_process import b64, make_image

if TYPE_CHECKING:
    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

IMAGE, OTHER_IMAGE = make_image(1), make_image(2)
MANY = [str(number) for number in range(100_000)]
BROKEN = base64.b64encode(b"no image").decode()


def frames(*seeds: int) -> bytes:
    """Return a TIFF with one page for each seed."""
    first, *others = (Image.open(io.BytesIO(make_image(seed))) for seed in seeds)
    encoded = io.BytesIO()
    first.save(encoded, "TIFF", save_all=True, append_images=others)
    return encoded.getvalue()


def refusal(server: ServerProcess, path: str, body: Any) -> tuple[int, str]:
    reply = server.post(path, body)
    return reply.status, reply.json["error"]["code"]


def test_classify_gives_what_python_gives(server: ServerProcess, toy: MedImageInsight):
    body = {
        "images": [b64(IMAGE), BROKEN, b64(OTHER_IMAGE)],
        "labels": ["normal", "nodule"],
        "template": "x-ray chest {}",
    }
    answer = server.post("/api/classify", body).json
    expected = toy.classify([IMAGE, OTHER_IMAGE], ["normal", "nodule"], template="x-ray chest {}")
    first, broken, second = answer["results"]
    assert answer["model"] == "toy"
    assert broken["error"]["code"] == "image_not_an_image"
    for result, row in ((first, expected[0]), (second, expected[1])):
        assert list(result["probabilities"]) == ["normal", "nodule"]
        assert list(result["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-6)


def test_classify_with_several_prompts_and_fields(server: ServerProcess, toy: MedImageInsight):
    labels = {"lung": ["chest", "thorax"], "skin": "skin"}
    template, fields = ["{modality} {}", "{}"], {"modality": "x-ray"}
    body = {"images": [b64(IMAGE)], "labels": labels, "template": template, "fields": fields}
    (result,) = server.post("/api/classify", body).json["results"]
    expected = toy.classify(IMAGE, labels, template=template, fields=fields)
    assert list(result["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_classify_a_frame(server: ServerProcess, toy: MedImageInsight):
    data = frames(1, 2)
    body = {"images": [b64(data)], "frame": 1, "labels": ["normal", "nodule"]}
    (result,) = server.post("/api/classify", body).json["results"]
    expected = toy.classify(data, ["normal", "nodule"], frame=1)
    assert list(result["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    (late,) = server.post("/api/classify", body | {"frame": 2}).json["results"]
    assert late["error"]["code"] == "image_frame_out_of_range"


@pytest.mark.parametrize("name", ["modality", "anatomy", "view"])
def test_tags_of_a_vocabulary(server: ServerProcess, toy: MedImageInsight, name: str):
    answer = server.post("/api/tag", {"images": [b64(IMAGE), BROKEN], "vocabulary": name, "threshold": 0.2}).json
    (expected,) = toy.tag([IMAGE], name, threshold=0.2)
    tags = answer["results"][0]["tags"]
    assert answer["results"][1]["error"]["code"] == "image_not_an_image"
    assert set(tags) == set(expected)
    assert all(tags[tag]["present"] == (tags[tag]["score"] >= 0.2) for tag in tags)
    assert [tags[tag]["score"] for tag in tags] == pytest.approx([expected[tag].score for tag in tags], abs=1e-6)


def test_compare_images_and_texts(server: ServerProcess, toy: MedImageInsight):
    body = {"a": [{"image": b64(IMAGE)}, {"text": "chest"}], "b": [{"image": b64(OTHER_IMAGE)}]}
    similarity = server.post("/api/compare", body).json["similarity"]
    assert similarity == pytest.approx(toy.compare([IMAGE, Text("chest")], [OTHER_IMAGE]), abs=1e-6)
    del body["b"]
    each_with_each = np.array(server.post("/api/compare", body).json["similarity"])
    assert each_with_each == pytest.approx(each_with_each.T)
    assert np.diag(each_with_each) == pytest.approx([1, 1], abs=1e-6)


def test_compare_frames(server: ServerProcess, toy: MedImageInsight):
    data = b64(frames(1, 2))
    body = {"a": [{"image": data}, {"image": data, "frame": 1}]}
    similarity = server.post("/api/compare", body).json["similarity"]
    assert similarity[0][1] == pytest.approx(float(toy.compare(IMAGE, OTHER_IMAGE)), abs=1e-6)


def test_compare_names_the_bad_item(server: ServerProcess):
    reply = server.post("/api/compare", {"a": [{"image": b64(IMAGE)}, {"image": BROKEN}]})
    assert reply.status == 422
    assert reply.json["error"]["message"].startswith("a[1]: ")
    assert refusal(server, "/api/compare", {"a": [{"image": b64(IMAGE), "text": "both"}]}) == (
        400,
        "request_invalid",
    )
    assert refusal(server, "/api/compare", {"a": [{"text": "chest"}], "b": []}) == (400, "request_invalid")


def test_view_shows_an_image_as_the_model_sees_it(server: ServerProcess, toy: MedImageInsight):
    from medimageinsight import images

    data = frames(1, 2, 3)
    answer = server.post("/api/view", {"image": b64(data), "frame": 1}).json
    shown = Image.open(io.BytesIO(base64.b64decode(answer.pop("picture").partition(",")[2])))
    expected = to_model_image(images.open(data, frame=1), toy.preprocessing)
    assert np.array_equal(np.asarray(shown), np.asarray(expected))
    assert not shown.info
    height, width = toy.preprocessing.image_size
    assert answer == {"width": 40, "height": 30, "frames": 3, "model_size": [height, width]}
    assert refusal(server, "/api/view", {"image": BROKEN}) == (422, "image_not_an_image")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/classify", []),
        ("/api/classify", {"images": [], "labels": ["a"]}),
        ("/api/classify", {"images": "x", "labels": ["a"]}),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a"], "lables": ["b"]}),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": {"a": [1]}}),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a"], "template": 1}),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a"], "fields": {"a": 1}}),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a"], "frame": -1}),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a"], "frame": True}),
        ("/api/tag", {"images": [b64(IMAGE)]}),
        ("/api/tag", {"images": [b64(IMAGE)], "vocabulary": "modality", "tagger": "t"}),
        ("/api/tag", {"images": [b64(IMAGE)], "vocabulary": "modality", "threshold": "0.5"}),
        ("/api/compare", {}),
        ("/api/compare", {"a": ["chest"]}),
        ("/api/view", {}),
    ],
)
def test_invalid_requests(server: ServerProcess, path: str, body: Any):
    assert refusal(server, path, body) == (400, "request_invalid")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a", "a"]}, 422, "labels_duplicate"),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a"], "template": "x"}, 422, "template_invalid"),
        (
            "/api/classify",
            {"images": [b64(IMAGE)], "labels": [str(n) for n in range(2000)]},
            413,
            "request_too_many_rows",
        ),
        (  # a short body that asks for ten thousand million prompts
            "/api/classify",
            {"images": [b64(IMAGE)], "labels": MANY, "template": [f"{text} {{}}" for text in MANY]},
            413,
            "request_too_many_rows",
        ),
        (
            "/api/classify",
            {"images": [b64(IMAGE)], "labels": {"a": ["b"] * 600, "c": ["d"] * 600}},
            413,
            "request_too_many_rows",
        ),
        (
            "/api/classify",
            {"images": [b64(IMAGE)], "labels": ["a"], "template": "x" * 100_000 + "{}"},
            422,
            "text_too_long",
        ),
        (
            "/api/classify",
            {"images": [b64(IMAGE)], "labels": ["a"], "template": "{b}" * 1000 + "{}", "fields": {"b": "b" * 1000}},
            422,
            "text_too_long",
        ),
        ("/api/classify", {"images": [b64(IMAGE)], "labels": ["a"], "model": "other"}, 404, "model_not_found"),
        ("/api/tag", {"images": [b64(IMAGE)], "vocabulary": "colour"}, 422, "vocabulary_unknown"),
        ("/api/tag", {"images": [b64(IMAGE)], "vocabulary": "view", "threshold": 2}, 422, "threshold_invalid"),
        ("/api/tag", {"images": [b64(IMAGE)], "tagger": "none"}, 404, "tagger_not_found"),
    ],
)
def test_error_codes(server: ServerProcess, path: str, body: Any, status: int, code: str):
    assert refusal(server, path, body) == (status, code)
