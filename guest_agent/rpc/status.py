"""How a call ends: gRPC's codes, and the error that carries one.

https://grpc.io/docs/guides/status-codes/
"""

from __future__ import annotations

from enum import IntEnum

from guest_agent.wire.errors import HostvmError


class Code(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallFailed(HostvmError):
    """A call ended with another code than OK: here, or at the peer's."""

    kind = "call-failed"
    blame = "peer"

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        """`details` is the whole as a google.rpc.Status, where there is more to say than these two."""
        super().__init__(message)
        self.code = code
        self.details = details


#: An error's kind -> the code that says the same. Others are UNKNOWN, as a Go server has it.
_CODES = {
    "invalid-argument": Code.INVALID_ARGUMENT,
    "not-found": Code.NOT_FOUND,
    "conflict": Code.FAILED_PRECONDITION,
    "unauthorized": Code.UNAUTHENTICATED,
    "forbidden": Code.PERMISSION_DENIED,
    "unsupported": Code.UNIMPLEMENTED,
    "unavailable": Code.UNAVAILABLE,
    "internal": Code.INTERNAL,
}


def code_of(error: HostvmError) -> int:
    return error.code if isinstance(error, CallFailed) else _CODES.get(error.kind, Code.UNKNOWN)
