"""Each tool on real images, as an agent's client sees it."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("mcp.server", reason="the tools for agents need the mcp extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from jsonschema import Draft202012Validator
from PIL import Image

from medimageinsight import MedImageInsight
from medimageinsight.tasks import Text
from tests.windowed_ct import BONE, LUNG, ct_bytes, windowed

FILES = ["CT_small.dcm", "examples_rgb_color.dcm", "MR_small.dcm"]
OF_OTHER_KINDS = {"other_than_same": "kind"}
WITH_THUMBNAILS = {"pictures": True}
LABELS = ["computed tomography chest axial", "ultrasound breast Benign Lesion", "magnetic resonance imaging brain"]


@pytest.fixture(scope="module")
def model():
    with MedImageInsight.load("mini") as loaded:
        yield loaded


def test_tools_are_described(agent) -> None:
    tools = {tool.name: tool for tool in agent.portal.call(agent.client.list_tools).tools}
    assert list(tools) == ["classify", "search", "compare", "tag", "label_examples"]
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)
        assert tool.annotations.read_only_hint
        assert len(tool.description) > 100
        assert all("description" in member for member in tool.input_schema["properties"].values())
    assert "- cases: kind (string)" in tools["search"].description
    assert "- kinds: CT, MR, US" in tools["tag"].description
    assert agent.client.instructions.count("not for diagnosis or treatment") == 1
    assert str(agent.client.server_info.name) == "medimageinsight"


def test_classify_by_labels(agent, workspace, model) -> None:
    found = agent.ask("classify", images=FILES, labels=LABELS)["results"]
    expected = model.classify([workspace.scans / file for file in FILES], LABELS)
    for file, result, row in zip(FILES, found, expected, strict=True):
        assert result["image"] == file
        assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert result["label"] == LABELS[int(row.argmax())] == next(iter(result["probabilities"]))
        assert [result["probabilities"][label] for label in LABELS] == pytest.approx(row.tolist(), abs=1e-4)


def test_classify_with_prompts_and_a_template(agent, workspace, model) -> None:
    labels = {"head": "head", "chest": ["chest", "thorax"]}
    template = "computed tomography {} axial"
    file = workspace.scans / FILES[0]
    (result,) = agent.ask("classify", images=[str(file)], labels=labels, template=template)["results"]
    expected = model.classify(file, labels, template=template)
    assert [result["probabilities"][label] for label in labels] == pytest.approx(expected.tolist(), abs=1e-4)


def test_classify_by_neighbours_with_evidence(agent, workspace) -> None:
    answer = agent.call("classify", images=["more/again.dcm"], label_column="kind", k=3, **WITH_THUMBNAILS)
    (result,) = answer.structured_content["results"]
    assert result["label"] == "CT"
    assert len(result["neighbours"]) == 3
    best = result["neighbours"][0]
    assert (best["id"], best["label"], best["picture"]) == ("CT_small.dcm", "CT", 1)
    assert best["score"] == pytest.approx(1, abs=1e-3)
    assert sum(neighbour["weight"] for neighbour in result["neighbours"]) == pytest.approx(1, abs=1e-3)
    assert len(answer.content) == 4  # the text and three thumbnails


def test_search_by_image_text_and_id(agent, workspace) -> None:
    hits = agent.ask("search", image=str(workspace.scans / FILES[0]), k=2)["hits"]
    assert hits[0]["id"] == FILES[0]
    assert hits[0]["metadata"] == {"kind": "CT"}
    assert hits[0]["score"] > hits[1]["score"]
    assert "picture" not in hits[0]
    text = agent.ask("search", text="ultrasound breast", store="cases", k=1)
    assert text["store"] == "cases"
    assert text["hits"][0]["metadata"]["kind"] == "US"
    others = agent.ask("search", id=FILES[0], **OF_OTHER_KINDS)["hits"]
    assert {hit["metadata"]["kind"] for hit in others} == {"MR", "US"}
    assert not agent.ask("search", text="dermoscopy skin", min_score=0.99)["hits"]
    some = agent.ask("search", image=FILES[0], where="kind in ('US', 'MR')", k=100)["hits"]
    assert {hit["metadata"]["kind"] for hit in some} == {"MR", "US"}


def test_thumbnails_are_small_and_in_the_order_of_the_hits(agent) -> None:
    result = agent.call("search", text="computed tomography head", k=6, **WITH_THUMBNAILS)
    hits = result.structured_content["hits"]
    assert [hit["picture"] for hit in hits] == list(range(1, len(hits) + 1))
    thumbnails = result.content[1:]
    assert len(thumbnails) == len(hits)
    for thumbnail in thumbnails:
        assert thumbnail.mime_type == "image/png"
        with Image.open(io.BytesIO(base64.b64decode(thumbnail.data))) as image:
            assert max(image.size) <= 256


def test_compare(agent, workspace, model) -> None:
    images = [{"image": file} for file in FILES]
    texts = [{"text": label} for label in LABELS]
    found = agent.ask("compare", a=images, b=texts)
    assert (found["rows"], found["columns"]) == (FILES, LABELS)
    expected = model.compare([workspace.scans / file for file in FILES], [Text(label) for label in LABELS])
    np.testing.assert_allclose(found["similarity"], expected, atol=1e-4)
    both = agent.ask("compare", a=[*images, *texts])["similarity"]
    assert np.diag(both) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(both, np.transpose(both), atol=1e-4)


def test_tag_by_vocabulary_and_by_tagger(agent, workspace, model) -> None:
    (result,) = agent.ask("tag", images=FILES[:1], vocabulary="modality")["results"]
    assert result["present"] == ["computed tomography"]
    assert sum(tag["score"] for tag in result["tags"].values()) == pytest.approx(1, abs=1e-3)
    low = agent.ask("tag", images=FILES[:1], vocabulary="modality", threshold=0)["results"][0]
    assert len(low["present"]) == len(low["tags"]) > 1
    for result in agent.ask("tag", images=FILES, tagger="kinds")["results"]:
        assert set(result["tags"]) == {"CT", "MR", "US"}
        assert all(tag["present"] == (name in result["present"]) for name, tag in result["tags"].items())


def test_label_examples_are_prompts_that_classify_takes(agent) -> None:
    found = agent.ask("label_examples", query="benign breast", modality="US")
    assert found["matched"]
    assert "modality anatomy view finding" in found["form"]
    assert found["examples"][0]["prompt"] == "ultrasound breast Benign Lesion"
    assert found["examples"][0]["finding"] == "Benign Lesion"
    prompts = [example["prompt"] for example in agent.ask("label_examples", limit=50)["examples"]]
    assert len(set(prompts)) == 50
    (result,) = agent.ask("classify", images=FILES[:1], labels=prompts)["results"]
    assert result["label"].startswith(("computed tomography", "ct"))
    assert not agent.ask("label_examples", query="zebra")["matched"]
    assert agent.ask("label_examples", modality="telepathy")["total"] == 0


def test_a_broken_file_fails_alone(agent) -> None:
    bad, good = agent.ask("classify", images=["broken.dcm", FILES[0]], labels=LABELS)["results"]
    assert bad["error"]["code"].startswith("image_")
    assert good["label"] == LABELS[0]
    bad, good = agent.ask("tag", images=["broken.dcm", FILES[0]], vocabulary="modality")["results"]
    assert bad["error"]["code"].startswith("image_")
    assert good["present"] == ["computed tomography"]
    bad, good = agent.ask("classify", images=["broken.dcm", FILES[0]], label_column="kind")["results"]
    assert bad["error"]["code"].startswith("image_")
    assert good["label"] == "CT"
    error = agent.refused("compare", a=[{"image": FILES[0]}], b=[{"text": "x"}, {"image": "broken.dcm"}])
    assert error["code"].startswith("image_")
    assert error["message"].startswith("b[1]: ")


def test_many_calls_at_once(agent) -> None:
    def classify(number: int) -> str:
        file = FILES[number % len(FILES)]
        (result,) = agent.ask("classify", images=[file], labels=LABELS)["results"]
        return result["image"] + " " + result["label"]

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(classify, range(36)))
    assert found == [classify(number) for number in range(3)] * 12


def test_lists_as_json_text_and_null_arguments(agent) -> None:
    """Some clients send lists as JSON text, and null for what they leave out."""
    expected = agent.ask("classify", images=FILES, labels=LABELS)
    assert agent.ask("classify", images=json.dumps(FILES), labels=json.dumps(LABELS), k=None, store=None) == expected
    labels = {"head": "head", "chest": ["chest", "thorax"]}
    expected = agent.ask("classify", images=FILES[:1], labels=labels)
    assert agent.ask("classify", images=FILES[:1], labels=json.dumps(labels)) == expected


def test_windows(agent, workspace, model) -> None:
    file = workspace.scans / "window.dcm"
    file.write_bytes(ct_bytes())
    by_hand = {name: windowed(window) for name, window in (("lung", LUNG), ("bone", BONE))}
    for window, pixels in by_hand.items():
        (found,) = agent.ask("classify", images=[file.name], labels=LABELS, window=window)["results"]
        (expected,) = model.classify([pixels], LABELS)
        assert [found["probabilities"][label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-4)
        (tagged,) = agent.ask("tag", images=[file.name], vocabulary="modality", window=window)["results"]
        scores = {name: tag.score for name, tag in model.tag(pixels, "modality").items()}
        assert {name: tag["score"] for name, tag in tagged["tags"].items()} == pytest.approx(scores, abs=1e-4)
    items = {"a": [{"image": file.name}], "b": [{"text": LABELS[0]}]}
    lung, bone = (agent.ask("compare", **items, window=window)["similarity"][0][0] for window in ("lung", [400, 1800]))
    text = model.embed_texts(LABELS[0])
    assert lung == pytest.approx(float(model.embed_images(by_hand["lung"]) @ text), abs=1e-4)
    assert bone == pytest.approx(float(model.embed_images(by_hand["bone"]) @ text), abs=1e-4)
    assert agent.refused("search", image=file.name, window="lung")["code"] == "store_other_preprocessing"
    assert (
        agent.refused("tag", images=[file.name], vocabulary="modality", window="lungs")["code"] == "arguments_invalid"
    )
    file.unlink()


def test_the_images_of_a_study_are_pooled(agent, workspace) -> None:
    (heart,) = agent.ask("classify", images=["examples_ybr_color.dcm"], labels=["x-ray", "skin"], select="even:4")[
        "results"
    ]
    (first,) = agent.ask("classify", images=["examples_ybr_color.dcm"], labels=["x-ray", "skin"], frame=3)["results"]
    assert sum(heart["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert heart["cosine"] != first["cosine"]
    (folder,) = agent.ask("tag", images=["more"], vocabulary="modality")["results"]
    (alone,) = agent.ask("tag", images=["more/again.dcm"], vocabulary="modality")["results"]
    assert folder["tags"] == alone["tags"]
    assert agent.refused("search", image="more", frame=1)["code"] == "image_frame_out_of_range"
    assert agent.refused("search", image="more", frame=1, select="all")["code"] == "selection_invalid"
