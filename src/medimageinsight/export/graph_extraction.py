"""One encoder cut out of a graph, in the form of a bundle's graphs: names, types, any batch size, normalised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError
from medimageinsight.export.graph_roles import Encoder, names_needed

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.export.source_graph import Value

PREFIX = "source/"  # of every name of the graph, so that it has none of the bundle's


def write_image_encoder(encoder: Encoder, path: Path, *, image_size: tuple[int, int]) -> tuple[str, ...]:
    """Write the graph ``pixel_values`` (N, 3, H, W) to ``image_embeddings`` (N, D); returns the files written.

    Raises:
        CheckpointError: The graph takes images of another size (``graph_image_size``).
    """
    from onnx import TensorProto, helper

    shape, last = encoder.data.shape or (), encoder.channels_last
    sides = tuple(shape[1:3] if last else shape[2:4])
    for side, expected in zip(sides, image_size, strict=False):
        if isinstance(side, int) and side != expected:
            raise CheckpointError(
                f"expected a graph for images of {image_size[0]} x {image_size[1]} pixels, as the preprocessing gives "
                f"them, got one for {sides[0]} x {sides[1]}: name the right file with --preprocessing",
                code="graph_image_size",
            )
    nodes = [helper.make_node("Cast", ["pixel_values"], ["image_cast"], to=encoder.data.dtype)]
    order = [0, 2, 3, 1] if last else [0, 1, 2, 3]
    nodes.append(helper.make_node("Transpose", ["image_cast"], [PREFIX + encoder.data.name], perm=order))
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, *image_size])
    return _write(encoder, path, [pixels], nodes, [], "image_embeddings")


def write_text_encoder(
    encoder: Encoder, path: Path, *, context_length: int, end_id: int, padded: bool
) -> tuple[str, ...]:
    """Write the graph ``input_ids`` and ``attention_mask`` (N, L) to ``text_embeddings`` (N, D).

    With `padded`, the graph fills every text to its context, as a graph of a fixed length needs it.
    """
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    nodes: list[Any] = []
    constants: list[Any] = []
    if padded:
        constants = [
            helper.make_tensor("context", TensorProto.INT64, [1], [context_length]),
            helper.make_tensor("pads_before", TensorProto.INT64, [3], [0, 0, 0]),
            helper.make_tensor("second_axis", TensorProto.INT64, [1], [1]),
        ]
        nodes = [
            helper.make_node("Shape", ["input_ids"], ["ids_shape"]),
            helper.make_node("Gather", ["ids_shape", "second_axis"], ["ids_length"]),
            helper.make_node("Sub", ["context", "ids_length"], ["missing"]),
            helper.make_node("Concat", ["pads_before", "missing"], ["pads"], axis=0),
        ]
    for name, value, fill in (("input_ids", encoder.data, end_id), ("attention_mask", encoder.mask, 0)):
        if value is None:
            continue
        source = name
        if padded:
            constants.append(helper.make_tensor(f"{name}_fill", TensorProto.INT64, [], [fill]))
            nodes.append(helper.make_node("Pad", [name, "pads", f"{name}_fill"], [f"{name}_padded"]))
            source = f"{name}_padded"
        nodes.append(helper.make_node("Cast", [source], [PREFIX + value.name], to=value.dtype))
    return _write(encoder, path, inputs, nodes, constants, "text_embeddings")


def _write(
    encoder: Encoder, path: Path, inputs: list[Any], before: list[Any], constants: list[Any], output: str
) -> tuple[str, ...]:
    import onnx_ir
    from onnx import ModelProto, TensorProto, helper
    from onnx.compose import add_prefix

    from medimageinsight.export import graphs  # imports PyTorch

    model = ModelProto()
    model.CopyFrom(encoder.graph.model)
    model = add_prefix(model, PREFIX, rename_functions=False, inplace=True)
    _keep(model, encoder)
    after = [
        helper.make_node("Cast", [PREFIX + encoder.output.name], ["embeddings"], to=TensorProto.FLOAT),
        helper.make_node("LpNormalization", ["embeddings"], [output], axis=-1, p=2),
    ]
    graph = model.graph
    nodes = [*before, *graph.node, *after]
    for field in (graph.node, graph.input, graph.output, graph.value_info, model.metadata_props):
        del field[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", _length(encoder.output)]))
    graph.initializer.extend(constants)
    written = onnx_ir.from_proto(model)
    onnx_ir.external_data.set_base_dir(written.graph, encoder.graph.path.parent)
    weights = sum(value.const_value.nbytes for value in written.graph.initializers.values() if value.const_value)
    if weights <= graphs.EXTERNAL_DATA_FROM:  # the bundle then has no second file, so external ones are read
        written = onnx_ir.external_data.load_to_model(written)
    return graphs.save_graph(written, path)


def _keep(model: Any, encoder: Encoder) -> None:  # noqa: ANN401
    """Remove the operators and weights that the embedding does not depend on."""
    graph = model.graph
    needed = names_needed(model, PREFIX + encoder.output.name, {PREFIX + value.name for value in encoder.inputs})
    nodes = [node for node in graph.node if needed & set(node.output)]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    sparse = [tensor for tensor in graph.sparse_initializer if tensor.values.name in needed]
    for field, kept in ((graph.node, nodes), (graph.initializer, weights), (graph.sparse_initializer, sparse)):
        copies = list(kept)
        del field[:]
        field.extend(copies)


def _length(value: Value) -> int | str:
    size = value.shape[1] if value.shape else None
    return size if isinstance(size, int) else "embedding"
