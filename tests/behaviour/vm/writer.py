"""A writer in a container that says what it has on the disk, so that a power cut can be held against its word."""

from __future__ import annotations

import subprocess
import threading
from types import TracebackType

from tests.behaviour.harness.vm import VmMachine
from tests.behaviour.harness.waiting import patience, wait_for

#: Appends rows, and says each one's number only after fsync(2) has returned. Perl is in every Debian.
SCRIPT = """
use IO::Handle;
$| = 1;
open(my $file, ">>", "/data/rows") or die $!;
for (my $n = $ARGV[0];; $n++) { print $file "row $n\n"; $file->flush; $file->sync or die $!; print "$n\n" }
"""


class Writer:
    """`with Writer(machine, first) as writer:`; the client is ended at the end, wherever its container is by then."""

    def __init__(self, machine: VmMachine, first: int) -> None:
        self.acknowledged = first - 1
        words = ("run", "--rm", "-v", "rows:/data", "debian:bookworm", "perl", "-e", SCRIPT, str(first))
        self._client = machine.start(*words)
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Writer:
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.kill()
        self._client.communicate()
        self._reader.join()

    def _read(self) -> None:
        assert self._client.stdout is not None
        for line in self._client.stdout:
            if line.endswith(b"\n"):  # a number cut short says nothing
                self.acknowledged = int(line)

    def wait_for_rows(self, count: int) -> None:
        """Returns when this many more rows have been acknowledged."""
        goal = self.acknowledged + count
        wait_for(lambda: self.acknowledged >= goal or self._client.poll() is not None, f"row {goal}")
        assert self.acknowledged >= goal, self._complaint()

    def wait_until_it_hears(self) -> None:
        """Returns when the client has been told that its machine is gone; after that nothing is acknowledged."""
        self._client.wait(patience())
        self._reader.join()

    def _complaint(self) -> str:
        try:
            return self._client.communicate(timeout=patience())[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            return "the writer hangs"
