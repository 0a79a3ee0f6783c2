"""Errors carry the server's reasons, whatever other packages are installed."""

from __future__ import annotations

import unittest
from typing import Any

import grpc

import sluice
from sluice._details import details_of
from sluice.errors import error_from

# As the server sends it: google.rpc.Status with ErrorInfo, RetryInfo and BadRequest (written out by hand from the wire format).


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def detail(kind: str, value: bytes) -> bytes:
    return field(3, field(1, f"type.googleapis.com/{kind}".encode()) + field(2, value))


ERROR_INFO = field(1, b"QUEUE_FULL") + field(2, b"sluice") + field(3, field(1, b"limit") + field(2, b"1"))
STATUS = (
    bytes([0x08, 8])
    + field(2, b"full")
    + detail("google.rpc.ErrorInfo", ERROR_INFO)
    + detail("google.rpc.RetryInfo", field(1, bytes([0x08, 5, 0x10, 0x80, 0xCA, 0xB5, 0xEE, 0x01])))
    + detail("google.rpc.BadRequest", field(1, field(1, b"workload.priority") + field(2, b"too high")))
    + detail("example.Unknown", b"\xff")
)


class Failure(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, trailers: Any = ()) -> None:
        self._code, self._trailers = code, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "in words"

    def trailing_metadata(self) -> Any:
        return self._trailers


class Errors(unittest.TestCase):
    def test_details_are_read_and_unknown_ones_passed_over(self) -> None:
        details = details_of([("other", "x"), ("grpc-status-details-bin", STATUS)])
        self.assertEqual((details.reason, details.domain, details.metadata), ("QUEUE_FULL", "sluice", {"limit": "1"}))
        self.assertEqual(details.retry_after, 5.5)
        self.assertEqual(details.violations, [("workload.priority", "too high")])

    def test_the_reason_decides_which_exception_it_is(self) -> None:
        error = error_from(Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, [("grpc-status-details-bin", STATUS)]))
        self.assertIsInstance(error, sluice.QueueFull)
        self.assertEqual((error.reason, error.retry_after, str(error)), ("QUEUE_FULL", 5.5, "in words"))

    def test_without_details_the_status_has_to_do(self) -> None:
        self.assertIsInstance(error_from(Failure(grpc.StatusCode.UNAVAILABLE)), sluice.Unreachable)
        self.assertIsInstance(error_from(Failure(grpc.StatusCode.INVALID_ARGUMENT, None)), sluice.InvalidRequest)
        self.assertIs(type(error_from(Failure(grpc.StatusCode.INTERNAL))), sluice.SluiceError)

    def test_everything_is_a_sluice_error(self) -> None:
        kinds = [getattr(sluice, name) for name in sluice.__all__]
        errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
        self.assertGreaterEqual(len(errors), 11)
        for error in errors:
            self.assertTrue(issubclass(error, sluice.SluiceError), error)


if __name__ == "__main__":
    unittest.main()
