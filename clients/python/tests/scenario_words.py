"""The words of test/clients/scenarios.yaml that need no call: references, expectations, errors as data."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Optional

import grpc
from google.protobuf import json_format

import sluice
from sluice._details import details_of
from sluice.v1 import executor_pb2, monitor_pb2, scheduler_pb2

SERVICES = {
    "SchedulerService": (scheduler_pb2, "scheduler"),
    "ExecutorService": (executor_pb2, "executor"),
    "MonitorService": (monitor_pb2, "monitor"),
}
PATIENCE_MS = 10_000


class Mismatch(AssertionError):
    """Something is not as the scenario says."""


def resolve(value: Any, saved: dict[str, Any]) -> Any:
    """The same with "$name.field.0" replaced by what was saved."""
    if isinstance(value, dict):
        return {key: resolve(inner, saved) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner, saved) for inner in value]
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    found: Any = saved
    for part in value[1:].split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError):
            raise Mismatch(f"{value}: there is no {part}") from None
    return found


def number(value: Any) -> float:
    """A number; 64 bit ones are text in JSON, and 0 is left out."""
    return 0 if value is None else float(value)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$absent": lambda wanted, value: (value is None) == wanted,
    "$present": lambda wanted, value: (value is not None) == wanted,
    "$at_least": lambda wanted, value: number(value) >= number(wanted),
    "$at_most": lambda wanted, value: number(value) <= number(wanted),
    "$greater_than": lambda wanted, value: number(value) > number(wanted),
    "$less_than": lambda wanted, value: number(value) < number(wanted),
    "$not": lambda wanted, value: not matches(wanted, value),
    "$length": lambda wanted, value: len(value or []) == wanted,
    "$contains": lambda wanted, value: wanted in (value or "")
    if isinstance(wanted, str) and isinstance(value, str)
    else any(matches(wanted, item) for item in value or []),
}


def match(wanted: Any, value: Any, path: str = "answer") -> None:
    """Raises Mismatch unless value is what is wanted. Fields that are not named do not matter."""
    if isinstance(wanted, dict) and any(key.startswith("$") for key in wanted):
        for operator, operand in wanted.items():
            if not OPERATORS[operator](operand, value):
                raise Mismatch(f"{path}: wanted {operator} {operand!r}, got {short(value)}")
    elif isinstance(wanted, dict):
        if not isinstance(value, dict):
            raise Mismatch(f"{path}: wanted {short(wanted)}, got {short(value)}")
        for key, inner in wanted.items():
            match(inner, value.get(key), f"{path}.{key}")
    elif isinstance(wanted, list):
        items = value or []
        if not isinstance(items, list) or len(items) != len(wanted):
            raise Mismatch(f"{path}: wanted {len(wanted)} items, got {short(value)}")
        for index, inner in enumerate(wanted):
            match(inner, items[index], f"{path}.{index}")
    elif not equal(wanted, value):
        raise Mismatch(f"{path}: wanted {wanted!r}, got {short(value)}")


def matches(wanted: Any, value: Any) -> bool:
    try:
        match(wanted, value)
    except Mismatch:
        return False
    return True


def equal(wanted: Any, value: Any) -> bool:
    if value is None:
        return wanted in (None, 0, "", False)
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    if isinstance(wanted, (int, float)) and isinstance(value, str):
        return str(wanted) == value
    return bool(wanted == value)


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 600 else f"{text[:600]}…"


def to_json(message: Any) -> dict[str, Any]:
    """A message as the scenarios see it: JSON with the names of the proto."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def rpc_error(error: grpc.RpcError) -> dict[str, Any]:
    """The error of a call as data."""
    details = details_of(error.trailing_metadata())
    return {
        "code": error.code().name,
        "message": error.details(),
        "reason": details.reason,
        "domain": details.domain,
        "metadata": details.metadata,
        "violations": [{"field": field, "description": text} for field, text in details.violations],
        "retry_after_ms": None if details.retry_after is None else details.retry_after * 1000,
        "refusal": None if details.refusal is None else to_json(details.refusal),
        "failure": None if details.failure is None else to_json(details.failure),
    }


KINDS: list[tuple[type[sluice.SluiceError], str]] = [
    (sluice.NeverFits, "never-fits"),
    (sluice.Refused, "refused"),
    (sluice.TimedOut, "timed-out"),
    (sluice.QueueFull, "queue-full"),
    (sluice.InvalidRequest, "invalid-request"),
    (sluice.TicketCancelled, "ticket-cancelled"),
    (sluice.LeaseGone, "lease-gone"),
    (sluice.Draining, "draining"),
    (sluice.Unreachable, "unreachable"),
    (sluice.Failed, "failed"),
]


def client_error(error: sluice.SluiceError) -> dict[str, Any]:
    """The error of the client as data."""
    kind = next((name for cls, name in KINDS if isinstance(error, cls)), "other")
    reasons = getattr(error, "reasons", [])
    largest = getattr(error, "largest_that_fits", None)
    return {
        "kind": kind,
        "message": str(error),
        "reason": error.reason,
        "violations": [{"field": field, "description": text} for field, text in error.violations],
        "retry_after_ms": None if error.retry_after is None else error.retry_after * 1000,
        "reasons": [to_json(reason) for reason in reasons],
        "largest_that_fits": None if largest is None else to_json(largest),
        "waited_ms": getattr(error, "waited", 0) * 1000,
        "failure": None if getattr(error, "failure", None) is None else to_json(error.failure),
    }


def method_of(name: str) -> tuple[str, Any]:
    """The attribute of the client that has the method, and its descriptor. "Allocate" or "ExecutorService.GetPlugin"."""
    service, _, method = name.rpartition(".")
    for candidate, (module, attribute) in SERVICES.items():
        methods = module.DESCRIPTOR.services_by_name[candidate].methods_by_name
        if service in ("", candidate) and method in methods:
            return attribute, methods[method]
    raise Mismatch(f"there is no method {name}")


def request_of(descriptor: Any, fields: Optional[dict[str, Any]]) -> Any:
    """The request message of a method."""
    kind = descriptor.input_type._concrete_class
    return json_format.ParseDict(fields or {}, kind())


def hold_arguments(fields: dict[str, Any]) -> dict[str, Any]:
    """Arguments of resources(), from the scenarios' words for them."""
    names = {"timeout_s": "timeout", "ttl_s": "ttl"}
    return {names.get(key, key): value for key, value in fields.items() if key != "evictable"}


def waiting_json(waiting: sluice.Waiting) -> dict[str, Any]:
    return {
        "position": waiting.position,
        "queue_length": waiting.queue_length,
        "reasons": [to_json(reason) for reason in waiting.reasons],
    }


def environment_of(environ: Any = os.environ) -> dict[str, str]:
    return dict(environ)


def say(message: dict[str, Any]) -> None:
    """One line to the driver."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def ask_driver(deed: Any) -> None:
    """Has the driver do something to the world, and waits until it is done. A deed is a word, or a word with an argument."""
    (word, argument), = deed.items() if isinstance(deed, dict) else [(deed, None)]
    say({"driver": word, "argument": argument})
    answer = json.loads(sys.stdin.readline())
    if not answer["ok"]:
        raise Mismatch(f"the driver could not {word}: {answer['why']}")
