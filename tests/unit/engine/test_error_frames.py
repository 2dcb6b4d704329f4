"""An error that is kept keeps nothing else."""

from __future__ import annotations

import gc
import weakref

import pytest

from guest_agent.engine.error_frames import forget_frames


class Large:
    pass


def fail(known: list[weakref.ref[Large]]) -> None:
    large = Large()
    known.append(weakref.ref(large))
    raise ValueError


def fail_again(known: list[weakref.ref[Large]]) -> None:
    large = Large()
    known.append(weakref.ref(large))
    try:
        fail(known)
    except ValueError as error:
        raise KeyError from error


def test_the_variables_of_both_errors_are_free() -> None:
    known: list[weakref.ref[Large]] = []
    with pytest.raises(KeyError) as caught:
        fail_again(known)
    gc.disable()
    try:
        assert [one() is None for one in known] == [False, False]
        forget_frames(caught.value)
        assert [one() is None for one in known] == [True, True]
    finally:
        gc.enable()
