"""Other precisions: what is in the graphs, how near they are, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image, ImageDraw

from medimageinsight import MedImageInsight
from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER
from medimageinsight.bundle.bundle import half_graph
from medimageinsight.cli.main import main
from medimageinsight.errors import ConfigError, DatasetError, ParityError
from medimageinsight.export.agreement import Agreement, agree
from medimageinsight.export.convert import convert
from medimageinsight.export.parity import BOUNDS, read_parity
from medimageinsight.export.verify import verify_bundle

PICTURES = 24


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of two labels: boxes and rings in noise."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        label = ("dark_box", "ring")[number % 2]
        (root / label).mkdir(exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 120, (96, 96), dtype=np.uint8))
        draw, left = ImageDraw.Draw(picture), int(rng.integers(10, 40))
        if label == "ring":
            draw.ellipse((left, left, left + 40, left + 40), outline=255, width=5)
        else:
            draw.rectangle((left, left, left + 40, left + 40), fill=220)
        picture.save(root / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def half_bundle(ready_graphs, golden_checkpoint, tmp_path_factory):
    return convert(golden_checkpoint, tmp_path_factory.mktemp("half") / "golden", precision="fp16")


@pytest.fixture(scope="module")
def int8_bundle(ready_graphs, golden_checkpoint, pictures, tmp_path_factory):
    """Random weights may not reach the bounds, which are no matter here."""
    out = tmp_path_factory.mktemp("int8") / "golden"
    return convert(golden_checkpoint, out, precision="int8", calibration=pictures, force=True)


def size(bundle) -> int:
    return sum(entry.bytes for name, entry in bundle.manifest.files.items() if ".onnx" in name)


def test_half_the_disk_and_nearly_the_same_embeddings(half_bundle, golden_bundle):
    assert half_bundle.manifest.precision == "fp16"
    assert size(half_bundle) < 0.55 * size(golden_bundle)
    parity, _ = read_parity(half_bundle.folder, 64)
    assert parity.bounds == BOUNDS["fp16"]
    assert not parity.forced
    assert parity.image.min_cosine >= 0.9999
    assert parity.text.min_cosine >= 0.9999
    assert verify_bundle(half_bundle).text.repeatable


def test_a_half_bundle_embeds_as_any_other(half_bundle, golden_bundle):
    picture = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    with MedImageInsight.load(half_bundle.folder) as half, MedImageInsight.load(golden_bundle.folder) as full:
        assert half.embed_images(picture) @ full.embed_images(picture) >= 0.9999
        assert half.embed_texts("the") @ full.embed_texts("the") >= 0.9999


@pytest.mark.parametrize("graph", [IMAGE_ENCODER, TEXT_ENCODER])
def test_both_half_graphs_have_the_fixed_face_and_one_file_of_weights(half_bundle, graph):
    faces, files = [], set()
    for name in (graph, half_graph(graph)):
        model = onnx.load(half_bundle.path(name), load_external_data=False)
        files |= {
            entry.value for one in model.graph.initializer for entry in one.external_data if entry.key == "location"
        }
        session = ort.InferenceSession(str(half_bundle.path(name)))
        faces.append([(one.name, one.type, one.shape) for one in (*session.get_inputs(), *session.get_outputs())])
    assert faces[0] == faces[1]
    assert files == {f"{graph}.data"}


def test_only_large_products_are_half(half_bundle):
    model = onnx.shape_inference.infer_shapes(onnx.load(half_bundle.path(half_graph(IMAGE_ENCODER))))
    types = {one.name: one.type.tensor_type.elem_type for one in (*model.graph.value_info, *model.graph.output)}
    half = {node.op_type for node in model.graph.node if types.get(node.output[0]) == onnx.TensorProto.FLOAT16}
    assert half == {"MatMul", "Gemm", "Conv", "Attention", "Cast"}


def test_int8_products_have_a_scale_a_column_and_nothing_else_is_quantised(int8_bundle):
    model = onnx.load(int8_bundle.path(IMAGE_ENCODER))
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    quantised = {name for name, weight in weights.items() if weight.dtype == np.int8 and weight.ndim == 2}
    uses = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert quantised
    assert all(weights[uses[name].input[1]].shape == (weights[name].shape[1],) for name in quantised)
    assert all(weights[node.input[1]].dtype == np.float32 for node in model.graph.node if node.op_type == "Conv")
    assert weights["image_projection"].dtype == np.float32
    assert not [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]


def test_an_int8_embedding_does_not_depend_on_its_batch(int8_bundle):
    session = ort.InferenceSession(str(int8_bundle.path(IMAGE_ENCODER)))
    pixels = np.random.default_rng(0).standard_normal((3, 3, 120, 120), dtype=np.float32)
    together = session.run(None, {"pixel_values": pixels})[0]
    alone = session.run(None, {"pixel_values": pixels[1:2]})[0]
    assert np.abs(together[1] - alone[0]).max() <= 1e-6


def test_the_pictures_judge_and_only_figures_of_them_are_kept(int8_bundle, pictures):
    parity, reference = read_parity(int8_bundle.folder, 64)
    agreement = parity.agreement
    assert (agreement.pictures, agreement.labels, agreement.real) == (PICTURES - PICTURES // 3, 2, True)
    assert len(reference.image) == parity.image.inputs == 16
    assert verify_bundle(int8_bundle).agreement == agreement
    kept = b"".join(path.read_bytes() for path in int8_bundle.folder.glob("*.json"))
    assert b"dark" not in kept
    assert str(pictures).encode() not in kept


def test_what_misses_its_bound_is_refused_or_kept_and_labelled(
    ready_graphs, golden_checkpoint, pictures, tmp_path, monkeypatch
):
    strict = dataclasses.replace(BOUNDS["int8"], min_cosine=1.1)
    monkeypatch.setitem(BOUNDS, "int8", strict)
    with pytest.raises(ParityError, match="cosine"):
        convert(golden_checkpoint, tmp_path / "out", precision="int8", calibration=pictures)
    assert list(tmp_path.iterdir()) == []
    bundle = convert(golden_checkpoint, tmp_path / "out", precision="int8", calibration=pictures, force=True)
    assert "int8" in bundle.manifest.provenance["forced"]
    assert read_parity(bundle.folder, 64)[0].forced
    assert "forced" in (bundle.folder / "MODEL_CARD.md").read_text().lower()
    assert verify_bundle(bundle).forced


def test_int8_without_pictures_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path / "nothing", tmp_path / "out", precision="int8")
    assert caught.value.code == "calibration_missing"


def test_too_few_or_broken_pictures_are_named(golden_checkpoint, pictures, tmp_path):
    few = tmp_path / "few"
    for label, number in (("dark_box", 0), ("ring", 1)):
        (few / label).mkdir(parents=True)
        (few / label / "1.png").write_bytes((pictures / label / f"{number}.png").read_bytes())
    with pytest.raises(DatasetError) as caught:
        convert(golden_checkpoint, tmp_path / "out", precision="int8", calibration=few)
    assert caught.value.code == "calibration_too_small"
    broken = tmp_path / "broken.csv"
    with broken.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "caption"])
        rows.writerows([[f"{number}.png", "a ring"] for number in range(30)])
    with pytest.raises(DatasetError) as caught:
        convert(golden_checkpoint, tmp_path / "out", precision="int8", calibration=broken)
    assert caught.value.code == "dataset_broken_images"
    assert not (tmp_path / "out").exists()


def test_agreement_counts_labels_and_neighbours():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((14, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    same = agree((rows, rows), (rows[:4], rows[:4]), [0, 0, 1, 1], real=True)
    assert same == Agreement(
        pictures=14, labels=2, real=True, min_cosine=pytest.approx(1, abs=1e-6), top1=1.0, nearest_ten=1.0
    )
    gap = agree((rows, rows), (rows[:4], rows[:4]), [0, 0, 7, 7], real=True)  # a label whose prompts were too many
    assert (gap.labels, gap.top1) == (2, 1.0)
    turned = agree((-rows, rows), (rows[:4], rows[:4]), [0, 0, 1, 1], real=False)
    assert turned.top1 == 0.0
    assert turned.min_cosine == pytest.approx(-1, abs=1e-6)
    assert turned.nearest_ten == 1.0


def test_the_verb_takes_pictures_and_says_what_came_of_them(
    ready_graphs, golden_checkpoint, pictures, tmp_path, capsys
):
    def mi2(*more: str):
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(golden_checkpoint), "--out", str(tmp_path / "out"), "--precision", "int8", *more])
        return ended.value.code, json.loads(capsys.readouterr().out)

    code, refused = mi2("--json")
    assert (code, refused["error"]["code"]) == (2, "calibration_missing")
    code, done = mi2("--calibration", str(pictures), "--force", "--json")
    assert code == 0
    assert done["parity"]["agreement"]["real"] is True
