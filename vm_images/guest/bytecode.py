"""Python's bytecode for the guest: without it an import of asyncio takes seconds under emulation.

The files are *unchecked* (PEP 552): the interpreter takes them without a look at the source. They must be the same
whichever run makes them; marshal's versions 3 and 4 store what is shared by its reference count, which differs from
run to run, so that version 2 is written, which shares nothing.

Bytecode belongs to one Python. Where the builder runs another one than the guest's, there are sources only.
"""

from __future__ import annotations

import importlib.util
import marshal
import posixpath
import struct
import sys

_UNCHECKED = 1
_MARSHAL = 2


def can_compile(version: str) -> bool:
    """Whether this interpreter makes bytecode for a guest with Python `version` ("3.11")."""
    return sys.implementation.name == "cpython" and sys.version_info[:2] == tuple(map(int, version.split(".")))


def compiled_path(path: str, version: str) -> str:
    """Where the guest's interpreter looks (PEP 3147)."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, "__pycache__", f"{name.removesuffix('.py')}.cpython-{version.replace('.', '')}.pyc")


def compile_source(source: bytes, path: str) -> bytes:
    """`path` is what tracebacks say. Raises SyntaxError, ValueError."""
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + struct.pack("<I", _UNCHECKED) + importlib.util.source_hash(source)
    return head + marshal.dumps(code, _MARSHAL)
