"""Datagrams over a byte stream: each is preceded by its length as a big-endian u16, which is what UDP allows."""

from __future__ import annotations


def encode(datagram: bytes | memoryview) -> bytes:
    return len(datagram).to_bytes(2, "big") + datagram


class Decoder:
    """Bytes in, however they were cut; whole datagrams out. Holds one unfinished datagram at most."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        buffer = self._buffer
        buffer += data
        datagrams, at = [], 0
        while len(buffer) - at >= 2:
            stop = at + 2 + (buffer[at] << 8 | buffer[at + 1])
            if stop > len(buffer):
                break
            datagrams.append(bytes(buffer[at + 2 : stop]))
            at = stop
        del buffer[:at]
        return datagrams
