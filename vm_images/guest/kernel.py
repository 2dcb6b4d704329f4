"""A Debian kernel as QEMU boots it without firmware. Bytes in, bytes out.

x86_64: the vmlinux inside of the bzImage, which QEMU enters by its PVH note (a second less than the bzImage, whose own
decompressor would run in the guest). Its place is in the boot header: Documentation/arch/x86/boot.rst, payload_offset.
arm64: the raw Image, as it is, or out of gzip or of an EFI zboot file (drivers/firmware/efi/libstub/zboot-header.S).
"""

from __future__ import annotations

import gzip
import lzma
import struct

from guest_agent.wire.errors import PeerMisbehaved
from vm_images.guest.elf import is_elf

_HEADER_MAGIC, _HEADER_AT = b"HdrS", 0x202
_SETUP_SECTORS_AT, _PAYLOAD_AT = 0x1F1, 0x248
_SECTOR = 512
_ARM64_MAGIC, _ARM64_MAGIC_AT = b"ARM\x64", 56
_ZBOOT_MAGIC, _ZBOOT_MAGIC_AT, _ZBOOT_PAYLOAD_AT = b"zimg", 4, 8


def extract_kernel(data: bytes, architecture: str) -> bytes:
    """The file for QEMU's -kernel. Raises PeerMisbehaved when the package's kernel isn't of a kind that we know."""
    try:
        return _vmlinux(data) if architecture == "amd64" else _arm64_image(data)
    except (ValueError, OSError, EOFError, struct.error, lzma.LZMAError) as error:
        raise PeerMisbehaved(f"the kernel package holds no kernel that QEMU could boot: {error}") from error


def _vmlinux(data: bytes) -> bytes:
    if data[_HEADER_AT : _HEADER_AT + 4] != _HEADER_MAGIC:
        raise ValueError("not a bzImage")
    offset, length = struct.unpack_from("<II", data, _PAYLOAD_AT)
    start = (data[_SETUP_SECTORS_AT] + 1) * _SECTOR + offset
    vmlinux = decompress(data[start : start + length])
    if not is_elf(vmlinux):
        raise ValueError("the bzImage's payload is no ELF file")
    return vmlinux


def _arm64_image(data: bytes) -> bytes:
    if data[_ZBOOT_MAGIC_AT : _ZBOOT_MAGIC_AT + 4] == _ZBOOT_MAGIC:
        offset, length = struct.unpack_from("<II", data, _ZBOOT_PAYLOAD_AT)
        data = data[offset : offset + length]
    image = decompress(data)
    if image[_ARM64_MAGIC_AT : _ARM64_MAGIC_AT + 4] != _ARM64_MAGIC:
        raise ValueError("not an arm64 Image")
    return image


def decompress(data: bytes) -> bytes:
    """By what the first bytes say; as it is where they say nothing. What follows the stream is ignored."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return _unzstd(data)
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(data)
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    return data


def _unzstd(data: bytes) -> bytes:
    """The kernel's stream doesn't tell the size of its contents."""
    import zstandard

    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
