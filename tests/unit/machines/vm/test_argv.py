"""QEMU's exact argv on every kind of host: those that no test here can start are at least what was meant."""

from __future__ import annotations

import pytest

from hostvm.machines.vm.argv import Boot, Hardware, Plan, hardware_digest, plan_argv, plan_command_line
from hostvm.machines.vm.paths import MachinePaths

FILES = MachinePaths("/d/m", "/r/m")
BOOT = Boot("/c/kernel", "/c/initrd")
INIT = "rdinit=/usr/bin/python3 init=/usr/bin/python3 -- -ISE /usr/lib/hostvm/init.py"

#: What all hosts have in common, from the memory's size on.
DEVICES = """
-chardev file,id=console,path=/d/m/console.log,append=on -serial chardev:console
-chardev socket,id=monitor,path=/r/m/qmp.sock,server=on,wait=off -mon chardev=monitor,mode=control
-device virtio-serial-pci,id=serial,max_ports=4
-chardev socket,id=channel,path=/r/m/channel.sock,server=on,wait=off
-chardev socket,id=share,path=/r/m/share.sock,server=on,wait=off
-chardev file,id=log,path=/d/m/guest.log,append=on
-device virtserialport,bus=serial.0,nr=1,chardev=channel,name=hostvm.channel
-device virtserialport,bus=serial.0,nr=2,chardev=share,name=hostvm.share
-device virtserialport,bus=serial.0,nr=3,chardev=log,name=hostvm.log
-blockdev driver=file,filename=/d/m/disk.raw,node-name=disk-file,discard=unmap
-blockdev driver=raw,file=disk-file,node-name=disk,discard=unmap,detect-zeroes=unmap
-device virtio-blk-pci,id=disk,drive=disk
-netdev user,id=net,ipv6=off -device virtio-net-pci,netdev=net,romfile=
-device virtio-balloon-pci,id=balloon,free-page-reporting=on -device virtio-rng-pci
""".split()

COMMON = "-nodefaults -no-user-config -display none -no-reboot"
SANDBOX = "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
MEMORY = "-m 2048M -object memory-backend-file,id=ram,size=2048M,mem-path=/d/m/ram,share=on"
KERNEL = ["-kernel", "/c/kernel", "-initrd", "/c/initrd", "-append"]

X86 = f"quiet panic=-1 random.trust_cpu=on console=ttyS0 tsc=reliable no_timer_check {INIT}"
TCG = (
    "nokaslr norandmaps mitigations=off cryptomgr.notests"
    " initcall_blacklist=jent_mod_init,crypto_kdf108_init,load_system_certificate_list"
)
X86_TCG = f"quiet panic=-1 random.trust_cpu=on console=ttyS0 tsc=reliable no_timer_check {TCG} {INIT}"
ARM = f"quiet panic=-1 random.trust_cpu=on console=ttyAMA0 {INIT}"
ARM_TCG = f"quiet panic=-1 random.trust_cpu=on console=ttyAMA0 {TCG} {INIT}"

HOSTS = {
    "apple-silicon": (
        Hardware("aarch64", "hvf", 4, 2048),
        f"{COMMON} -machine virt,highmem=on,memory-backend=ram -accel hvf -cpu host -smp 4 {MEMORY}",
        ARM,
    ),
    "intel-mac": (
        Hardware("x86_64", "hvf", 4, 2048),
        f"{COMMON} -machine q35,vmport=off,sata=off,smbus=off,memory-backend=ram"
        f" -accel hvf -cpu host,-invtsc -smp 4 {MEMORY}",
        X86,
    ),
    "linux-kvm": (
        Hardware("x86_64", "kvm", 4, 2048, sandbox=True),
        f"{COMMON} {SANDBOX} -machine q35,vmport=off,sata=off,smbus=off,memory-backend=ram"
        f" -accel kvm -cpu host -smp 4 {MEMORY}",
        X86,
    ),
    "linux-kvm-arm": (
        Hardware("aarch64", "kvm", 4, 2048, sandbox=True),
        f"{COMMON} {SANDBOX} -machine virt,highmem=on,gic-version=host,memory-backend=ram"
        f" -accel kvm -cpu host -smp 4 {MEMORY}",
        ARM,
    ),
    "tcg": (
        Hardware("x86_64", "tcg", 4, 2048, sandbox=True),
        f"{COMMON} {SANDBOX} -machine q35,vmport=off,sata=off,smbus=off,memory-backend=ram"
        f" -accel tcg,thread=multi -cpu max,-erms,-fsrm -smp 4 {MEMORY}",
        X86_TCG,
    ),
    "tcg-arm": (
        Hardware("aarch64", "tcg", 4, 2048, sandbox=True),
        f"{COMMON} {SANDBOX} -machine virt,highmem=on,gic-version=3,memory-backend=ram"
        f" -accel tcg,thread=multi -cpu cortex-a72 -smp 4 {MEMORY}",
        ARM_TCG,
    ),
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_boot(host: str) -> None:
    hardware, words, command_line = HOSTS[host]
    assert plan_argv(Plan("qemu", hardware, FILES, BOOT)) == ["qemu", *words.split(), *KERNEL, command_line, *DEVICES]


@pytest.mark.parametrize("host", HOSTS)
def test_a_resume_needs_no_kernel(host: str) -> None:
    hardware, words, _ = HOSTS[host]
    argv = plan_argv(Plan("qemu", hardware, FILES, Boot(incoming=True)))
    assert argv == ["qemu", *words.split(), "-incoming", "defer", *DEVICES]


def test_commas_in_paths_are_doubled() -> None:
    files = MachinePaths("/a,b/m", "/r,s/m")
    words = plan_argv(Plan("qemu", HOSTS["tcg"][0], files, BOOT))
    paths = [word for word in words if "/m/" in word]
    assert len(paths) == 7
    assert all("/a,,b/m/" in word or "/r,,s/m/" in word for word in paths)


def test_mitigations_are_off_only_where_the_cpu_is_emulated() -> None:
    for hardware, *_ in HOSTS.values():
        assert ("mitigations=off" in plan_command_line(hardware)) == (hardware.accelerator == "tcg")


def test_the_digest_follows_what_the_guest_sees() -> None:
    base = Hardware("x86_64", "tcg", 4, 2048)
    others = [
        Hardware("x86_64", "tcg", 2, 2048), Hardware("x86_64", "tcg", 4, 1024), Hardware("x86_64", "kvm", 4, 2048),
        Hardware("aarch64", "tcg", 4, 2048),
    ]  # fmt: skip
    assert len({hardware_digest(one) for one in [base, *others]}) == 5
    assert hardware_digest(base) == hardware_digest(Hardware("x86_64", "tcg", 4, 2048, sandbox=True))
