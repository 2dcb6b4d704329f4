"""What the engine says of a build: a JSON object a line, and where files were asked for their tar behind the last."""

from guest_agent.wire.errors import PeerMisbehaved
from hostvm.client.http import ProtocolError
from hostvm.client.jsontext import loads_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostvm.client.connection import Answer


class Report:
    """`lines` are read first."""

    def __init__(self, answer: "Answer") -> None:
        self._chunks = answer.chunks()
        self._pending = b""
        self._have_files = False

    def lines(self) -> "Iterator[dict[str, object]]":
        """The objects, without the one that says that files follow."""
        for chunk in self._chunks:
            self._pending += chunk
            while not self._have_files and b"\n" in self._pending:
                line, _, self._pending = self._pending.partition(b"\n")
                record = loads_object(line)
                self._have_files = "files" in record
                if not self._have_files:
                    yield record
            if self._have_files:
                return

    def files(self) -> "Iterator[bytes]":
        """The tar; nothing where none was asked for. Raises PeerMisbehaved where it breaks off."""
        if not self._have_files:
            return
        yield self._pending
        try:
            yield from self._chunks
        except (ProtocolError, ConnectionError) as error:
            raise PeerMisbehaved(f"the engine couldn't send all files of the build: {error}") from error
