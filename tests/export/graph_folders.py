"""Folders of ONNX graphs as other programs write them, made of the golden network's graphs."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER
from tests.golden.model import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

LOGIT_SCALE = 4.513362407684326


def load_renamed(bundle, which: str, renames: dict[str, str]) -> onnx.ModelProto:
    """Load one of a bundle's graphs with its inputs and outputs renamed, and every other name in its own prefix."""
    model = onnx.load(bundle.path(IMAGE_ENCODER if which == "image" else TEXT_ENCODER))
    names = {value.name for value in (*model.graph.input, *model.graph.output)}
    model = compose.add_prefix(model, f"{which}_tower/", rename_functions=False)
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [shorten(name, f"{which}_tower/", names, renames) for name in field]
    for value in (*model.graph.input, *model.graph.output):
        value.name = shorten(value.name, f"{which}_tower/", names, renames)
    del model.graph.value_info[:]
    return model


def shorten(name: str, prefix: str, names: set[str], renames: dict[str, str]) -> str:
    plain = name.removeprefix(prefix)
    return renames.get(plain, plain) if plain in names else name


def write_settings(folder: Path, checkpoint: Path) -> None:
    """Write what an MLflow folder has next to the graphs: MLmodel, config and tokenizer."""
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n")
    target = folder / "artifacts" / "checkpoints"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(checkpoint / "language_model", target / "language_model")
    shutil.copyfile(CONFIG, target / "config.yaml")


def two_graphs(bundle, folder: Path) -> None:
    target = folder / "artifacts" / "checkpoints"
    target.mkdir(parents=True, exist_ok=True)
    image = load_renamed(bundle, "image", {"pixel_values": "image", "image_embeddings": "image_features"})
    text = load_renamed(bundle, "text", {"text_embeddings": "text_features"})
    onnx.save(image, target / "vision.onnx")
    onnx.save(text, target / "language.onnx")


def combined(bundle) -> onnx.ModelProto:
    """Return one graph of both encoders, with logits of both, an image's feature map size, and the logit scale."""
    image = load_renamed(bundle, "image", {"pixel_values": "input_image", "image_embeddings": "image_features"})
    text = load_renamed(bundle, "text", {"text_embeddings": "text_features"})
    for value in (*image.graph.input, *image.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "images"
    graph = image.graph
    graph.node.extend(text.graph.node)
    graph.node.extend(
        [
            helper.make_node("Transpose", ["text_features"], ["transposed"], perm=[1, 0]),
            helper.make_node("MatMul", ["image_features", "transposed"], ["logits_per_image"]),
            helper.make_node("Identity", ["logit_scale_value"], ["scaling_factor"]),
            helper.make_node("Identity", ["image_features"], ["image_copy"]),
        ]
    )
    graph.initializer.extend(text.graph.initializer)
    graph.initializer.append(helper.make_tensor("logit_scale_value", TensorProto.FLOAT, [], [LOGIT_SCALE]))
    graph.input.extend(text.graph.input)
    graph.output.extend(text.graph.output)
    graph.output.extend(
        [
            helper.make_tensor_value_info("logits_per_image", TensorProto.FLOAT, ["images", "batch"]),
            helper.make_tensor_value_info("scaling_factor", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("image_copy", TensorProto.FLOAT, ["images", 64]),
        ]
    )
    return image


def one_graph(bundle, folder: Path) -> None:
    onnx.save(combined(bundle), folder / "model.onnx")


def external_data(bundle, folder: Path) -> None:
    target = folder / "artifacts" / "onnx"
    target.mkdir(parents=True)
    onnx.save(
        combined(bundle), target / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=1024
    )


def half(bundle, folder: Path) -> None:
    """Write graphs of float16 arithmetic with float16 inputs and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for which, renames in (("image", {"pixel_values": "pixels"}), ("text", {})):
        model = convert_float_to_float16(load_renamed(bundle, which, renames), disable_shape_infer=True)
        onnx.save(model, folder / f"{which}_fp16.onnx")


def other_forms(bundle, folder: Path) -> None:
    """Write an image graph with channels last, and a text graph of int32 ids and a fixed length."""
    image = load_renamed(bundle, "image", {"pixel_values": "channels_first", "image_embeddings": "out_0"})
    image.graph.node.insert(0, helper.make_node("Transpose", ["x"], ["channels_first"], perm=[0, 3, 1, 2]))
    del image.graph.input[:]
    image.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 120, 120, 3]))
    onnx.save(image, folder / "a.onnx")
    text = load_renamed(
        bundle, "text", {"input_ids": "ids_64", "attention_mask": "mask_64", "text_embeddings": "out_1"}
    )
    del text.graph.input[:]
    for name, source in (("ids_64", "tokens"), ("mask_64", "token_mask")):
        text.graph.initializer.append(helper.make_tensor(f"{source}_shape", TensorProto.INT64, [2], [-1, 77]))
        text.graph.node.insert(0, helper.make_node("Cast", [f"{source}_77"], [name], to=TensorProto.INT64))
        text.graph.node.insert(0, helper.make_node("Reshape", [source, f"{source}_shape"], [f"{source}_77"]))
        text.graph.input.append(helper.make_tensor_value_info(source, TensorProto.INT32, ["n", 77]))
    onnx.save(text, folder / "b.onnx")


LAYOUTS = {
    "two graphs": two_graphs,
    "one graph": one_graph,
    "external data": external_data,
    "float16": half,
    "other forms": other_forms,
}


def write_processor(path: Path, **changes: object) -> Path:
    """Write the file of an image processor of transformers."""
    size = {"height": 120, "width": 120}
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    path.write_text(json.dumps({"image_mean": mean, "image_std": std, "size": size, "resample": 3, **changes}))
    return path


def weight(model: onnx.ModelProto, part: str):
    """Return the first initializer whose name contains a text."""
    return next(tensor for tensor in model.graph.initializer if part in tensor.name)


def changed(tensor) -> None:
    """Add to a weight, so that the embeddings differ."""
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.1, tensor.name))
