"""The methods of the Open Inference Protocol over gRPC: a message in, a message out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from medimageinsight import schemas
from medimageinsight.errors import RequestError
from medimageinsight.serve.open_inference.grpc_messages import Message, message_class
from medimageinsight.serve.open_inference.infer import find_model, infer
from medimageinsight.serve.open_inference.metadata import describe_config, describe_model, describe_server
from medimageinsight.serve.open_inference.statistics import VERSION
from medimageinsight.serve.open_inference.tensors import read_elements, to_bytes
from medimageinsight.serve.rejection import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from medimageinsight.serve.models import ServedModel
    from medimageinsight.serve.routes.state import ServerState

logger = logging.getLogger("medimageinsight.serve")

KEYLESS = frozenset({"Check", "ServerLive", "ServerReady"})
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"  # a HealthCheckResponse: field 1, an enumeration
_DATA_TYPES = {"TYPE_STRING": 13, "TYPE_FP32": 11}  # of a configuration, in Triton's numbers


class InferenceService:
    """Answers requests of a server: a message's bytes by the bytes of another."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._small_methods = {
            "ModelConfig": self._model_config,
            "ModelMetadata": self._model_metadata,
            "ModelReady": self._model_ready,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
            "ServerLive": self._server_live,
            "ServerMetadata": self._server_metadata,
            "ServerReady": self._server_ready,
        }
        self.methods = (*self._small_methods, "ModelInfer")

    async def answer(self, method: str, content: bytes) -> bytes:
        """Answer a request of one of the ``methods``.

        Raises:
            InputError: The request cannot be used.
            Rejection: The server does not accept it.
        """
        if method == "ModelInfer":
            return await self._infer(content)
        if method == "Check":  # of gRPC's health service, whatever service it asks for
            return _SERVING if await self._is_ready() else _NOT_SERVING
        request = _parse(f"{method}Request", content)
        members = await self._small_methods[method](request)
        return _serialize(f"{method}Response", members)

    async def _infer(self, content: bytes) -> bytes:
        server = self._server

        def parse() -> tuple[Message, schemas.InferRequest]:
            message = _parse("ModelInferRequest", content)
            find_model(server, message.model_name, message.model_version)
            return message, schemas.validate(schemas.InferRequest, _to_json(message, server.settings.max_rows))

        with server.metrics.timed("parse"):
            message, request = await server.run(len(content), parse)
        name = message.model_name
        del message
        response = await infer(server, request, name)
        size = sum(tensor.data.nbytes for tensor in response.outputs if isinstance(tensor, schemas.OutputTensor))
        return await server.run(size, lambda: _serialize("ModelInferResponse", _infer_members(response)))

    async def _server_live(self, _: Message) -> dict[str, Any]:
        """Answer, so that the process is known to run."""
        return {"live": True}

    async def _server_ready(self, _: Message) -> dict[str, Any]:
        """Check that embeddings can be made with every model."""
        return {"ready": await self._is_ready()}

    async def _is_ready(self) -> bool:
        return not self._server.models.draining and await _are_ready(self._server.models.all())

    async def _model_ready(self, request: Message) -> dict[str, Any]:
        """Check that embeddings can be made with a model."""
        try:
            served = find_model(self._server, request.name, request.version)
        except Rejection as error:
            if error.retry_after_s is None:
                raise
            return {"ready": False}
        return {"ready": await _are_ready([served])}

    async def _server_metadata(self, _: Message) -> dict[str, Any]:
        """Return the server's name, version and extensions."""
        return describe_server().model_dump()

    async def _model_metadata(self, request: Message) -> dict[str, Any]:
        """Return a model's tensors."""
        return describe_model(find_model(self._server, request.name, request.version)).model_dump()

    async def _model_statistics(self, request: Message) -> dict[str, Any]:
        """Return the statistics of a model, or of every model for an empty name."""
        self._server.models.check_open()
        chosen = (
            [find_model(self._server, request.name, request.version)] if request.name else self._server.models.all()
        )
        return {"model_stats": [served.statistics.read(served.name).model_dump() for served in chosen]}

    async def _model_config(self, request: Message) -> dict[str, Any]:
        """Return a model's tensors in the form of Triton's configuration."""
        config = describe_config(find_model(self._server, request.name, request.version)).model_dump()
        for tensor in (*config["input"], *config["output"]):
            tensor["data_type"] = _DATA_TYPES[tensor["data_type"]]
        return {"config": config}

    async def _repository_index(self, _: Message) -> dict[str, Any]:
        """Return the names and versions of the models."""
        self._server.models.check_open()
        models = self._server.models.all()
        return {"models": [{"name": served.name, "version": VERSION, "state": "READY"} for served in models]}


def _parse(name: str, content: bytes) -> Message:
    try:
        return message_class(name).FromString(content)
    except Exception:  # protobuf's own, by its version
        raise RequestError(f"expected a message {name}, got other bytes", code="request_invalid") from None


def _serialize(name: str, members: Mapping[str, Any]) -> bytes:
    content: bytes = message_class(name)(**members).SerializeToString()
    return content


def _to_json(message: Message, max_rows: int) -> dict[str, Any]:
    """Return a request as `InferRequest` reads it, with elements of tensors as bytes."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RequestError(
            f"expected raw_input_contents for each of {len(message.inputs)} inputs, got {len(raw)}",
            code="request_invalid",
        )
    inputs = []
    for index, tensor in enumerate(message.inputs):
        shape = list(tensor.shape)
        data: list[bytes] = []
        if raw and tensor.HasField("contents"):
            raise RequestError("expected inputs with contents or raw contents, got both", code="request_invalid")
        if tensor.datatype == "BYTES":
            data = read_elements(raw[index], shape, max_rows) if raw else list(tensor.contents.bytes_contents)
        inputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": data})
    return {
        "id": message.id or None,
        "parameters": {name: _value(parameter) for name, parameter in message.parameters.items()},
        "inputs": inputs,
        "outputs": [{"name": output.name} for output in message.outputs] or None,
    }


def _value(parameter: Message) -> Any:  # noqa: ANN401 - a boolean, number or string
    choice = parameter.WhichOneof("parameter_choice")
    return None if choice is None else getattr(parameter, choice)


def _infer_members(response: schemas.InferResponse) -> dict[str, Any]:
    tensors = [tensor for tensor in response.outputs if isinstance(tensor, schemas.OutputTensor)]
    return {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id or "",
        "outputs": [{"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape} for tensor in tensors],
        "raw_output_contents": [to_bytes(tensor.data) for tensor in tensors],
    }


async def _are_ready(models: Iterable[ServedModel]) -> bool:
    chosen = list(models)
    try:
        await asyncio.gather(*(served.check_ready() for served in chosen))
    except Exception as error:  # whatever keeps an embedding from being made
        logger.error("not ready", extra={"error": type(error).__name__})
        return False
    return bool(chosen)
