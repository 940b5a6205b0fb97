"""Lower precisions: the graphs, their distance to float32, and the bounds."""

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
from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER, half_graph
from medimageinsight.cli.main import main
from medimageinsight.errors import ConfigError, DatasetError, ParityError
from medimageinsight.export import BOUNDS, Agreement, convert, read_parity, verify
from medimageinsight.export.calibration_images import read_calibration
from medimageinsight.export.measure_parity import compute_agreement
from medimageinsight.export.precision import quantize
from medimageinsight.export.sample_inputs import random_tokens
from medimageinsight.export.text_precision import HELD_OUT_TEXTS, choose_text_precision
from medimageinsight.preprocess import Preprocessing
from medimageinsight.tokenizer import Tokenizer

IMAGES = 24


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    """A folder of two labels: boxes and rings in noise."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        label = ("dark_box", "ring")[number % 2]
        (root / label).mkdir(exist_ok=True)
        image = Image.fromarray(rng.integers(0, 120, (96, 96), dtype=np.uint8))
        draw, left = ImageDraw.Draw(image), int(rng.integers(10, 40))
        if label == "ring":
            draw.ellipse((left, left, left + 40, left + 40), outline=255, width=5)
        else:
            draw.rectangle((left, left, left + 40, left + 40), fill=220)
        image.save(root / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def half_bundle(ready_graphs, golden_checkpoint, tmp_path_factory):
    return convert(golden_checkpoint, tmp_path_factory.mktemp("half") / "golden", precision="fp16")


@pytest.fixture(scope="module")
def int8_bundle(ready_graphs, golden_checkpoint, image_folder, tmp_path_factory):
    """Forced, because random weights may not meet the bounds."""
    out = tmp_path_factory.mktemp("int8") / "golden"
    return convert(golden_checkpoint, out, precision="int8", calibration=image_folder, force=True)


def size(bundle) -> int:
    return sum(entry.bytes for name, entry in bundle.manifest.files.items() if ".onnx" in name)


def test_fp16_halves_the_size_and_keeps_the_embeddings_close(half_bundle, golden_bundle):
    assert half_bundle.manifest.precision == "fp16"
    assert size(half_bundle) < 0.55 * size(golden_bundle)
    parity, _ = read_parity(half_bundle.folder, 64)
    assert parity.bounds == BOUNDS["fp16"]
    assert not parity.forced
    assert parity.image.min_cosine >= 0.9999
    assert parity.text.min_cosine >= 0.9999
    assert verify(half_bundle).text.repeatable


def test_fp16_bundle_is_used_like_any_bundle(half_bundle, golden_bundle):
    image = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    with MedImageInsight.load(half_bundle.folder) as half, MedImageInsight.load(golden_bundle.folder) as full:
        assert half.embed_images(image) @ full.embed_images(image) >= 0.9999
        assert half.embed_texts("the") @ full.embed_texts("the") >= 0.9999


@pytest.mark.parametrize("graph", [IMAGE_ENCODER, TEXT_ENCODER])
def test_both_fp16_graphs_have_the_fixed_interface_and_share_one_weights_file(half_bundle, graph):
    interfaces, files = [], set()
    for name in (graph, half_graph(graph)):
        model = onnx.load(half_bundle.path(name), load_external_data=False)
        files |= {
            entry.value
            for tensor in model.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        }
        session = ort.InferenceSession(str(half_bundle.path(name)))
        values = (*session.get_inputs(), *session.get_outputs())
        interfaces.append([(value.name, value.type, value.shape) for value in values])
    assert interfaces[0] == interfaces[1]
    assert files == {f"{graph}.data"}


def test_only_large_products_are_float16(half_bundle):
    model = onnx.shape_inference.infer_shapes(onnx.load(half_bundle.path(half_graph(IMAGE_ENCODER))))
    values = (*model.graph.value_info, *model.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    half = {node.op_type for node in model.graph.node if types.get(node.output[0]) == onnx.TensorProto.FLOAT16}
    assert half == {"MatMul", "Gemm", "Conv", "Attention", "Cast"}


def test_int8_products_have_a_scale_per_column_and_nothing_else_is_quantised(int8_bundle):
    model = onnx.load(int8_bundle.path(IMAGE_ENCODER))
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    quantised = {name for name, weight in weights.items() if weight.dtype == np.int8 and weight.ndim == 2}
    uses = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert quantised
    assert all(weights[uses[name].input[1]].shape == (weights[name].shape[1],) for name in quantised)
    assert all(weights[node.input[1]].dtype == np.float32 for node in model.graph.node if node.op_type == "Conv")
    assert weights["image_projection"].dtype == np.float32
    assert not [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]


def test_int8_text_encoder_is_judged_on_texts_that_did_not_calibrate_it(int8_bundle, golden_bundle):
    judged = read_parity(int8_bundle.folder, 64)[0].text_precision
    assert judged.held_out > len(HELD_OUT_TEXTS)
    model = onnx.load(int8_bundle.path(TEXT_ENCODER))
    is_int8 = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    assert (judged.chosen == "int8") == is_int8 == (judged.min_cosine >= 0.995)
    assert "text encoder" in (int8_bundle.folder / "MODEL_CARD.md").read_text()
    texts = ["Haemorrhage in the left basal ganglia, 3 cm", "endoscopy colon polyp", "q", "t the the th " * 12, "Ödem"]
    with MedImageInsight.load(int8_bundle.folder) as quantised, MedImageInsight.load(golden_bundle.folder) as full:
        assert (quantised.embed_texts(texts) * full.embed_texts(texts)).sum(axis=1).min() >= 0.995


def test_a_text_below_the_bound_makes_the_text_encoder_float32(golden_bundle, int8_bundle, tmp_path):
    full, quantised = golden_bundle.path(TEXT_ENCODER), tmp_path / TEXT_ENCODER
    rows = random_tokens(49408, [2, 5, 77], seed=1)
    inputs = ({"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)} for row in rows)
    quantize(full, quantised, inputs)
    int8 = quantised.read_bytes()
    accepted = choose_text_precision(full, quantised, rows, bound=-1.0)
    assert (accepted.chosen, accepted.held_out, quantised.read_bytes()) == ("int8", 3, int8)
    refused = choose_text_precision(full, quantised, rows, bound=1.1)
    assert (refused.chosen, refused.min_cosine) == ("fp32", accepted.min_cosine)
    assert quantised.read_bytes() == full.read_bytes()


def test_prompts_that_judge_the_text_encoder_do_not_calibrate_it(golden_bundle, tmp_path):
    rng = np.random.default_rng(0)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "caption"])
        for number in range(30):
            Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(tmp_path / f"{number}.png")
            rows.writerow([f"{number}.png", f"finding {number}"])
    tokenizer = Tokenizer.from_file(golden_bundle.path(TOKENIZER), 77)
    preprocessing = Preprocessing.from_dict(golden_bundle.manifest.preprocessing)
    found = read_calibration(tmp_path / "table.csv", preprocessing, tokenizer)
    scale, judge = ({tuple(row) for row in rows} for rows in (found.scale_tokens, found.held_out_tokens))
    assert not scale & judge
    assert scale | judge >= {tuple(row) for row in found.comparison.tokens}


def test_int8_embedding_does_not_depend_on_its_batch(int8_bundle):
    session = ort.InferenceSession(str(int8_bundle.path(IMAGE_ENCODER)))
    pixels = np.random.default_rng(0).standard_normal((3, 3, 120, 120), dtype=np.float32)
    together = session.run(None, {"pixel_values": pixels})[0]
    alone = session.run(None, {"pixel_values": pixels[1:2]})[0]
    assert np.abs(together[1] - alone[0]).max() <= 1e-6


def test_comparison_uses_the_images_and_stores_only_figures_of_them(int8_bundle, image_folder):
    parity, reference = read_parity(int8_bundle.folder, 64)
    agreement = parity.agreement
    assert (agreement.images, agreement.labels, agreement.real) == (IMAGES - IMAGES // 3, 2, True)
    assert len(reference.image) == parity.image.inputs == 16
    assert verify(int8_bundle).agreement == agreement
    stored = b"".join(path.read_bytes() for path in int8_bundle.folder.glob("*.json"))
    assert b"dark" not in stored
    assert str(image_folder).encode() not in stored


def test_rejects_figures_out_of_bounds_or_labels_a_forced_bundle(
    ready_graphs, golden_checkpoint, image_folder, tmp_path, monkeypatch
):
    strict = dataclasses.replace(BOUNDS["int8"], min_cosine=1.1)
    monkeypatch.setitem(BOUNDS, "int8", strict)
    with pytest.raises(ParityError, match="cosine"):
        convert(golden_checkpoint, tmp_path / "out", precision="int8", calibration=image_folder)
    assert list(tmp_path.iterdir()) == []
    bundle = convert(golden_checkpoint, tmp_path / "out", precision="int8", calibration=image_folder, force=True)
    assert "int8" in bundle.manifest.provenance["forced"]
    assert read_parity(bundle.folder, 64)[0].forced
    assert "forced" in (bundle.folder / "MODEL_CARD.md").read_text().lower()
    assert verify(bundle).forced


def test_rejects_int8_without_images_before_reading_anything(tmp_path):
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path / "nothing", tmp_path / "out", precision="int8")
    assert caught.value.code == "calibration_missing"


def test_rejects_too_few_or_broken_images(golden_checkpoint, image_folder, tmp_path):
    few = tmp_path / "few"
    for label, number in (("dark_box", 0), ("ring", 1)):
        (few / label).mkdir(parents=True)
        (few / label / "1.png").write_bytes((image_folder / label / f"{number}.png").read_bytes())
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
    same = compute_agreement((rows, rows), (rows[:4], rows[:4]), [0, 0, 1, 1], real=True)
    assert same == Agreement(
        images=14, labels=2, real=True, min_cosine=pytest.approx(1, abs=1e-6), top1=1.0, nearest_ten=1.0
    )
    gap = compute_agreement(
        (rows, rows), (rows[:4], rows[:4]), [0, 0, 7, 7], real=True
    )  # labels without prompts in between
    assert (gap.labels, gap.top1) == (2, 1.0)
    opposite = compute_agreement((-rows, rows), (rows[:4], rows[:4]), [0, 0, 1, 1], real=False)
    assert opposite.top1 == 0.0
    assert opposite.min_cosine == pytest.approx(-1, abs=1e-6)
    assert opposite.nearest_ten == 1.0


def test_command_takes_images_and_reports_the_agreement(
    ready_graphs, golden_checkpoint, image_folder, tmp_path, capsys
):
    def mi2(*more: str):
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(golden_checkpoint), "--out", str(tmp_path / "out"), "--precision", "int8", *more])
        return ended.value.code, json.loads(capsys.readouterr().out)

    code, rejected = mi2("--json")
    assert (code, rejected["error"]["code"]) == (2, "calibration_missing")
    code, result = mi2("--calibration", str(image_folder), "--force", "--json")
    assert code == 0
    assert result["parity"]["agreement"]["real"] is True
