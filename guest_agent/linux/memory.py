"""The C library's allocator."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  #: malloc.h


def limit_arenas(count: int) -> bool:
    """At most so many heaps for all threads (mallopt(3)); False where the C library has no such thing.

    glibc makes eight for each processor, and what threads that come and go leave behind in them isn't used again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, count))
