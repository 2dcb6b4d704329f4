"""The argv of QEMU, put together by one small contributor for each part. Pure.

What is said here is part of a saved state's identity (`hardware_digest`): a state is only resumed by a QEMU whose
hardware is the same. Files are not: they move with the machine's folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from hostvm.machines.vm.paths import MachinePaths
from hostvm.machines.vm.qemu import SANDBOX

#: Kernel options of every guest. `panic=-1` with `-no-reboot`: a panic ends QEMU at once, and the host notices.
_KERNEL = "quiet panic=-1 random.trust_cpu=on"
#: An emulated CPU speculates nothing and leaks nothing: what guards against that only costs (0.4 s of a boot). Code is
#: translated once for each address that it is mapped at, so the boot's processes share theirs (init ends that before
#: any container starts, `Init.begin`): an interpreter starts in half the time. Nor are ciphers tested that nobody uses.
_KERNEL_TCG = (
    "nokaslr norandmaps mitigations=off cryptomgr.notests"
    " initcall_blacklist=jent_mod_init,crypto_kdf108_init,load_system_certificate_list"
)
#: QEMU's emulated clocks are reliable; to check them takes the guest's kernel a while.
_KERNEL_X86 = "tsc=reliable no_timer_check"
#: With "enhanced rep movsb" Linux copies and clears memory by that one instruction, which TCG emulates byte by byte:
#: 130 MB/s instead of 1.2 GB/s, for everything that passes a pipe, a socket or a new page.
_MODEL_X86_TCG = "max,-erms,-fsrm"
#: The image's interpreter is the guest's first process; the script comes by the handover (handover.py).
#: Without `init=` the kernel would go on to /sbin/init when there is none, and wait there for ever.
_INIT = "rdinit=/usr/bin/python3 init=/usr/bin/python3 -- -ISE /usr/lib/hostvm/init.py"
#: Streams a virtio-serial device may have; the default of 31 makes 31 pairs of queues.
_PORTS = ("channel", "share", "log")


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the guest sees. `memory` in MiB; `accelerator`: hvf, kvm or tcg."""

    arch: str
    accelerator: str
    cpus: int
    memory: int
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class Boot:
    """How it begins: a kernel is booted, or with `incoming` QEMU waits for a saved state."""

    kernel: str = ""
    initrd: str = ""
    incoming: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the contributors need."""

    program: str
    hardware: Hardware
    files: MachinePaths
    boot: Boot


def plan_argv(plan: Plan) -> list[str]:
    return [plan.program, *(word for contribute in _CONTRIBUTORS for word in contribute(plan))]


def hardware_digest(hardware: Hardware) -> str:
    """Of everything that the guest sees, and of nothing else."""
    plan = Plan("", replace(hardware, sandbox=False), MachinePaths("", ""), Boot())
    return hashlib.sha256("\0".join(plan_argv(plan)).encode()).hexdigest()


def plan_command_line(hardware: Hardware) -> str:
    """The kernel's command line."""
    console = "console=ttyS0" if hardware.arch == "x86_64" else "console=ttyAMA0"
    parts = [_KERNEL, console]
    if hardware.arch == "x86_64":
        parts.append(_KERNEL_X86)
    if hardware.accelerator == "tcg":
        parts.append(_KERNEL_TCG)
    return " ".join([*parts, _INIT])


def escape(path: str) -> str:
    """QEMU's option syntax: a comma in a value is doubled."""
    return path.replace(",", ",,")


def _process(plan: Plan) -> list[str]:
    words = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    return [*words, "-sandbox", SANDBOX] if plan.hardware.sandbox else words


def _machine(plan: Plan) -> list[str]:
    hardware = plan.hardware
    if hardware.arch == "x86_64":
        kind = "q35,vmport=off,sata=off,smbus=off"
    else:
        kind = f"virt,highmem=on{_interrupt_controller(hardware)}"
    return ["-machine", f"{kind},memory-backend=ram"]


def _interrupt_controller(hardware: Hardware) -> str:
    """Version 2 serves 8 CPUs. HVF has its own rules, and its default is left alone."""
    return {"kvm": ",gic-version=host", "tcg": ",gic-version=3"}.get(hardware.accelerator, "")


def _processor(plan: Plan) -> list[str]:
    hardware = plan.hardware
    accelerator = "tcg,thread=multi" if hardware.accelerator == "tcg" else hardware.accelerator
    return ["-accel", accelerator, "-cpu", _model(hardware), "-smp", str(hardware.cpus)]


def _model(hardware: Hardware) -> str:
    """An invariant time stamp counter can't be saved, so `host` must go without (QEMU, cpu models)."""
    if hardware.accelerator != "tcg":
        return "host,-invtsc" if (hardware.arch, hardware.accelerator) == ("x86_64", "hvf") else "host"
    return _MODEL_X86_TCG if hardware.arch == "x86_64" else "cortex-a72"


def _memory(plan: Plan) -> list[str]:
    """A shared mapping of a file: a saved state then holds the devices alone, and is written in no time."""
    size = f"{plan.hardware.memory}M"
    backend = f"memory-backend-file,id=ram,size={size},mem-path={escape(plan.files.ram)},share=on"
    return ["-m", size, "-object", backend]


def _kernel(plan: Plan) -> list[str]:
    """Nothing of it is needed where the memory comes with the state."""
    if plan.boot.incoming:
        return ["-incoming", "defer"]
    words = ["-kernel", plan.boot.kernel, "-initrd", plan.boot.initrd]
    return [*words, "-append", plan_command_line(plan.hardware)]


def _console(plan: Plan) -> list[str]:
    chardev = f"file,id=console,path={escape(plan.files.console)},append=on"
    return ["-chardev", chardev, "-serial", "chardev:console"]


def _monitor(plan: Plan) -> list[str]:
    return [*_socket("monitor", plan.files.qmp_socket), "-mon", "chardev=monitor,mode=control"]


def _ports(plan: Plan) -> list[str]:
    words = ["-device", f"virtio-serial-pci,id=serial,max_ports={len(_PORTS) + 1}"]
    words += _socket("channel", plan.files.channel_socket) + _socket("share", plan.files.share_socket)
    words += ["-chardev", f"file,id=log,path={escape(plan.files.guest_log)},append=on"]
    for number, name in enumerate(_PORTS, start=1):
        words += ["-device", f"virtserialport,bus=serial.0,nr={number},chardev={name},name=hostvm.{name}"]
    return words


def _socket(name: str, path: str) -> list[str]:
    """QEMU listens and the supervisor connects: its successor can do that again."""
    return ["-chardev", f"socket,id={name},path={escape(path)},server=on,wait=off"]


def _disk(plan: Plan) -> list[str]:
    """What the guest discards or fills with zeros takes no room on the host."""
    file = f"driver=file,filename={escape(plan.files.disk)},node-name=disk-file"
    options = "discard=unmap,detect-zeroes=unmap"
    return [
        "-blockdev", f"{file},discard=unmap",
        "-blockdev", f"driver=raw,file=disk-file,node-name=disk,{options}",
        "-device", "virtio-blk-pci,id=disk,drive=disk",
    ]  # fmt: skip


def _network(_plan: Plan) -> list[str]:
    return ["-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="]


def _extras(_plan: Plan) -> list[str]:
    """Memory that the guest doesn't use goes back to the host by itself."""
    return ["-device", "virtio-balloon-pci,id=balloon,free-page-reporting=on", "-device", "virtio-rng-pci"]


_CONTRIBUTORS: tuple[Callable[[Plan], list[str]], ...] = (
    _process, _machine, _processor, _memory, _kernel, _console, _monitor, _ports, _disk, _network, _extras,
)  # fmt: skip
