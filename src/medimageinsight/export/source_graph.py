"""ONNX graphs of others, read as hostile files: limits, no operators from other libraries, no data outside the folder.

Only the structure is read; weights in external files stay where they are until the bundle is written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import CheckpointError, check_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_GRAPH_BYTES = 2 << 30  # protobuf's own limit
MAX_DATA_BYTES = 16 << 30  # of all external files of a graph
MAX_NODES = 500_000
MAX_DEPTH = 16  # of graphs within operators
MIN_OPSET = 13

# What ONNX Runtime itself implements; an operator of another domain would need a library with its code.
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}


@dataclass(frozen=True, kw_only=True)
class Value:
    """An input or output of a graph."""

    name: str
    dtype: int  # of onnx.TensorProto
    shape: tuple[int | str | None, ...] | None  # None: the rank is not known

    def describe(self) -> str:
        """Return name, type and shape in one line that is safe on a terminal."""
        import onnx

        known = {number: name for name, number in onnx.TensorProto.DataType.items()}
        shape = "?" if self.shape is None else ", ".join("?" if axis is None else str(axis) for axis in self.shape)
        text = f"{self.name} {known.get(self.dtype, 'unknown').lower()} ({shape})"
        return text[:100].encode("unicode_escape").decode()


@dataclass(frozen=True, kw_only=True)
class SourceGraph:
    """A checked graph file; `model` is its `onnx.ModelProto` without external data."""

    path: Path
    model: Any
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def describe(self) -> str:
        """Return the inputs and outputs in one line."""
        inputs, outputs = ([value.describe() for value in values[:8]] for values in (self.inputs, self.outputs))
        return f"{self.path.name[:60]} takes {', '.join(inputs)} and gives {', '.join(outputs)}"


def read_graph(path: Path, *, root: Path | None = None) -> SourceGraph:
    """Read the structure of a graph and check it.

    Args:
        path: The ``.onnx`` file.
        root: The folder that its external data must be in. Default: the graph's own folder.

    Raises:
        CheckpointError: It is not a graph (``graph_unreadable``), too large (``graph_too_large``), uses operators of
            another library (``graph_custom_operators``), an old operator set (``graph_opset_old``), or data outside of
            the folder or that is missing (``graph_external_data``).
        MissingExtraError: The extra ``export`` is not installed.
    """
    check_extra("export", "reading ONNX graphs", "onnx", "onnx_ir")
    import onnx

    try:
        if (size := path.stat().st_size) > MAX_GRAPH_BYTES:
            raise _too_large(f"at most {MAX_GRAPH_BYTES:,} bytes", f"{size:,}")
        model = onnx.load(path, load_external_data=False)
        graph = model.graph
        constants = {tensor.name for tensor in graph.initializer}
        inputs = tuple(_value(value) for value in graph.input if value.name not in constants)
        outputs = tuple(_value(value) for value in graph.output)
    except CheckpointError:
        raise
    except Exception:  # protobuf's errors differ between its versions
        raise CheckpointError(
            "expected an ONNX graph, got a file that cannot be read: download it again", code="graph_unreadable"
        ) from None
    _check_operators(model)
    _check_data(model, path.parent, root or path.parent)
    return SourceGraph(path=path, model=model, inputs=inputs, outputs=outputs)


def iterate_graphs(model: Any) -> Iterator[Any]:  # noqa: ANN401 (onnx has no types)
    """Yield the graph and the graphs within its operators; functions are yielded too, which have nodes as well."""
    pending = [(model.graph, 0), *((function, 0) for function in model.functions)]
    while pending:
        graph, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise _too_large(f"at most {MAX_DEPTH} graphs within each other", "more")
        yield graph
        pending += [(found, depth + 1) for node in graph.node for found in graphs_within(node)]


def graphs_within(node: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the graphs in the attributes of an operator."""
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else [])
        yield from attribute.graphs


def iterate_tensors(model: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield every tensor of a model: weights, and those in attributes of operators."""
    for graph in iterate_graphs(model):
        if hasattr(graph, "initializer"):
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from ([attribute.t] if attribute.HasField("t") else [])
                yield from attribute.tensors
                if attribute.HasField("sparse_tensor"):
                    yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def data_files(graph: SourceGraph) -> list[Path]:
    """Return the files of a graph's external data, sorted."""
    return sorted(graph.path.parent / name for name in _data_names(graph.model))


def opset_of(model: Any) -> int:  # noqa: ANN401
    """Return the version of ONNX's own operators that a model uses."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _value(value: Any) -> Value:  # noqa: ANN401
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else axis.dim_param or None
            for axis in tensor.shape.dim
        )
    return Value(name=value.name, dtype=tensor.elem_type, shape=shape)


def _check_operators(model: Any) -> None:  # noqa: ANN401
    local = {(function.domain, function.name) for function in model.functions}
    count = 0
    for graph in iterate_graphs(model):
        count += len(graph.node)
        if count > MAX_NODES:
            raise _too_large(f"at most {MAX_NODES:,} operators", "more")
        foreign = sorted(
            {node.domain for node in graph.node if node.domain not in DOMAINS}
            - {node.domain for node in graph.node if (node.domain, node.op_type) in local}
        )
        if foreign:
            shown = foreign[0][:60].encode("unicode_escape").decode()
            raise CheckpointError(
                f"expected operators of ONNX and ONNX Runtime, got some of the library {shown}, which is not loaded: "
                "export the graph without them",
                code="graph_custom_operators",
            )
    if (version := opset_of(model)) < MIN_OPSET:
        raise CheckpointError(
            f"expected operator set {MIN_OPSET} or newer, got {version}: export the graph again",
            code="graph_opset_old",
        )


def _check_data(model: Any, folder: Path, root: Path) -> None:  # noqa: ANN401
    allowed, total = Path(os.path.realpath(root)), 0
    for name in _data_names(model):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        inside = bool(parts) and ".." not in parts and not PurePosixPath(name).is_absolute()
        if not inside or PureWindowsPath(name).drive or PureWindowsPath(name).root:
            raise _bad_data("a path that leads out of it")
        path = Path(os.path.realpath(folder / name))
        if not path.is_relative_to(allowed):
            raise _bad_data("a link that leads out of it")
        if not path.is_file():
            raise _bad_data("a file that does not exist: download the whole folder")
        total += path.stat().st_size
    if total > MAX_DATA_BYTES:
        raise _too_large(f"at most {MAX_DATA_BYTES:,} bytes of external data", f"{total:,}")


def _data_names(model: Any) -> set[str]:  # noqa: ANN401
    return {
        next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        for tensor in iterate_tensors(model)
        if len(tensor.external_data) or tensor.data_location == 1
    }


def _bad_data(found: str) -> CheckpointError:
    return CheckpointError(
        f"expected external data of the graph within its folder, got {found}", code="graph_external_data"
    )


def _too_large(limit: str, found: str) -> CheckpointError:
    return CheckpointError(f"expected a graph of {limit}, got {found}", code="graph_too_large")
