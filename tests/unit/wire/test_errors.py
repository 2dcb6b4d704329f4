"""Every error has its place in the tables, and comes back from the wire as what it was."""

from __future__ import annotations

import pytest

from guest_agent.wire import errors

#: A failed call of gRPC has codes of its own, and never crosses ours.
CLASSES = sorted(
    (it for it in errors.HostvmError.__subclasses__() if it.__module__ == errors.__name__), key=lambda it: it.kind
)


def test_all_classes_are_in_all_tables() -> None:
    assert set(errors.ERROR_CLASSES.values()) == set(CLASSES)
    assert set(errors.HTTP_STATUS) == set(errors.ERROR_CLASSES)
    assert set(errors.RUN_EXIT_CODE) <= set(errors.ERROR_CLASSES)


@pytest.mark.parametrize("error_class", CLASSES)
def test_an_error_survives_the_wire(error_class: type[errors.HostvmError]) -> None:
    sent = error_class("it broke", "mend it")
    received = errors.error_from(sent.kind, sent.message, sent.hint)
    assert type(received) is error_class
    assert (received.message, received.hint, str(received)) == ("it broke", "mend it", "it broke")
    assert received.blame in ("user", "peer", "host")


def test_a_kind_from_the_future_is_internal() -> None:
    assert type(errors.error_from("quantum-decoherence", "what?")) is errors.Internal


def test_exit_codes_and_statuses_are_dockers() -> None:
    assert errors.RUN_EXIT_CODE == {"command-not-found": 127, "command-not-executable": 126}
    statuses = {"not-found": 404, "conflict": 409, "not-modified": 304, "invalid-argument": 400, "internal": 500}
    assert statuses.items() <= errors.HTTP_STATUS.items()
