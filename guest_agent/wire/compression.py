"""How compressed data begin: RFC 1952, RFC 8878, bzip2's and xz's formats. On the command line's way: no imports."""

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
BZIP2 = b"BZh"
XZ = b"\xfd7zXZ\x00"
COMPRESSED = (GZIP, ZSTD, BZIP2, XZ)
