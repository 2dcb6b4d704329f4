"""Names and ids of containers: docker's rule for what a name may be, and names for those who gave none."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Container as Collection

from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerId

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_MOODS = (
    "agile amber ample apt arctic astute balmy blithe bold brave breezy bright brisk calm candid clever cosy crisp "
    "curious daring deft dapper eager early earnest fair fearless fleet fluent fond frank fresh frosty gentle gifted "
    "glad golden graceful handy hardy hearty honest humble jolly jovial keen kind lively loyal lucid lucky mellow "
    "merry mild modest neat nimble noble patient placid plucky polite prompt proud quick quiet ready robust rosy "
    "serene sharp sincere smart snug spry stable steady stout sunny swift tidy upbeat valiant vivid warm wise witty "
    "zesty"
).split()

_PIONEERS = (
    "abel ada aiken amdahl babbage backus bartik berners boole cerf cantor church codd cray curry dahl dijkstra "
    "engelbart erlang euler fano floyd galois gauss germain goldwasser granville hamilton hamming hilbert hoare "
    "holberton hopper huffman hypatia iverson jacobi johnson kahan kahn kay kilburn kleene knuth kovalevskaya lamarr "
    "lamport liskov lovelace mandelbrot mccarthy mead milner minsky naur neumann newell noether nygaard perlis perlman "
    "postel ramanujan ritchie sammet shannon shor simon stallman strachey stroustrup sutherland tarjan thompson "
    "torvalds turing ullman viterbi wilkes wirth wozniak yao zuse"
).split()


def new_id() -> str:
    """64 random hex digits. Docker refuses ids whose first 12 are all digits: they would be read as a number."""
    while True:
        candidate = os.urandom(32).hex()
        if not candidate[:12].isdigit():
            return candidate


def check_name(name: str) -> str:
    """The name without its leading slash. Raises InvalidArgument in docker's wording."""
    bare = name.removeprefix("/")
    if not _NAME.fullmatch(bare):
        raise InvalidArgument(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        )
    return bare


def choose_name(taken: Collection[str], container_id: ContainerId) -> str:
    """A name that isn't in `taken`; after a few clashes it ends in digits of the id."""
    for _attempt in range(6):
        name = f"{random.choice(_MOODS)}_{random.choice(_PIONEERS)}"
        if name not in taken:
            return name
    return f"{name}_{container_id[:6]}"
