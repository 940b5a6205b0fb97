"""Each tool on real pictures, as an agent's client sees it."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("mcp.server", reason="the tools for agents need the mcp extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from jsonschema import Draft202012Validator
from PIL import Image

from medimageinsight import MedImageInsight
from medimageinsight.tasks import Text

FILES = ["CT_small.dcm", "examples_rgb_color.dcm", "MR_small.dcm"]
LABELS = ["computed tomography chest axial", "ultrasound breast Benign Lesion", "magnetic resonance imaging brain"]


@pytest.fixture(scope="module")
def model():
    with MedImageInsight.load("mini") as loaded:
        yield loaded


def test_the_tools_say_what_they_are(agent) -> None:
    tools = {tool.name: tool for tool in agent.portal.call(agent.client.list_tools).tools}
    assert list(tools) == ["classify", "search", "compare", "tag", "label_examples"]
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)
        assert tool.annotations.read_only_hint
        assert len(tool.description) > 100
        assert all("description" in one for one in tool.input_schema["properties"].values())
    assert "- cases: kind (string)" in tools["search"].description
    assert "- kinds: CT, MR, US" in tools["tag"].description
    assert agent.client.instructions.count("not for diagnosis or treatment") == 1
    assert str(agent.client.server_info.name) == "medimageinsight"


def test_classify_by_labels(agent, place, model) -> None:
    found = agent.ask("classify", images=FILES, labels=LABELS)["results"]
    expected = model.classify([place.scans / file for file in FILES], LABELS)
    for file, one, row in zip(FILES, found, expected, strict=True):
        assert one["image"] == file
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert one["label"] == LABELS[int(row.argmax())] == next(iter(one["probabilities"]))
        assert [one["probabilities"][label] for label in LABELS] == pytest.approx(row.tolist(), abs=1e-4)


def test_classify_with_prompts_and_a_template(agent, place, model) -> None:
    labels = {"head": "head", "chest": ["chest", "thorax"]}
    template = "computed tomography {} axial"
    (one,) = agent.ask("classify", images=[str(place.scans / FILES[0])], labels=labels, template=template)["results"]
    expected = model.classify(place.scans / FILES[0], labels, template=template)
    assert [one["probabilities"][label] for label in labels] == pytest.approx(expected.tolist(), abs=1e-4)


def test_classify_by_a_stores_neighbours_with_its_evidence(agent, place) -> None:
    result = agent.call("classify", images=["more/again.dcm"], label_column="kind", k=3, pictures=True)
    (one,) = result.structured_content["results"]
    assert one["label"] == "CT"
    assert len(one["neighbours"]) == 3
    best = one["neighbours"][0]
    assert (best["id"], best["label"], best["picture"]) == ("CT_small.dcm", "CT", 1)
    assert best["score"] == pytest.approx(1, abs=1e-3)
    assert sum(voter["weight"] for voter in one["neighbours"]) == pytest.approx(1, abs=1e-3)
    assert len(result.content) == 4  # the text and three pictures


def test_search_by_image_text_and_id(agent, place) -> None:
    hits = agent.ask("search", image=str(place.scans / FILES[0]), k=2)["hits"]
    assert hits[0]["id"] == FILES[0]
    assert hits[0]["metadata"] == {"kind": "CT"}
    assert hits[0]["score"] > hits[1]["score"]
    assert "picture" not in hits[0]
    text = agent.ask("search", text="ultrasound breast", store="cases", k=1)
    assert text["store"] == "cases"
    assert text["hits"][0]["metadata"]["kind"] == "US"
    others = agent.ask("search", id=FILES[0], exclude_same="kind")["hits"]
    assert {hit["metadata"]["kind"] for hit in others} == {"MR", "US"}
    assert not agent.ask("search", text="dermoscopy skin", min_score=0.99)["hits"]
    some = agent.ask("search", image=FILES[0], where="kind in ('US', 'MR')", k=100)["hits"]
    assert {hit["metadata"]["kind"] for hit in some} == {"MR", "US"}


def test_pictures_are_small_and_in_the_hits_order(agent) -> None:
    result = agent.call("search", text="computed tomography head", k=6, pictures=True)
    hits = result.structured_content["hits"]
    assert [hit["picture"] for hit in hits] == list(range(1, len(hits) + 1))
    shown = result.content[1:]
    assert len(shown) == len(hits)
    for one in shown:
        assert one.mime_type == "image/png"
        with Image.open(io.BytesIO(base64.b64decode(one.data))) as picture:
            assert max(picture.size) <= 256


def test_compare(agent, place, model) -> None:
    images = [{"image": file} for file in FILES]
    texts = [{"text": label} for label in LABELS]
    found = agent.ask("compare", a=images, b=texts)
    assert (found["rows"], found["columns"]) == (FILES, LABELS)
    expected = model.compare([place.scans / file for file in FILES], [Text(label) for label in LABELS])
    np.testing.assert_allclose(found["similarity"], expected, atol=1e-4)
    both = agent.ask("compare", a=[*images, *texts])["similarity"]
    assert np.diag(both) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(both, np.transpose(both), atol=1e-4)


def test_tag_by_vocabulary_and_by_tagger(agent, place, model) -> None:
    (one,) = agent.ask("tag", images=FILES[:1], vocabulary="modality")["results"]
    assert one["present"] == ["computed tomography"]
    assert sum(tag["score"] for tag in one["tags"].values()) == pytest.approx(1, abs=1e-3)
    low = agent.ask("tag", images=FILES[:1], vocabulary="modality", threshold=0)["results"][0]
    assert len(low["present"]) == len(low["tags"]) > 1
    found = agent.ask("tag", images=FILES, tagger="kinds")["results"]
    for one in found:
        assert set(one["tags"]) == {"CT", "MR", "US"}
        assert all(tag["present"] == (name in one["present"]) for name, tag in one["tags"].items())


def test_label_examples_are_prompts_that_classify_takes(agent) -> None:
    found = agent.ask("label_examples", query="benign breast", modality="US")
    assert found["matched"]
    assert "modality anatomy view finding" in found["form"]
    assert found["examples"][0]["prompt"] == "ultrasound breast Benign Lesion"
    assert found["examples"][0]["finding"] == "Benign Lesion"
    prompts = [one["prompt"] for one in agent.ask("label_examples", limit=50)["examples"]]
    assert len(set(prompts)) == 50
    (one,) = agent.ask("classify", images=FILES[:1], labels=prompts)["results"]
    assert one["label"].startswith(("computed tomography", "ct"))
    assert not agent.ask("label_examples", query="zebra")["matched"]
    assert agent.ask("label_examples", modality="telepathy")["total"] == 0


def test_a_broken_file_costs_its_own_row(agent) -> None:
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
    def ask(number: int) -> str:
        file = FILES[number % len(FILES)]
        (one,) = agent.ask("classify", images=[file], labels=LABELS)["results"]
        return one["image"] + " " + one["label"]

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, range(36)))
    assert found == [ask(number) for number in range(3)] * 12
