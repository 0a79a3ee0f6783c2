"""The details of an error: google.rpc.ErrorInfo and its companions.

Read with descriptors of our own in a pool of our own. The generated google.rpc modules would need another package, and
registering them twice in one process, in two versions, is an error in protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Optional

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory

from .v1 import executor_pb2, types_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_TEXT, _NUMBER, _MESSAGE = _Field.TYPE_STRING, _Field.TYPE_INT32, _Field.TYPE_MESSAGE


@dataclass
class Details:
    """What an error says besides its status code. Empty where the server said nothing."""

    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: list[tuple[str, str]] = field(default_factory=list)
    retry_after: Optional[float] = None
    refusal: Optional[types_pb2.Refusal] = None
    failure: Optional[executor_pb2.ExecutionFailed] = None


def details_of(trailers: Optional[Iterable[tuple[str, Any]]]) -> Details:
    """The details in the trailers of a call. What is unknown is passed over."""
    found = Details()
    for key, value in trailers or ():
        if key == "grpc-status-details-bin":
            for detail in _Status.FromString(value).details:
                _read(detail, found)
    return found


def _read(detail: any_pb2.Any, found: Details) -> None:
    kind = detail.type_url.rpartition("/")[2]
    if kind == "google.rpc.ErrorInfo":
        info = _ErrorInfo.FromString(detail.value)
        found.reason, found.domain = info.reason, info.domain
        found.metadata = {entry.key: entry.value for entry in info.metadata}
    elif kind == "google.rpc.BadRequest":
        violations = _BadRequest.FromString(detail.value).field_violations
        found.violations = [(violation.field, violation.description) for violation in violations]
    elif kind == "google.rpc.RetryInfo":
        delay = _RetryInfo.FromString(detail.value).retry_delay
        found.retry_after = delay.seconds + delay.nanos / 1e9
    elif kind == "sluice.v1.Refusal":
        found.refusal = types_pb2.Refusal.FromString(detail.value)
    elif kind == "sluice.v1.ExecutionFailed":
        found.failure = executor_pb2.ExecutionFailed.FromString(detail.value)


def _messages() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="sluice/details.proto", package="sluice.details", syntax="proto3")
    file.dependency.extend(["google/protobuf/any.proto", "google/protobuf/duration.proto"])

    def message(name: str, *fields: tuple[str, int, int, str, bool]) -> None:
        added = file.message_type.add(name=name)
        for title, number, kind, type_name, repeated in fields:
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            added.field.add(name=title, number=number, type=kind, type_name=type_name or None, label=label)

    message("Status", ("details", 3, _MESSAGE, ".google.protobuf.Any", True))
    # A map is a list of entries on the wire.
    message("Entry", ("key", 1, _TEXT, "", False), ("value", 2, _TEXT, "", False))
    message("ErrorInfo", ("reason", 1, _TEXT, "", False), ("domain", 2, _TEXT, "", False), ("metadata", 3, _MESSAGE, ".sluice.details.Entry", True))
    message("Violation", ("field", 1, _TEXT, "", False), ("description", 2, _TEXT, "", False))
    message("BadRequest", ("field_violations", 1, _MESSAGE, ".sluice.details.Violation", True))
    message("RetryInfo", ("retry_delay", 1, _MESSAGE, ".google.protobuf.Duration", False))

    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, duration_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    names = ("Status", "ErrorInfo", "BadRequest", "RetryInfo")
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sluice.details.{name}")) for name in names]


_Status, _ErrorInfo, _BadRequest, _RetryInfo = _messages()
