"""The messages of the Open Inference Protocol over gRPC, by its field numbers and those of Triton's extensions.

They are made when the server starts, in a pool of their own: no generated code, and no conflict with a client's
messages of the same names in one process.
"""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message: TypeAlias = Any  # of protobuf, without types

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

# Of each message: fields as "name type number". "*" is repeated, "?" a member of the message's only oneof, "map" a map
# of names to InferParameter; a type in capitals is a message.
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live bool 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready bool 1",
    "ModelReadyRequest": "name string 1, version string 2",
    "ModelReadyResponse": "ready bool 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name string 1, version string 2, extensions string* 3",
    "ModelMetadataRequest": "name string 1, version string 2",
    "ModelMetadataResponse": "name string 1, versions string* 2, platform string 3, inputs TensorMetadata* 4, "
    "outputs TensorMetadata* 5",
    "TensorMetadata": "name string 1, datatype string 2, shape int64* 3",
    "InferParameter": "bool_param bool? 1, int64_param int64? 2, string_param string? 3, double_param double? 4, "
    "uint64_param uint64? 5",
    "InferTensorContents": "bool_contents bool* 1, int_contents int32* 2, int64_contents int64* 3, "
    "uint_contents uint32* 4, uint64_contents uint64* 5, fp32_contents float* 6, fp64_contents double* 7, "
    "bytes_contents bytes* 8",
    "ModelInferRequest": "model_name string 1, model_version string 2, id string 3, parameters map 4, "
    "inputs InferInputTensor* 5, outputs InferRequestedOutputTensor* 6, raw_input_contents bytes* 7",
    "InferInputTensor": "name string 1, datatype string 2, shape int64* 3, parameters map 4, "
    "contents InferTensorContents 5",
    "InferRequestedOutputTensor": "name string 1, parameters map 2",
    "ModelInferResponse": "model_name string 1, model_version string 2, id string 3, parameters map 4, "
    "outputs InferOutputTensor* 5, raw_output_contents bytes* 6",
    "InferOutputTensor": "name string 1, datatype string 2, shape int64* 3, parameters map 4, "
    "contents InferTensorContents 5",
    "ModelStatisticsRequest": "name string 1, version string 2",
    "ModelStatisticsResponse": "model_stats ModelStatistics* 1",
    "ModelStatistics": "name string 1, version string 2, last_inference uint64 3, inference_count uint64 4, "
    "execution_count uint64 5, inference_stats InferStatistics 6, batch_stats InferBatchStatistics* 7",
    "InferStatistics": "success StatisticDuration 1, fail StatisticDuration 2, queue StatisticDuration 3, "
    "compute_input StatisticDuration 4, compute_infer StatisticDuration 5, compute_output StatisticDuration 6",
    "InferBatchStatistics": "batch_size uint64 1, compute_infer StatisticDuration 3",
    "StatisticDuration": "count uint64 1, ns uint64 2",
    "ModelConfigRequest": "name string 1, version string 2",
    "ModelConfigResponse": "config ModelConfig 1",
    "ModelConfig": "name string 1, platform string 2, max_batch_size int32 4, input ModelInput* 5, "
    "output ModelOutput* 6, backend string 17",
    "ModelInput": "name string 1, data_type int32 2, dims int64* 4",
    "ModelOutput": "name string 1, data_type int32 2, dims int64* 3",
    "RepositoryIndexRequest": "repository_name string 1, ready bool 2",
    "RepositoryIndexResponse": "models ModelIndex* 1",
    "ModelIndex": "name string 1, version string 2, state string 3, reason string 4",
}
_PARAMETERS = "InferParameter"
_ONEOF = "parameter_choice"
_Field = descriptor_pb2.FieldDescriptorProto


@functools.cache
def message_class(name: str) -> Any:  # noqa: ANN401 - a class that protobuf makes
    """Return the class of the messages of a name."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@functools.cache
def _pool() -> Any:  # noqa: ANN401 - of protobuf, without types
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            _add_field(message, *field.split())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: Message, name: str, kind: str, number: str) -> None:
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if kind == "map":
        field.label = _Field.LABEL_REPEATED
        _set_type(field, f"{message.name}.ParametersEntry")
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, "key", "string", "1")
        _add_field(entry, "value", _PARAMETERS, "2")
        return
    if kind.endswith("*"):
        field.label = _Field.LABEL_REPEATED
    if kind.endswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name=_ONEOF)
        field.oneof_index = 0
    _set_type(field, kind.rstrip("*?"))


def _set_type(field: Message, kind: str) -> None:
    if kind[0].isupper():
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
