"""What the kernel and nftables refuse, as errors that a user may see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from guest_agent.linux.nftables import NftablesError
from guest_agent.wire.errors import HostFailed


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """`what` was to be done in the block; its failures come out as HostFailed."""
    try:
        yield
    except NftablesError as failure:
        text = str(failure).partition("\n")[0]
        raise HostFailed(f"can't {what}: nftables: {text}", hint="is the kernel's nf_tables module there?") from failure
    except OSError as failure:
        reason = failure.strerror or (os.strerror(failure.errno) if failure.errno else str(failure))
        raise HostFailed(f"can't {what}: {reason}") from failure
