"""Bundles of ONNX graphs: the layouts, what is recognised, hostile files, and the comparison with their source."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from medimageinsight import MedImageInsight
from medimageinsight.bundle import EXTERNAL_DATA_SUFFIX, IMAGE_ENCODER, TEXT_ENCODER, Bundle
from medimageinsight.errors import CheckpointError, ConfigError, ParityError
from medimageinsight.export import (
    Names,
    convert_graphs,
    find_checkpoint,
    graphs,
    load_original,
    read_parity,
    source_encoders,
    verify,
)
from tests.export.graph_folders import (
    LAYOUTS,
    LOGIT_SCALE,
    combined,
    external_data,
    one_graph,
    two_graphs,
    write_processor,
    write_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["x-ray chest", "the the effusion of the left lung, without a fracture", ""]


@pytest.fixture
def mlflow(golden_bundle: Bundle, golden_checkpoint: Path, tmp_path: Path) -> Path:
    """Return an MLflow folder with config and tokenizer, to which a test adds graphs."""
    folder = tmp_path / "mlflow"
    folder.mkdir()
    write_settings(folder, golden_checkpoint)
    return folder


def failure(source, out: Path, **options) -> str:
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        convert_graphs(source, out, **options)
    assert not out.exists()
    assert str(out.parent) not in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_embeddings_of_the_network(
    golden_bundle: Bundle, mlflow: Path, tmp_path: Path, layout: str
) -> None:
    LAYOUTS[layout](golden_bundle, mlflow)
    stated = layout in ("one graph", "external data")
    bundle = convert_graphs(mlflow, tmp_path / "out", logit_scale=None if stated else LOGIT_SCALE)
    bundle.verify()
    manifest = bundle.manifest
    assert (manifest.embedding_dim, manifest.context_length, manifest.scoring_preprocessing) == (64, 77, "azure")
    assert manifest.logit_scale == pytest.approx(LOGIT_SCALE)
    assert manifest.precision == ("fp16" if layout == "float16" else "fp32")
    assert manifest.architecture == golden_bundle.manifest.architecture
    assert manifest.preprocessing == golden_bundle.manifest.preprocessing
    image = np.random.default_rng(0).integers(0, 256, (130, 140, 3), dtype=np.uint8)
    images = [image, image[::-1].copy(), image.T.copy().T]
    with MedImageInsight.load(golden_bundle.folder) as expected, MedImageInsight.load(bundle.folder) as model:
        for found, wanted in (
            (model.embed_images(images), expected.embed_images(images)),
            (model.embed_texts(TEXTS), expected.embed_texts(TEXTS)),
        ):
            np.testing.assert_allclose(found, wanted, atol=2e-3 if layout == "float16" else 1e-6)
    # The graphs have the form that other programs rely on, and run without this package.
    text = ort.InferenceSession(str(bundle.path(TEXT_ENCODER)))
    assert [(value.name, value.type) for value in text.get_inputs()] == [
        ("input_ids", "tensor(int64)"),
        ("attention_mask", "tensor(int64)"),
    ]
    assert [value.name for value in text.get_outputs()] == ["text_embeddings"]
    verify(bundle)


def test_extra_outputs_are_not_part_of_the_bundle(golden_bundle: Bundle, mlflow: Path, tmp_path: Path) -> None:
    one_graph(golden_bundle, mlflow)
    bundle = convert_graphs(mlflow, tmp_path / "out")
    source = (mlflow / "model.onnx").stat().st_size
    sizes = [bundle.path(name).stat().st_size for name in (IMAGE_ENCODER, TEXT_ENCODER)]
    assert sum(sizes) < 1.01 * source
    weights = {tensor.name for tensor in onnx.load(bundle.path(IMAGE_ENCODER)).graph.initializer}
    assert weights
    assert not [name for name in weights if "text_tower" in name]
    assert bundle.manifest.provenance["graphs"][0].startswith("model.onnx takes input_image float")


def test_large_weights_are_in_a_second_file(
    golden_bundle: Bundle, mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "EXTERNAL_DATA_FROM", 1000)
    external_data(golden_bundle, mlflow)
    bundle = convert_graphs(mlflow, tmp_path / "out")
    for name in (IMAGE_ENCODER, TEXT_ENCODER):
        assert bundle.path(name + EXTERNAL_DATA_SUFFIX).stat().st_size > 1_000_000
    shutil.rmtree(mlflow)
    verify(Bundle.open(bundle.folder))


def test_external_data_is_not_taken_for_a_checkpoint(golden_bundle: Bundle, mlflow: Path) -> None:
    external_data(golden_bundle, mlflow)
    assert (mlflow / "artifacts" / "onnx" / "weights.bin").is_file()
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(mlflow)
    assert caught.value.code == "checkpoint_is_onnx"


def test_general_form_takes_the_parts_from_anywhere(
    golden_bundle: Bundle, golden_checkpoint: Path, mlflow: Path, tmp_path: Path
) -> None:
    two_graphs(golden_bundle, mlflow)
    files = [mlflow / "artifacts" / "checkpoints" / name for name in ("vision.onnx", "language.onnx")]
    bundle = convert_graphs(
        files,
        tmp_path / "out",
        tokenizer=golden_checkpoint / "language_model" / "clip_tokenizer",
        preprocessing=write_processor(tmp_path / "preprocessor_config.json"),
        logit_scale=LOGIT_SCALE,
    )
    manifest = bundle.manifest
    assert manifest.preprocessing["image_size"] == [120, 120]
    assert verify(bundle).image.max_abs_diff <= 1e-5
    with MedImageInsight.load(bundle.folder) as model:
        assert model.embed_texts(TEXTS).shape == (3, 64)


def test_checkpoint_given_is_compared_in_pytorch(
    golden_bundle: Bundle, golden_checkpoint: Path, mlflow: Path, tmp_path: Path
) -> None:
    two_graphs(golden_bundle, mlflow)
    bundle = convert_graphs(mlflow, tmp_path / "out", against=golden_checkpoint)
    assert bundle.manifest.logit_scale == pytest.approx(LOGIT_SCALE)
    assert "PyTorch" in bundle.manifest.provenance["compared_with"]
    parity, reference = read_parity(bundle.folder, 64)
    expected = read_parity(golden_bundle.folder, 64)[1]
    np.testing.assert_array_equal(reference.image, expected.image)
    assert parity.image.max_abs_diff <= 1e-5
    assert verify(bundle, load_original(bundle, golden_checkpoint)).text.max_abs_diff <= 1e-5


def test_graphs_of_another_network_than_the_checkpoint_are_refused(
    golden_bundle: Bundle, golden_checkpoint: Path, mlflow: Path, tmp_path: Path
) -> None:
    model = combined(golden_bundle)
    tensor = max(model.graph.initializer, key=lambda found: len(found.raw_data) if "image_tower" in found.name else 0)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array * np.float32(1.5), tensor.name))
    onnx.save(model, mlflow / "model.onnx")
    with pytest.raises(ParityError, match="image embeddings"):
        convert_graphs(mlflow, tmp_path / "out", against=golden_checkpoint)
    assert not (tmp_path / "out").exists()
    forced = convert_graphs(mlflow, tmp_path / "out", against=golden_checkpoint, force=True)
    assert "forced" in forced.manifest.provenance


def test_a_bundle_that_differs_from_its_graphs_is_refused(
    golden_bundle: Bundle, mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_graphs(golden_bundle, mlflow)
    right = source_encoders.SourceEncoders.embed_text
    monkeypatch.setattr(source_encoders.SourceEncoders, "embed_text", lambda self, row, **kw: -right(self, row, **kw))
    with pytest.raises(ParityError, match="text embeddings"):
        convert_graphs(mlflow, tmp_path / "out", logit_scale=LOGIT_SCALE)
    assert not (tmp_path / "out").exists()


def test_outputs_that_are_alike_need_a_name(golden_bundle: Bundle, mlflow: Path, tmp_path: Path) -> None:
    model = combined(golden_bundle)
    for old, new in (("image_features", "first"), ("image_copy", "second")):
        for node in model.graph.node:
            for field in (node.input, node.output):
                field[:] = [new if name == old else name for name in field]
        next(value for value in model.graph.output if value.name == old).name = new
    onnx.save(model, mlflow / "model.onnx")
    out = tmp_path / "out"
    assert failure(mlflow, out) == "graph_role_ambiguous"
    assert failure(mlflow, out, names=Names(image_output="nothing")) == "graph_role_missing"
    assert convert_graphs(mlflow, out, names=Names(image_output="first")).manifest.embedding_dim == 64


def test_two_image_encoders_are_ambiguous_and_none_is_missing(
    golden_bundle: Bundle, mlflow: Path, tmp_path: Path
) -> None:
    two_graphs(golden_bundle, mlflow)
    folder = mlflow / "artifacts" / "checkpoints"
    shutil.copy(folder / "vision.onnx", folder / "vision-copy.onnx")
    assert failure(mlflow, tmp_path / "out") == "graph_role_ambiguous"
    for name in ("vision.onnx", "vision-copy.onnx"):
        (folder / name).unlink()
    assert failure(mlflow, tmp_path / "out") == "graph_role_missing"


def test_missing_parts_name_their_option(golden_bundle: Bundle, mlflow: Path, tmp_path: Path) -> None:
    two_graphs(golden_bundle, mlflow)
    out = tmp_path / "out"
    assert failure(mlflow, out) == "logit_scale_missing"
    checkpoints = mlflow / "artifacts" / "checkpoints"
    shutil.move(checkpoints / "config.yaml", tmp_path / "config.yaml")
    assert failure(mlflow, out, logit_scale=LOGIT_SCALE) == "checkpoint_not_found"
    shutil.rmtree(checkpoints / "language_model")
    given = {"logit_scale": LOGIT_SCALE, "preprocessing": tmp_path / "config.yaml"}
    assert failure(mlflow, out, **given) == "checkpoint_not_found"
    assert failure(mlflow, out, tokenizer=tmp_path / "none", **given) == "checkpoint_not_found"
    shutil.rmtree(mlflow)
    assert failure(mlflow, out) == "checkpoint_not_found"


@pytest.mark.parametrize(
    "changes",
    [
        {"size": {"shortest_edge": 120}},
        {"do_center_crop": True, "crop_size": {"height": 100, "width": 100}},
        {"resample": 2},
        {"size": {"height": 0, "width": 120}},
        {"image_std": [0, 0, 0]},
        {"image_mean": "grey"},
    ],
)
def test_preprocessing_that_is_not_computed_here_is_refused(
    golden_bundle: Bundle, mlflow: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    two_graphs(golden_bundle, mlflow)
    file = write_processor(tmp_path / "p.json", **changes)
    assert failure(mlflow, tmp_path / "out", preprocessing=file, logit_scale=LOGIT_SCALE) == "config_invalid"


def test_images_of_another_size_are_refused(golden_bundle: Bundle, mlflow: Path, tmp_path: Path) -> None:
    two_graphs(golden_bundle, mlflow)
    file = write_processor(tmp_path / "p.json", size={"height": 96, "width": 96})
    options = {"preprocessing": file, "logit_scale": LOGIT_SCALE}
    assert failure(mlflow, tmp_path / "out", **options) == "graph_image_size"


def relu_graph(**changes) -> onnx.ModelProto:
    node = helper.make_node("Relu", ["image"], ["features"], domain=changes.get("domain", ""))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in ("image", "features")]
    graph = helper.make_graph([node], "g", info[:1], info[1:], initializer=changes.get("weights", []))
    opsets = [helper.make_opsetid("", changes.get("opset", 18)), helper.make_opsetid("evil.library", 1)]
    return helper.make_model(graph, opset_imports=opsets)


def external(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "C:\\secret.bin", "..\\secret.bin", "gone.bin", ""],
)
def test_external_data_outside_the_folder_is_refused(mlflow: Path, tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    onnx.save(relu_graph(weights=[external(location)]), mlflow / "model.onnx")
    assert failure(mlflow, tmp_path / "out") == "graph_external_data"


def test_external_data_through_a_link_is_refused(mlflow: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (mlflow / "weights.bin").symlink_to(tmp_path / "secret.bin")
    onnx.save(relu_graph(weights=[external("weights.bin")]), mlflow / "model.onnx")
    assert failure(mlflow, tmp_path / "out") == "graph_external_data"


def test_hostile_graphs_have_a_code(mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, out = mlflow / "model.onnx", tmp_path / "out"
    onnx.save(relu_graph(domain="evil.library"), graph)
    assert failure(mlflow, out) == "graph_custom_operators"
    onnx.save(relu_graph(opset=9), graph)
    assert failure(mlflow, out) == "graph_opset_old"
    graph.write_bytes(b"\xff" * 100)
    assert failure(mlflow, out) == "graph_unreadable"
    graph.write_bytes(onnx.load_model_from_string(relu_graph().SerializeToString()).SerializeToString()[:-20])
    assert failure(mlflow, out) in ("graph_unreadable", "graph_role_missing")
    onnx.save(relu_graph(), graph)
    monkeypatch.setattr("medimageinsight.export.source_graph.MAX_GRAPH_BYTES", 10)
    assert failure(mlflow, out) == "graph_too_large"


def test_graphs_within_operators_are_checked(mlflow: Path, tmp_path: Path) -> None:
    def nest(model: onnx.ModelProto) -> onnx.ModelProto:
        inner = helper.make_graph(list(model.graph.node), "inner", [], list(model.graph.output))
        del model.graph.node[:]
        model.graph.node.append(helper.make_node("If", ["condition"], ["features"], then_branch=inner))
        return model

    onnx.save(nest(relu_graph(domain="evil.library")), mlflow / "model.onnx")
    assert failure(mlflow, tmp_path / "out") == "graph_custom_operators"
    model = relu_graph()
    for _ in range(20):
        model = nest(model)
    onnx.save(model, mlflow / "model.onnx")
    assert failure(mlflow, tmp_path / "out") == "graph_too_large"


def test_too_many_graphs(mlflow: Path, tmp_path: Path) -> None:
    for index in range(17):
        onnx.save(relu_graph(), mlflow / f"{index}.onnx")
    assert failure(mlflow, tmp_path / "out") == "graph_role_ambiguous"


def test_names_of_a_graph_reach_no_terminal(mlflow: Path, tmp_path: Path) -> None:
    model = relu_graph()
    model.graph.input[0].name = "\x1b[2Jimage"
    model.graph.node[0].input[0] = "\x1b[2Jimage"
    onnx.save(model, mlflow / "model.onnx")
    with pytest.raises(CheckpointError) as caught:
        convert_graphs(mlflow, tmp_path / "out")
    assert caught.value.message.isprintable()


def test_settings_are_json_objects(golden_bundle: Bundle, mlflow: Path, tmp_path: Path) -> None:
    two_graphs(golden_bundle, mlflow)
    for content in ("[1]", "{", json.dumps({"image_size": [120, 120]})):
        (tmp_path / "p.json").write_text(content)
        options = {"preprocessing": tmp_path / "p.json", "logit_scale": LOGIT_SCALE}
        assert failure(mlflow, tmp_path / "out", **options) == "config_invalid"
