"""The guest image of Debian's packages: small, the same each time, and alive on both processors.

Nothing here needs root or KVM. Packages come from the mirror that `hostvm bootstrap` would take, through its cache.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.unit.vm_images.small_archive import Silent
from vm_images.build import cache_folder
from vm_images.debian.apt_settings import read_apt_settings
from vm_images.debian.download import Fetcher
from vm_images.guest import GuestImage, verify_image
from vm_images.guest.build import build_image, plan_means
from vm_images.guest.bytecode import can_compile, compile_source, compiled_path
from vm_images.guest.contents import PYTHON
from vm_images.guest.cpio import write_cpio
from vm_images.tree import Tree

ROOT = Path(__file__).parents[3]
ARCHITECTURES = ("x86_64", "aarch64")
MOST_COMPRESSED = 40_000_000  #: the issue's limit for kernel and root file system together
BOOT_DEADLINE = 180.0  #: seconds; an idle machine needs 20 for all answers under TCG

_MACHINES = {
    "x86_64": ("-machine", "q35", "-cpu", "max"),
    "aarch64": ("-machine", "virt,gic-version=3", "-cpu", "cortex-a72"),
}
_CONSOLES = {"x86_64": "console=ttyS0 tsc=reliable no_timer_check", "aarch64": "console=ttyAMA0"}
_INIT = "rdinit=/usr/bin/python3 -- -ISE /usr/lib/hostvm/init.py"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """pytest keeps the folders of its last three runs; half a gigabyte each is too much for that."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def build(folder: Path, arch: str) -> GuestImage:
    progress, apt = Silent(), read_apt_settings()
    fetcher = Fetcher(cache_folder(os.environ, platformdirs.user_cache_dir("hostvm")), progress, apt.proxies)
    mirror = os.environ.get("HOSTVM_DEBIAN_MIRROR", "")
    return build_image(str(folder), arch, plan_means(str(folder), fetcher, progress, apt, mirror))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_two_builds_give_the_same_bytes_and_few_of_them(folder: Path, arch: str) -> None:
    first, second = (build(folder / name, arch) for name in ("a", "b"))
    verify_image(first)
    assert first.id == second.id
    compressed = zstandard.ZstdCompressor(level=9)  # xz and higher levels come out smaller
    assert sum(len(compressed.compress(Path(it).read_bytes())) for it in (first.kernel, first.rootfs)) < MOST_COMPRESSED


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_boots_and_all_that_is_in_it_works(folder: Path, arch: str) -> None:
    answers = boot(build(folder, arch), folder)
    wrong = {name: answer for name, answer in answers.items() if answer[0] != 0}
    assert not wrong
    assert len([name for name in answers if name.startswith("module ")]) > 15
    assert int(answers["imports"][1]) > 100  # certificates
    assert answers["path"][1].split()[-1] == "/usr/lib/hostvm"
    assert int(answers["engine"][1]) > 100
    (other,) = set(ARCHITECTURES) - {arch}
    assert answers["formats"][1].split()[:2] == [f"qemu-{other}", "enabled"]
    assert "flags: POCF" in answers["formats"][1]
    assert "+SECCOMP" in answers["crun"][1]
    assert "masquerade" in answers["nft-list"][1]
    assert {"passwordauthentication no", "permitrootlogin without-password"} <= set(answers["sshd"][1].splitlines())


def boot(image: GuestImage, folder: Path) -> dict[str, tuple[int, str]]:
    """Runs the payload in a guest; what each of its checks answered. The guest has ended afterwards."""
    initrd = folder / "initrd"
    initrd.write_bytes(Path(image.rootfs).read_bytes() + plan_payload())
    argv = [
        f"qemu-system-{image.arch}", *_MACHINES[image.arch], "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1G",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", image.kernel, "-initrd", str(initrd),
        "-append", f"{_CONSOLES[image.arch]} quiet loglevel=3 panic=-1 random.trust_cpu=on {_INIT}",
    ]  # fmt: skip
    result = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BOOT_DEADLINE,
        check=False,
    )
    lines = result.stdout.decode("utf-8", "replace").splitlines()
    answers = [json.loads(line.removeprefix("ANSWER ")) for line in lines if line.startswith("ANSWER ")]
    assert answers, "\n".join(lines[-20:])
    return {name: (code, output) for name, code, output in answers}


def plan_payload() -> bytes:
    """The archive that follows the image's: the payload as init, the engine's code, and a host key for sshd."""
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    tree = Tree(io.BytesIO())
    tree.add_file("usr/lib/hostvm/init.py", (Path(__file__).parent / "payload.py").read_bytes())
    for path in (ROOT / "guest_agent").rglob("*.py"):
        _add_source(tree, f"usr/lib/hostvm/{path.relative_to(ROOT)}", path.read_bytes())
    tree.add_file("run/hostvm/ssh_host_ed25519_key", key, 0o600)
    out = io.BytesIO()
    write_cpio(tree, out, 0, ())
    return out.getvalue()


def _add_source(tree: Tree, path: str, source: bytes) -> None:
    """With its bytecode: the guest would need a minute to compile all of it."""
    tree.add_file(path, source)
    if can_compile(PYTHON):
        tree.add_file(compiled_path(path, PYTHON), compile_source(source, f"/{path}"))
