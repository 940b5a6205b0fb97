"""Classification, tags, comparison and the picture as the model sees it: HTTP gives what the Python calls give."""

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

ONE, OTHER = make_image(1), make_image(2)
MANY = [str(number) for number in range(100_000)]
BROKEN = base64.b64encode(b"no picture").decode()


def frames(*seeds: int) -> bytes:
    """A TIFF with one page for each seed."""
    first, *others = (Image.open(io.BytesIO(make_image(seed))) for seed in seeds)
    encoded = io.BytesIO()
    first.save(encoded, "TIFF", save_all=True, append_images=others)
    return encoded.getvalue()


def refusal(server: ServerProcess, path: str, body: Any) -> tuple[int, str]:
    reply = server.post(path, body)
    return reply.status, reply.json["error"]["code"]


def test_labels_are_classified_as_the_python_call_does(server: ServerProcess, toy: MedImageInsight):
    body = {
        "images": [b64(ONE), BROKEN, b64(OTHER)],
        "labels": ["normal", "nodule"],
        "template": "x-ray chest {}",
    }
    answer = server.post("/api/classify", body).json
    expected = toy.classify([ONE, OTHER], ["normal", "nodule"], template="x-ray chest {}")
    first, broken, second = answer["results"]
    assert answer["model"] == "toy"
    assert broken["error"]["code"] == "image_not_an_image"
    for one, row in ((first, expected[0]), (second, expected[1])):
        assert list(one["probabilities"]) == ["normal", "nodule"]
        assert list(one["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-6)


def test_several_prompts_of_a_label_and_fields_of_a_template(server: ServerProcess, toy: MedImageInsight):
    labels = {"lung": ["chest", "thorax"], "skin": "skin"}
    template, fields = ["{modality} {}", "{}"], {"modality": "x-ray"}
    body = {"images": [b64(ONE)], "labels": labels, "template": template, "fields": fields}
    (one,) = server.post("/api/classify", body).json["results"]
    expected = toy.classify(ONE, labels, template=template, fields=fields)
    assert list(one["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_frame_of_a_multi_frame_image_is_chosen(server: ServerProcess, toy: MedImageInsight):
    data = frames(1, 2)
    body = {"images": [b64(data)], "frame": 1, "labels": ["normal", "nodule"]}
    (one,) = server.post("/api/classify", body).json["results"]
    expected = toy.classify(data, ["normal", "nodule"], frame=1)
    assert list(one["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    (late,) = server.post("/api/classify", body | {"frame": 2}).json["results"]
    assert late["error"]["code"] == "image_frame_out_of_range"


@pytest.mark.parametrize("name", ["modality", "anatomy", "view"])
def test_tags_of_a_vocabulary(server: ServerProcess, toy: MedImageInsight, name: str):
    answer = server.post("/api/tag", {"images": [b64(ONE), BROKEN], "vocabulary": name, "threshold": 0.2}).json
    (expected,) = toy.tag([ONE], name, threshold=0.2)
    tags = answer["results"][0]["tags"]
    assert answer["results"][1]["error"]["code"] == "image_not_an_image"
    assert set(tags) == set(expected)
    assert all(tags[tag]["present"] == (tags[tag]["score"] >= 0.2) for tag in tags)
    assert [tags[tag]["score"] for tag in tags] == pytest.approx([expected[tag].score for tag in tags], abs=1e-6)


def test_images_and_texts_are_compared(server: ServerProcess, toy: MedImageInsight):
    body = {"a": [{"image": b64(ONE)}, {"text": "chest"}], "b": [{"image": b64(OTHER)}]}
    similarity = server.post("/api/compare", body).json["similarity"]
    assert similarity == pytest.approx(toy.compare([ONE, Text("chest")], [OTHER]), abs=1e-6)
    del body["b"]
    each_with_each = np.array(server.post("/api/compare", body).json["similarity"])
    assert each_with_each == pytest.approx(each_with_each.T)
    assert np.diag(each_with_each) == pytest.approx([1, 1], abs=1e-6)


def test_frames_are_compared_with_each_other(server: ServerProcess, toy: MedImageInsight):
    data = b64(frames(1, 2))
    body = {"a": [{"image": data}, {"image": data, "frame": 1}]}
    similarity = server.post("/api/compare", body).json["similarity"]
    assert similarity[0][1] == pytest.approx(float(toy.compare(ONE, OTHER)), abs=1e-6)


def test_the_place_of_a_bad_item_is_named(server: ServerProcess):
    reply = server.post("/api/compare", {"a": [{"image": b64(ONE)}, {"image": BROKEN}]})
    assert reply.status == 422
    assert reply.json["error"]["message"].startswith("a[1]: ")
    assert refusal(server, "/api/compare", {"a": [{"image": b64(ONE), "text": "both"}]}) == (
        400,
        "request_invalid",
    )
    assert refusal(server, "/api/compare", {"a": [{"text": "chest"}], "b": []}) == (400, "request_invalid")


def test_a_picture_is_shown_as_the_model_sees_it(server: ServerProcess, toy: MedImageInsight):
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
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a"], "lables": ["b"]}),
        ("/api/classify", {"images": [b64(ONE)], "labels": {"a": [1]}}),
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a"], "template": 1}),
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a"], "fields": {"a": 1}}),
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a"], "frame": -1}),
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a"], "frame": True}),
        ("/api/tag", {"images": [b64(ONE)]}),
        ("/api/tag", {"images": [b64(ONE)], "vocabulary": "modality", "tagger": "t"}),
        ("/api/tag", {"images": [b64(ONE)], "vocabulary": "modality", "threshold": "0.5"}),
        ("/api/compare", {}),
        ("/api/compare", {"a": ["chest"]}),
        ("/api/view", {}),
    ],
)
def test_requests_of_another_form_are_refused(server: ServerProcess, path: str, body: Any):
    assert refusal(server, path, body) == (400, "request_invalid")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a", "a"]}, 422, "labels_duplicate"),
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a"], "template": "x"}, 422, "template_invalid"),
        (
            "/api/classify",
            {"images": [b64(ONE)], "labels": [str(n) for n in range(2000)]},
            413,
            "request_too_many_rows",
        ),
        (  # a short body that asks for ten thousand million prompts
            "/api/classify",
            {"images": [b64(ONE)], "labels": MANY, "template": [f"{one} {{}}" for one in MANY]},
            413,
            "request_too_many_rows",
        ),
        (
            "/api/classify",
            {"images": [b64(ONE)], "labels": {"a": ["b"] * 600, "c": ["d"] * 600}},
            413,
            "request_too_many_rows",
        ),
        (
            "/api/classify",
            {"images": [b64(ONE)], "labels": ["a"], "template": "x" * 100_000 + "{}"},
            422,
            "text_too_long",
        ),
        (
            "/api/classify",
            {"images": [b64(ONE)], "labels": ["a"], "template": "{b}" * 1000 + "{}", "fields": {"b": "b" * 1000}},
            422,
            "text_too_long",
        ),
        ("/api/classify", {"images": [b64(ONE)], "labels": ["a"], "model": "other"}, 404, "model_not_found"),
        ("/api/tag", {"images": [b64(ONE)], "vocabulary": "colour"}, 422, "vocabulary_unknown"),
        ("/api/tag", {"images": [b64(ONE)], "vocabulary": "view", "threshold": 2}, 422, "threshold_invalid"),
        ("/api/tag", {"images": [b64(ONE)], "tagger": "none"}, 404, "tagger_not_found"),
    ],
)
def test_what_cannot_be_done_says_why(server: ServerProcess, path: str, body: Any, status: int, code: str):
    assert refusal(server, path, body) == (status, code)
