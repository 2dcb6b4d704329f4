"""The host side (hostvm, vm_images, the wire types) without what only Linux has. No Mac ran this: docs/macos.md."""

from __future__ import annotations

import os
import subprocess
import sys

ROOT = os.path.normpath(f"{os.path.dirname(os.path.abspath(__file__))}/../../..")
HOST_SIDE = ("cli", "forward", "machines", "names", "shares", "supervisor", "vm_images", "wire")

#: What doesn't run there: tests of what a Mac has no use for, and of what Darwin's own kernel would have to answer.
ELSEWHERE = {
    "cli/test_native.py": "a Mac has no native engine",
    "shares/test_link.py": "it has the guest's end at the other side of the link",
    "supervisor/test_repositories.py": "it has the engine at the other end",
    "machines/vm/test_state.py::test_this_boot_has_a_name": "sysctl kern.bootsessionuuid",
    "supervisor/test_small_parts.py::test_a_process_is_pid_and_start_time": "kqueue",
    "supervisor/test_small_parts.py::test_who_listens": "LOCAL_PEERPID",
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "tests.unit.macos", *words]
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def test_every_module_of_the_host_side_can_be_imported() -> None:
    done = run("import")
    assert done.returncode == 0, done.stderr
    wanted = {module for package in ("hostvm", "vm_images", "guest_agent/wire") for module in modules_below(package)}
    assert wanted <= set(done.stdout.split())


def modules_below(package: str) -> list[str]:
    files = [f"{place}/{name}" for place, _, names in os.walk(f"{ROOT}/{package}") for name in names]
    paths = [os.path.relpath(path, ROOT) for path in files if path.endswith(".py") and "__main__" not in path]
    return [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in paths]


def test_its_unit_tests_pass() -> None:
    """Each of `ELSEWHERE` is there still: a name that no test has any more would hide nothing, and say so."""
    for place in ELSEWHERE:
        path, _, name = place.partition("::")
        with open(f"{ROOT}/tests/unit/{path}", encoding="utf-8") as file:
            assert not name or f"def {name}(" in file.read(), place
    left_out = [
        f"--deselect=tests/unit/{place}" if "::" in place else f"--ignore=tests/unit/{place}" for place in ELSEWHERE
    ]
    folders = [f"tests/unit/{folder}" for folder in HOST_SIDE]
    done = run("pytest", "-q", "-p", "no:cacheprovider", *left_out, *folders)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
