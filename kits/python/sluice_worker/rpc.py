"""JSON-RPC 2.0, as far as a worker speaks it: one message a line, no batches."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, NoReturn, Union

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
FAILED = -32000
OUT_OF_MEMORY = -32001
CANCELLED = -32800

#: Longest text of an error, a log line or a progress message, in characters; the rest is cut.
MAX_TEXT = 8192

Id = Union[str, int, float]


class Call(NamedTuple):
    """A request, or a notification when it has no id."""

    id: Id | None
    method: str
    params: Any


class Refused(Exception):
    """A message is answered with this error instead of being handled. Without an id nobody can tell to what it belongs."""

    def __init__(self, call_id: Id | None, code: int, message: str) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.error = rpc_error(code, message)


def rpc_error(code: int, message: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message[:MAX_TEXT]}
    if data is not None:
        error["data"] = data
    return error


def is_id(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and value not in (math.inf, -math.inf)


def parse(line: bytes) -> Call | None:
    """The call that a line holds; None for an answer, because a worker never asks. Raises Refused when it is none."""
    try:
        message = json.loads(line, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise Refused(None, PARSE_ERROR, "The line is not JSON.") from None
    if not isinstance(message, dict):
        raise Refused(None, INVALID_REQUEST, "A message must be one JSON object.")
    call_id = message.get("id")
    if "method" not in message and ("result" in message or "error" in message):
        return None
    if "id" in message and not is_id(call_id):
        raise Refused(None, INVALID_REQUEST, "The id of a request must be a string or a number.")
    method, params = message.get("method"), message.get("params", {})
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(params, (dict, list)):
        raise Refused(call_id, INVALID_REQUEST, "The message is not a JSON-RPC 2.0 request.")
    return Call(call_id, method, params)


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
