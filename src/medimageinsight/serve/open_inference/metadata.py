"""What the Open Inference Protocol tells about a server and its models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight import schemas
from medimageinsight.serve.open_inference.statistics import VERSION
from medimageinsight.serve.open_inference.tensors import EXTENSION
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from medimageinsight.serve.models import ServedModel

PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"
INPUTS = ("image", "text")
OUTPUTS = ("image_embeddings", "text_embeddings")


def describe_server() -> schemas.ServerMetadata:
    """Return the server's name, version and extensions of the protocol."""
    return schemas.ServerMetadata(
        name="medimageinsight", version=__version__, extensions=[EXTENSION, "model_configuration", "statistics"]
    )


def describe_model(served: ServedModel) -> schemas.ModelMetadata:
    """Return a model's tensors."""
    shape = [-1, served.model.embedding_dim]
    return schemas.ModelMetadata(
        name=served.name,
        versions=[VERSION],
        platform=PLATFORM,
        inputs=[schemas.TensorMetadata(name=name, datatype="BYTES", shape=[-1]) for name in INPUTS],
        outputs=[schemas.TensorMetadata(name=name, datatype="FP32", shape=shape) for name in OUTPUTS],
    )


def describe_config(served: ServedModel) -> schemas.ModelConfig:
    """Return a model's tensors in the form of Triton's configuration."""
    dims = [-1, served.model.embedding_dim]
    return schemas.ModelConfig(
        name=served.name,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=0,
        input=[schemas.ConfigTensor(name=name, data_type="TYPE_STRING", dims=[-1]) for name in INPUTS],
        output=[schemas.ConfigTensor(name=name, data_type="TYPE_FP32", dims=dims) for name in OUTPUTS],
    )
