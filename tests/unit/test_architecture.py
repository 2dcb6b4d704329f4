"""The import order is the architecture (docs/architecture.md): every import in the code is held against this table."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUBSYSTEMS = ("build", "images", "layers", "logs", "networks", "volumes", "events", "runtime")

#: A part of guest_agent -> the parts that it may import. Each may import itself and `wire`.
ENGINE_MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "wire": (),
    "linux": (),
    "keeper": ("keeper",),
    "store": ("linux",),
    **dict.fromkeys(SUBSYSTEMS, ("store", "linux")),
    "engine": (*SUBSYSTEMS, "store", "linux", "keeper", "config"),
    "rpc": (),
    "buildkit": ("rpc", "engine", "build", "images"),
    "api": ("engine", "buildkit", "rpc"),
    "http": ("api",),
    "config": (),
    "agent": ("linux",),
    "relay": ("linux",),
    "boot": ("agent", "relay", "linux"),
    "serve": ("store", "linux", "config"),
    "daemon": ("http", "engine", "keeper", "store", "config"),
    "__main__": ("serve", "daemon", "store"),
    "__init__": (),
}
#: A part of hostvm -> the parts that it may import besides itself.
HOST_MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "cli": ("client", "machines", "settings"),
    "client": ("settings",),
    "machines": ("client", "settings"),
    "supervisor": ("machines", "forward", "names", "shares", "client", "settings"),
    "forward": (),
    "names": (),
    "shares": ("settings",),
    "settings": (),
    "__main__": ("cli",),
    "__init__": (),
}


def test_guest_agent_imports_downwards_only() -> None:
    wrong = [
        f"{path} imports {imported}"
        for path, imported in imports_below("guest_agent")
        if not engine_may_import(part_of(path), imported.split("."))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_keeper_imports_nothing_of_the_rest() -> None:
    """It outlives every version of the engine, and it must not fail with any of it."""
    wrong = [
        f"{path} imports {imported}"
        for path, imported in imports_below("guest_agent/keeper")
        if imported.startswith("guest_agent.") and not imported.startswith("guest_agent.keeper")
        if os.path.basename(path) != "client.py"  # the engine's end of it
    ]
    assert not wrong, "\n".join(wrong)


def test_wire_imports_nothing() -> None:
    wrong = [
        f"{path} imports {imported}"
        for path, imported in imports_below("guest_agent/wire")
        if imported.startswith(("guest_agent", "hostvm", "vm_images"))
        if not imported.startswith("guest_agent.wire")
    ]
    assert not wrong, "\n".join(wrong)


def test_hostvm_imports_only_wire_of_the_engine() -> None:
    wrong = [
        f"{path} imports {imported}"
        for path, imported in imports_below("hostvm")
        if not host_may_import(path, imported.split("."))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_command_line_starts_the_supervisor_and_never_imports_it() -> None:
    assert not {"supervisor", "forward", "shares"} & set(HOST_MAY_IMPORT["cli"])


def test_vm_images_stands_alone() -> None:
    wrong = [
        f"{path} imports {imported}"
        for path, imported in imports_below("vm_images")
        if imported.startswith(("hostvm", "guest_agent")) and not imported.startswith("guest_agent.wire")
    ]
    assert not wrong, "\n".join(wrong)


def test_only_linux_knows_ctypes() -> None:
    everything = [*imports_below("guest_agent"), *imports_below("hostvm"), *imports_below("vm_images")]
    wrong = [
        path
        for path, imported in everything
        if imported.split(".")[0] == "ctypes" and not path.startswith(("guest_agent/linux/", "hostvm/shares/libc.py"))
    ]
    assert not wrong, "\n".join(wrong)


def engine_may_import(part: str, target: list[str]) -> bool:
    if target[0] != "guest_agent" or len(target) == 1:
        return target[0] not in ("hostvm", "vm_images")
    return target[1] in {part, "wire", "__version__", *ENGINE_MAY_IMPORT[part]}


def host_may_import(path: str, target: list[str]) -> bool:
    if target[0] == "guest_agent":
        return target[1:2] == ["wire"]
    if target[0] == "vm_images":
        return path.endswith("/bootstrap.py") or path.startswith("hostvm/machines/vm/")  # what builds and boots images
    if target[:3] == ["hostvm", "forward", "rules"] and path == "hostvm/cli/machine_spec.py":
        return True  # pure: a rule that makes no sense is refused where it is typed
    part = part_of(path)
    return target[0] != "hostvm" or len(target) == 1 or target[1] in {part, "__version__", *HOST_MAY_IMPORT[part]}


def part_of(path: str) -> str:
    """The second component: "guest_agent/store/paths.py" -> "store"."""
    return path.split("/")[1].removesuffix(".py")


def imports_below(folder: str) -> Iterator[tuple[str, str]]:
    """(path from the root, dotted name) of each import statement, those inside functions included."""
    for place, _, names in os.walk(f"{ROOT}/{folder}"):
        for name in sorted(names):
            if name.endswith(".py"):
                path = f"{place}/{name}"
                with open(path, encoding="utf-8") as file:
                    tree = ast.parse(file.read(), path)
                yield from ((os.path.relpath(path, ROOT), imported) for imported in imported_names(tree))


def imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
