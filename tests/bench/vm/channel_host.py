"""The host's side of the channel's benchmark: the VM with a raw port beside the channel, and a small supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import paramiko

from hostvm.machines.ssh.client import open_transport
from hostvm.machines.ssh.keys import keep_key_pair
from hostvm.machines.vm import secure_shell
from hostvm.machines.vm.argv import Hardware, plan_command_line
from hostvm.machines.vm.handover import ensure_initrd
from hostvm.supervisor.channel import Channel
from tests.bench.vm import channel_guest
from vm_images.guest.cpio import write_cpio
from vm_images.guest.image import GuestImage
from vm_images.tree import Tree

#: Seconds for the guest to boot, and for any one measure.
DEADLINE = 120.0
MESSAGE_SIZE = 64


class Guest:
    """Booted with the engine's image, but with a first process that only serves this benchmark."""

    def __init__(self, image: GuestImage, cache: str, scratch: str, accelerator: str = "tcg") -> None:
        self._scratch = scratch
        initrd = f"{scratch}/initrd"
        with open(initrd, "wb") as out, open(ensure_initrd(image, cache).path, "rb") as ours:
            shutil.copyfileobj(ours, out)
            with tempfile.TemporaryFile() as spool, open(channel_guest.__file__, "rb") as program:
                tree = Tree(spool)
                tree.add_file("usr/lib/hostvm/init.py", program.read())
                write_cpio(tree, out, mtime=0, devices=())
        hardware = Hardware("x86_64", accelerator, 2, 1024)
        argv = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35",
            "-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", "1024", "-kernel", image.kernel, "-initrd", initrd,
            "-append", plan_command_line(hardware), "-serial", f"file:{scratch}/console",
            "-device", "virtio-serial-pci",
            *self._port("channel", channel_guest.CHANNEL_PORT), *self._port("raw", channel_guest.RAW_PORT),
        ]  # fmt: skip
        self._process = subprocess.Popen(argv)

    def _port(self, name: str, port: str) -> list[str]:
        path = f"{self._scratch}/{name}.sock"
        return [
            "-chardev", f"socket,id={name},path={path},server=on,wait=off",
            "-device", f"virtserialport,chardev={name},name={port}",
        ]  # fmt: skip

    def raw(self) -> socket.socket:
        return connect(f"{self._scratch}/raw.sock")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Gate:
    """Another process with the host's end of the channel, as the supervisor is one: connections become streams.

    The first line of each is its service request, or a measure that this process is to take by itself.
    """

    def __init__(self, scratch: str) -> None:
        self._path = f"{scratch}/gate.sock"
        self._process = subprocess.Popen([sys.executable, "-m", __name__, f"{scratch}/channel.sock", self._path])

    def open(self, request: dict[str, object]) -> socket.socket:
        stream = connect(self._path)
        stream.sendall(json.dumps(request).encode() + b"\n")
        return stream

    def measure(self, name: str, count: int) -> float:
        """One of MEASURES, without a socket between it and the channel's end."""
        with self.open({"measure": name, "count": count}) as answer:
            return float(answer.recv(100))

    def open_shell(self, scratch: str) -> paramiko.Transport:
        host_key, user_key = keep_key_pair(f"{scratch}/guest"), keep_key_pair(f"{scratch}/user")
        stream = self.open(secure_shell.plan_request())
        stream.sendall(secure_shell.plan_documents(host_key, user_key, ()))
        secure_shell.wait_ready(stream, time.monotonic() + DEADLINE)
        return open_transport(stream, "root", user_key, host_key, DEADLINE)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def connect(path: str) -> socket.socket:
    """As soon as somebody listens."""
    end = time.monotonic() + DEADLINE
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(DEADLINE)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return sock


async def serve(channel_path: str, gate_path: str) -> None:
    channel = Channel(channel_path)
    running = asyncio.create_task(channel.run())
    await channel.wait_up(DEADLINE)
    loop = asyncio.get_running_loop()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    listener.bind(gate_path)
    listener.listen(16)
    streams = set()
    while not running.done():
        client, _ = await loop.sock_accept(listener)
        request = json.loads(await read_line(client))
        if "measure" in request:
            seconds = await MEASURES[request["measure"]](channel, request["count"])
            await loop.sock_sendall(client, str(seconds).encode())
            client.close()
        else:
            streams.add(asyncio.create_task(channel.forward(request, client)))


async def measure_echo(channel: Channel, count: int) -> float:
    """Seconds of one round trip, the mean of so many."""
    message = b"m" * MESSAGE_SIZE
    async with await channel.open({"to": "echo"}) as stream:
        begin = time.perf_counter()
        for _ in range(count):
            stream.write(message)
            await stream.read()
        return (time.perf_counter() - begin) / count


async def measure_give(channel: Channel, count: int) -> float:
    """Seconds until the guest has taken so many bytes."""
    block = bytes(channel_guest.BLOCK)
    begin = time.perf_counter()
    async with await channel.open({"to": "sink"}) as stream:
        for _ in range(count // len(block)):
            stream.write(block)
            await stream.drain()
        stream.write_eof()
        assert await stream.read() == b""
    return time.perf_counter() - begin


async def measure_take(channel: Channel, count: int) -> float:
    """Seconds until so many bytes have come."""
    begin = time.perf_counter()
    stream = await channel.open({"to": "source"})
    while count > 0:
        count -= len(await stream.read(1 << 20))
    stream.reset()
    return time.perf_counter() - begin


MEASURES = {"echo": measure_echo, "give": measure_give, "take": measure_take}


async def read_line(client: socket.socket) -> bytes:
    loop, line = asyncio.get_running_loop(), b""
    client.setblocking(False)
    while not line.endswith(b"\n"):
        line += await loop.sock_recv(client, 1)
    return line


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
    os._exit(0)
