"""What a build needs of an engine. The command line implements it over the engine's ordinary API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol


class ImageHost(Protocol):
    """An engine. Every method raises the engine's error (`wire.errors`) as it is."""

    def find_labels(self, reference: str) -> Mapping[str, str] | None:
        """An image's labels; None where there is no such image."""

    def load(self, archive: Iterator[bytes]) -> None:
        """Takes an image archive, with the name that is in it."""

    def create(self, image: str, command: Sequence[str], packages: str, target: str) -> str:
        """Makes a container, not started: no network, the host's folder `packages` read-only at `target`. Its id."""

    def run(self, container: str, output: Callable[[bytes], None]) -> int:
        """Starts a container and waits for it. `output` gets what it writes, as it comes. The exit code."""

    def export(self, container: str) -> Iterator[bytes]:
        """The tar of a container's root file system, without what is mounted into it."""

    def commit(self, container: str, reference: str, changes: Sequence[str], created: int) -> None:
        """Makes an image of a container: its image's layers and one of what it has changed.

        `changes` are Dockerfile lines: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR. `created` is the
        image's time in seconds: the same contents are the same image.
        """

    def attach(self, reference: str, media_type: str, document: bytes) -> None:
        """Keeps a text beside an image, in the place of one of that type, for its pushes."""

    def remove_container(self, container: str) -> None:
        """Removes a container with its anonymous volumes, a running one as well; one that isn't there is no error."""

    def remove_image(self, reference: str) -> None:
        """Takes a name away from an image, and the image if it was the last; one that isn't there is no error."""
