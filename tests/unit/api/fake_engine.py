"""An engine in memory: containers that print what they are told and exit, without any kernel."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from guest_agent.api.contract import Attachment, RunListener
from guest_agent.engine.build_client import BuildClient
from guest_agent.engine.build_requests import BuildRequest, BuildStepFailed
from guest_agent.engine.build_results import BuildResult
from guest_agent.engine.build_watching import BuildWatcher
from guest_agent.engine.checking import Checked, Finding
from guest_agent.engine.container import Container, State, Status
from guest_agent.engine.images import HistoryLine
from guest_agent.engine.lent_agents import Duplex
from guest_agent.engine.requests import (
    AttachRequest,
    Change,
    CommitRequest,
    Created,
    CreateRequest,
    ExecRequest,
    ExtractRequest,
    LogLines,
    LogRequest,
    PathStat,
    RunOutcome,
    RunRequest,
    Sizes,
    UpdateRequest,
    VolumesPruned,
    WaitResult,
)
from guest_agent.engine.statistics import Sample
from guest_agent.linux.counters import InterfaceCount
from guest_agent.runtime.usage import CpuUse, MemoryUse, ResourceUse
from guest_agent.wire.cache_records import CacheRecord, PruneRequest, RecordType
from guest_agent.wire.errors import (
    CommandNotFound,
    Conflict,
    HostvmError,
    InvalidArgument,
    NotFound,
    NotModified,
    PeerMisbehaved,
    Unauthorized,
    Unavailable,
)
from guest_agent.wire.models import (
    ContainerConfig,
    ContainerId,
    Credentials,
    DiffId,
    Digest,
    Distribution,
    Endpoint,
    Event,
    HistoryEntry,
    Image,
    ImageConfig,
    ImageDeletion,
    ImageId,
    ListEntry,
    PublishedPort,
)
from guest_agent.wire.mounts import Volume
from guest_agent.wire.networks import AddressRange, EndpointSettings, Network
from tests.unit.buildkit.pretended import CONFIG, PretendedResult

BUSYBOX = ImageId("sha256:" + "b" * 64)
_SECOND = 1_000_000_000


class FakeAttachment:
    """Echoes its input in capitals when `echo`; otherwise gives `output` and ends."""

    def __init__(self, output: list[tuple[int, bytes]], tty: bool = False, echo: bool = False, code: int = 0) -> None:
        self.tty = tty
        self.detached = False
        self.closed = False
        self.sizes: list[tuple[int, int]] = []
        self.begun = asyncio.Event()
        self.ended: Callable[[], None] = lambda: None
        self._queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._code = code
        for piece in output:
            self._queue.put_nowait(piece)
        if not echo:
            self._queue.put_nowait(None)

    async def read(self) -> tuple[int, bytes] | None:
        await self.begun.wait()
        return await self._queue.get()

    async def write(self, data: bytes) -> None:
        if b"\x10\x11" in data:
            self.detached = True
            self._queue.put_nowait(None)
            return
        self._queue.put_nowait((1, data.upper()))

    async def close_stdin(self) -> None:
        self._queue.put_nowait(None)
        self.ended()

    async def wait_exit(self) -> int:
        return self._code

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def close(self) -> None:
        self.closed = True


class FakeContainers:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._ids = itertools.count(1)
        self.records: dict[str, Container] = {}
        self.attachments: dict[str, FakeAttachment] = {}
        self.waiters: dict[str, list[asyncio.Future[WaitResult]]] = {}
        self.calls: list[tuple[object, ...]] = []

    def find(self, ref: str) -> Container:
        bare = ref.removeprefix("/")
        named = [record for record in self.records.values() if record.name == bare]
        found = named or [record for record in self.records.values() if record.id.startswith(bare)]
        if len(found) > 1:
            raise InvalidArgument(f"Multiple IDs found with provided prefix: {ref}")
        if not found:
            raise NotFound(f"No such container: {ref}")
        return found[0]

    def list(self, everything: bool) -> tuple[Container, ...]:
        found = [record for record in self.records.values() if everything or record.running]
        return tuple(sorted(found, key=lambda record: record.created_ns, reverse=True))

    async def create(self, request: CreateRequest) -> Created:
        self._engine.images.find(request.config.image)
        if any(record.name == request.name for record in self.records.values()):
            raise Conflict(f'Conflict. The container name "/{request.name}" is already in use')
        number = next(self._ids)
        words = (request.config.entrypoint or ()) + (request.config.command or ("sh",))
        container_id = ContainerId(f"{number:064x}"[::-1])
        self.records[container_id] = Container(
            id=container_id,
            name=request.name or f"fake_{number}",
            created_ns=time.time_ns() - 10 * _SECOND + number,
            image_id=BUSYBOX,
            image_name=request.config.image,
            config=request.config,
            host_config=request.host_config,
            path=words[0],
            args=words[1:],
        )
        return Created(container_id, ("a warning",) if request.platform else ())

    async def start(self, ref: str) -> None:
        record = self.find(ref)
        if record.running:
            raise NotModified("already started")
        if record.path == "nosuch":
            raise CommandNotFound('exec: "nosuch": executable file not found in $PATH')
        state = State(status=Status.RUNNING, pid=4242, started_ns=time.time_ns() - 5 * _SECOND)
        ports = tuple(PublishedPort(b.container_port, "0.0.0.0", b.host_port) for b in record.host_config.port_bindings)
        endpoint = Endpoint("bridge", "f" * 64, "e" * 64, "172.30.0.2", 16, "172.30.0.1", "02:42:ac:1e:00:02")
        self.records[record.id] = replace(record, state=state, ports=ports, endpoints=(endpoint,))
        if record.id in self.attachments:
            self.attachments[record.id].begun.set()
        if record.config.command != ("sleep",) and not record.config.open_stdin:
            self.finish(record.id, 0)

    def finish(self, container_id: str, code: int) -> None:
        record = self.records[container_id]
        state = replace(record.state, status=Status.EXITED, exit_code=code, finished_ns=time.time_ns() - 3 * _SECOND)
        self.records[record.id] = replace(record, state=state, ports=(), endpoints=())
        for waiter in self.waiters.pop(container_id, []):
            waiter.set_result(WaitResult(code))

    async def stop(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        self.calls.append(("stop", timeout, signal))
        record = self.find(ref)
        if not record.running:
            raise NotModified("already stopped")
        self.finish(record.id, 137)

    async def restart(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        self.calls.append(("restart", timeout, signal))

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        self.calls.append(("kill", self.find(ref).name, signal))

    async def remove(self, ref: str, force: bool = False, volumes: bool = False) -> None:
        record = self.find(ref)
        if record.running and not force:
            raise Conflict("You cannot remove a running container")
        del self.records[record.id]

    def tell_pruned(self, space: int) -> None:
        pass

    async def remove_link(self, ref: str) -> None:
        self.calls.append(("remove_link", ref))

    async def rename(self, ref: str, name: str) -> None:
        record = self.find(ref)
        self.records[record.id] = replace(record, name=name)

    async def update(self, ref: str, request: UpdateRequest) -> tuple[str, ...]:
        self.calls.append(("update", self.find(ref).name, request))
        return ("a warning",) if request.resources.memory else ()

    async def pause(self, ref: str) -> None:
        record = self.find(ref)
        self.records[record.id] = replace(record, state=replace(record.state, status=Status.PAUSED))

    async def unpause(self, ref: str) -> None:
        record = self.find(ref)
        self.records[record.id] = replace(record, state=replace(record.state, status=Status.RUNNING))

    def waiter(self, ref: str, condition: str) -> Awaitable[WaitResult]:
        record = self.find(ref)
        future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
        if condition == "not-running" and not record.running:
            future.set_result(WaitResult(record.state.exit_code))
        else:
            self.waiters.setdefault(record.id, []).append(future)
        return future

    async def logs(self, ref: str, request: LogRequest) -> AsyncIterator[LogLines]:
        for number in range(3):
            stream = 2 if number == 1 else 1
            if (request.stdout, request.stderr)[stream - 1]:
                yield LogLines(stream, 1_700_000_000 * _SECOND + number, f"line {number}\n".encode())

    def attach(self, ref: str, request: AttachRequest) -> Attachment:
        record = self.find(ref)
        echo = record.config.open_stdin and request.stdin
        held = FakeAttachment([(1, b"out\n"), (2, b"err\n")], record.config.tty, echo, code=3)
        if record.running:
            held.begun.set()
        held.ended = lambda: self.finish(record.id, 3)
        self.attachments[record.id] = held
        return held

    def resize(self, ref: str, rows: int, columns: int) -> None:
        self.calls.append(("resize", rows, columns))

    async def sizes(self, ref: str) -> Sizes:
        return Sizes(10, 1000)

    def top_pids(self, ref: str) -> tuple[int, ...]:
        record = self.find(ref)
        if not record.running:
            raise Conflict(f"Container {record.id} is not running")
        return (1,)

    async def commit(self, request: CommitRequest) -> str:
        self.calls.append(("commit", request))
        return BUSYBOX

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        yield b"tar"


class FakeFiles:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.extracted: list[tuple[ExtractRequest, bytes]] = []

    async def stat(self, ref: str, path: str) -> PathStat:
        self._engine.containers.find(ref)
        if path == "/missing":
            raise NotFound(f"Could not find the file {path} in container {ref}")
        return PathStat("etc", 4096, 0o755 | 1 << 31, 1_700_000_000 * _SECOND, "")

    async def open_archive(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        return await self.stat(ref, path), self._engine.containers.export(ref)

    async def extract(self, request: ExtractRequest, chunks: AsyncIterator[bytes]) -> None:
        self.extracted.append((request, b"".join([chunk async for chunk in chunks])))

    async def changes(self, ref: str) -> tuple[Change, ...]:
        self._engine.containers.find(ref)
        return Change("/etc", 0), Change("/etc/new", 1), Change("/gone", 2)


class FakeStatistics:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._seconds = itertools.count(1_700_000_000)

    async def sample(self, ref: str) -> Sample:
        record = self._engine.containers.find(ref)
        if not record.running:
            return Sample(record.id, f"/{record.name}")
        now = next(self._seconds)
        use = ResourceUse(1, CpuUse(total=now, per_cpu=(now,)), MemoryUse(usage=1000, details={"cache": 1}), pids=2)
        networks = {"eth0": InterfaceCount(1, 2, 3, 4, 5, 6, 7, 8)}
        return Sample(record.id, f"/{record.name}", now * _SECOND, use, networks, 2 * now, 2, 4096)

    async def two_samples(self, ref: str) -> tuple[Sample, Sample]:
        return await self.sample(ref), await self.sample(ref)

    async def stream(self, ref: str) -> AsyncIterator[Sample]:
        for _ in range(3):
            yield await self.sample(ref)


class FakeRuns:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.cancelled = False

    async def run(self, request: RunRequest, listener: RunListener) -> RunOutcome:
        containers = self._engine.containers
        if request.pull == "always":
            async for report in self._engine.images.pull(request.create.config.image, "", None):
                listener.progress(report)
        if request.create.config.image == "endless":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled = True
        created = await containers.create(request.create)
        listener.created(created.id, created.warnings)
        attachment = None if request.detach else containers.attach(created.id, request.attach)
        if attachment is not None:
            listener.attached(attachment)
        await containers.start(created.id)
        listener.started(created.id)
        return RunOutcome(created.id, None)


@dataclass
class FakeExec:
    id: str
    container_id: str
    request: ExecRequest
    running: bool = False
    exit_code: int | None = None
    pid: int = 0


class FakeExecs:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._execs: dict[str, FakeExec] = {}

    def create(self, request: ExecRequest) -> str:
        container = self._engine.containers.find(request.container)
        if not container.running:
            raise Conflict(f"container {container.id} is not running")
        exec_id = f"{len(self._execs) + 1:064x}"
        self._execs[exec_id] = FakeExec(exec_id, container.id, request)
        return exec_id

    def find_active(self, exec_id: str) -> FakeExec:
        return self.find(exec_id)

    async def start(self, exec_id: str, detach: bool, console_size: tuple[int, int]) -> Attachment | None:
        held = self.find(exec_id)
        if held.request.command[0] == "nosuch":
            held.exit_code = 127
            raise CommandNotFound('exec: "nosuch": executable file not found in $PATH')
        held.exit_code = 3
        if detach:
            return None
        attachment = FakeAttachment([(1, b"out\n"), (2, b"err\n")], held.request.tty, held.request.attach_stdin, 3)
        attachment.begun.set()
        return attachment

    def find(self, exec_id: str) -> FakeExec:
        try:
            return self._execs[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        self.find(exec_id)

    def for_container(self, container_id: str) -> tuple[str, ...]:
        return tuple(one.id for one in self._execs.values() if one.container_id == container_id)


def fake_image(names: tuple[str, ...] = ("busybox:latest",)) -> Image:
    config = ContainerConfig(command=("sh",), environment=("PATH=/bin",), labels={"made": "here"})
    layers = (DiffId("sha256:" + "d" * 64),)
    described = ImageConfig(
        BUSYBOX, "amd64", "linux", "", "2024-05-01T10:00:00Z", config, layers,
        history=(HistoryEntry("2024-05-01T10:00:00Z", "ADD busybox", "", False), HistoryEntry(empty_layer=True)),
    )  # fmt: skip
    return Image(described, names, ("busybox@sha256:" + "c" * 64,), (1_234_567,), 1_714_557_600 * _SECOND)


class FakeImages:
    def __init__(self) -> None:
        self.records = [fake_image()]
        self.loaded = b""
        self.credentials: Credentials | None = None

    def list(self) -> tuple[Image, ...]:
        return tuple(self.records)

    def find(self, ref: str) -> Image:
        for image in self.records:
            if ref in (image.config.id, *image.tags, *(tag.removesuffix(":latest") for tag in image.tags)):
                return image
        raise NotFound(f"No such image: {ref}")

    async def pull(
        self, reference: str, platform: str, credentials: Credentials | None
    ) -> AsyncIterator[dict[str, object]]:
        self.credentials = credentials
        if "nosuch" in reference:
            raise NotFound(f"pull access denied for {reference}, repository does not exist")
        yield {"status": "Pulling from library/busybox", "id": "latest"}
        if "broken" in reference:
            raise InvalidArgument("filesystem layer verification failed")
        yield {"status": f"Status: Downloaded newer image for {reference}"}

    def pull_all(
        self, repository: str, platform: str, credentials: Credentials | None
    ) -> AsyncIterator[dict[str, object]]:
        return self.pull(f"{repository}:every", platform, credentials)

    async def push(
        self, name: str, tag: str, credentials: Credentials | None, compression: str
    ) -> AsyncIterator[dict[str, object]]:
        self.credentials = credentials
        yield {"status": f"The push refers to repository [{name}]"}
        yield {"status": f"{tag or 'every'}: digest: sha256:… size: 1"}

    def has_children(self, image: Image) -> bool:
        return any(other.parent == image.config.id for other in self.records)

    def layer_folders(self, image: Image) -> tuple[str, ...]:
        return "/layers/top", "/layers/base"

    def layers_size(self) -> int:
        return sum(image.size for image in self.records)

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        for name in names:
            yield self.find(name).config.id.encode()

    async def import_from(self, url: str, reference: str, message: str, changes: tuple[str, ...], platform: str) -> str:
        raise Unavailable(f'Get "{url}": no such host')

    async def search(self, term: str, limit: int) -> tuple[dict[str, object], ...]:
        return {"name": term, "star_count": 5, "is_official": True}, {"name": f"ann/{term}", "star_count": 1}

    async def distribution(self, name: str, credentials: Credentials | None, insecure: bool = False) -> Distribution:
        return Distribution("application/json", Digest(BUSYBOX), 7, (("linux", "arm", "v7"),))

    async def read_manifest(
        self, name: str, credentials: Credentials | None, insecure: bool = False
    ) -> tuple[bytes, str]:
        return f"manifest of {name}{' by HTTP' if insecure else ''}".encode(), "application/vnd.test"

    async def push_list(
        self, name: str, entries: Sequence[ListEntry], credentials: Credentials | None, insecure: bool = False
    ) -> str:
        return f"{name}: {', '.join(entry.platform[1] for entry in entries)}"

    async def authenticate(self, server: str, credentials: Credentials) -> str:
        if credentials.password != "right":
            raise Unauthorized(f"login attempt to https://{server}/v2/ failed with status: 401 Unauthorized")
        return "kept" if server == "tokens.test" else ""

    async def attach(self, ref: str, media_type: str, document: bytes) -> None:
        raise NotImplementedError

    def tag(self, source: str, target: str) -> None:
        image = self.find(source)
        self.records[self.records.index(image)] = replace(image, tags=image.tags + (target,))

    def tell_pruned(self, space: int) -> None:
        pass

    async def remove(self, ref: str, force: bool, no_prune: bool) -> tuple[ImageDeletion, ...]:
        self.records.remove(self.find(ref))
        return ImageDeletion(untagged=ref), ImageDeletion(deleted=BUSYBOX)

    async def load(self, chunks: AsyncIterator[bytes], quiet: bool) -> AsyncIterator[dict[str, object]]:
        async for chunk in chunks:
            self.loaded += chunk
        if self.loaded.endswith(b"abc"):
            raise PeerMisbehaved("bad")
        yield {"stream": "Loaded image: busybox:latest\n"}

    async def import_root(
        self, chunks: AsyncIterator[bytes], reference: str, message: str, changes: tuple[str, ...], platform: str
    ) -> str:
        self.loaded = b"".join([chunk async for chunk in chunks])
        self.tag(BUSYBOX, reference)
        return BUSYBOX

    def history(self, ref: str) -> tuple[HistoryLine, ...]:
        image = self.find(ref)
        sizes = [0 if entry.empty_layer else image.size for entry in image.config.history]
        lines = zip(image.config.history, sizes, strict=True)
        images = [None] * (len(sizes) - 1) + [image]
        return tuple(HistoryLine(*line, known) for line, known in zip(lines, images, strict=True))[::-1]


class FakeVolumes:
    def __init__(self) -> None:
        self.records: dict[str, Volume] = {}

    def list(self) -> tuple[Volume, ...]:
        return tuple(self.records.values())

    def find(self, name: str) -> Volume:
        try:
            return self.records[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    def create(self, name: str, driver: str, options: dict[str, str], labels: dict[str, str]) -> Volume:
        volume = Volume(
            name or "a" * 64, f"/volumes/{name}/_data", _SECOND, driver or "local", labels, options, not name
        )
        return self.records.setdefault(volume.name, volume)

    def remove(self, name: str, force: bool) -> None:
        self.find(name)
        del self.records[name]

    async def prune(self, chosen: Iterable[Volume]) -> VolumesPruned:
        names = tuple(volume.name for volume in chosen)
        for name in names:
            del self.records[name]
        return VolumesPruned(names, 7 * len(names))


@dataclass(frozen=True)
class FakeNetworkView:
    network: Network
    containers: tuple[tuple[str, str, Endpoint], ...] = ()


class FakeNetworks:
    """bridge with a container in it, none, and whatever is made; `calls` are connects and disconnects."""

    def __init__(self) -> None:
        member = ("a" * 64, "web", Endpoint("bridge", "f" * 64, "e" * 64, "172.30.0.2", 16))
        ranges = (AddressRange("172.30.0.0/16", "172.30.0.1"),)
        bridge = Network("f" * 64, "bridge", "bridge", _SECOND, ranges)
        self.views = [
            FakeNetworkView(bridge, (member,)),
            FakeNetworkView(Network("0" * 64, "none", "null", _SECOND)),
        ]
        self.calls: list[tuple[object, ...]] = []

    def list(self) -> tuple[FakeNetworkView, ...]:
        return tuple(self.views)

    def find(self, ref: str) -> FakeNetworkView:
        for view in self.views:
            if ref in (view.network.name, view.network.id):
                return view
        raise NotFound(f"network {ref} not found")

    def create(self, asked: Network) -> Network:
        network = replace(asked, id=f"{len(self.views):064x}", created_ns=_SECOND * len(self.views))
        self.views.append(FakeNetworkView(network))
        return network

    def remove(self, ref: str) -> None:
        self.views.remove(self.find(ref))

    def prune(self, wanted: frozenset[str]) -> tuple[str, ...]:
        doomed = [view for view in self.views[2:] if view.network.id in wanted]
        self.views = [view for view in self.views if view not in doomed]
        return tuple(view.network.name for view in doomed)

    async def connect(self, ref: str, container: str, settings: EndpointSettings) -> None:
        self.calls.append(("connect", self.find(ref).network.name, container, settings))

    async def disconnect(self, ref: str, container: str, force: bool) -> None:
        self.calls.append(("disconnect", self.find(ref).network.name, container, force))


@dataclass
class FakeInfo:
    id: str = "ID"
    name: str = "machine"
    containers: int = 3
    running: int = 1
    paused: int = 1
    stopped: int = 1
    images: int = 1
    kernel_version: str = "6.12"
    operating_system: str = "Debian"
    os_version: str = "12"
    architecture: str = "x86_64"
    cpus: int = 2
    memory_total: int = 1 << 30
    data_root: str = "/data"
    cgroup_driver: str = "cgroupfs"
    cgroup_version: str = "2"
    storage_driver: str = "overlay2"
    runtime: str = "crun"
    warnings: tuple[str, ...] = ()
    server_version: str = "0.1.0"
    security_options: tuple[str, ...] = ("name=seccomp,profile=builtin",)
    insecure_registries: tuple[str, ...] = ("registry:5000",)
    registry_mirrors: tuple[str, ...] = ()
    logging_driver: str = "json-file"
    debug: bool = False
    system_time_ns: int = _SECOND
    backing_filesystem: str = "extfs"
    bridge_filters: tuple[bool, bool] = (True, False)
    init_binary: str = "tini"


@dataclass
class FakeVersion:
    version: str = "0.1.0"
    api_version: str = "1.44"
    min_api_version: str = "1.24"
    git_commit: str = "abc"
    os: str = "linux"
    arch: str = "amd64"
    kernel_version: str = "6.12"
    build_time: str = "2024-01-01T00:00:00.000000000+00:00"
    components: tuple[tuple[str, str, dict[str, str]], ...] = (("crun", "1.8", {"GitCommit": "x"}),)


class FakeSystem:
    async def check(self, repair: bool) -> AsyncIterator[Finding | Checked]:
        yield Finding("layer 1", "its digest is 2", "mended" if repair else "")
        yield Checked(1, 2, 3, 4)

    async def volume_sizes(self) -> dict[str, int]:
        return {"data": 42}

    def info(self) -> FakeInfo:
        return FakeInfo()

    def version(self) -> FakeVersion:
        return FakeVersion()


class FakeEvents:
    async def subscribe(self, since_ns: int, until_ns: int) -> AsyncIterator[Event]:
        yield Event("container", "start", "a" * 64, {"image": "busybox:1", "name": "web", "tier": "db"}, 5 * _SECOND)
        yield Event("image", "pull", "busybox:1", {"name": "busybox"}, 6 * _SECOND)
        if not until_ns:
            await asyncio.Event().wait()


#: A step, the one that it was made from, which an image has too, and a cache mount that a build uses.
CACHED = (
    CacheRecord("b" * 32, RecordType.REGULAR, 30, "2024-01-02T00:00:00.5Z", _SECOND, 2, "RUN x", "a" * 32),
    CacheRecord("a" * 32, RecordType.REGULAR, 100, "", _SECOND, shared=True),
    CacheRecord("m" * 32, RecordType.CACHE_MOUNT, 5, "2024-01-01T00:00:00Z", 0, in_use=True),
)


class FakeBuilds:
    def __init__(self) -> None:
        self.requests: list[BuildRequest] = []
        self.bodies: list[bytes] = []
        self.pruned: list[PruneRequest] = []
        self.error: HostvmError | None = None
        self.results: list[PretendedResult] = []

    async def build(
        self,
        request: BuildRequest,
        chunks: AsyncIterator[bytes],
        watcher: BuildWatcher | None = None,
        client: BuildClient | None = None,
        result: BuildResult | None = None,
    ) -> AsyncGenerator[dict[str, object], None]:
        self.requests.append(request)
        self.bodies.append(b"".join([chunk async for chunk in chunks]))
        if self.error is not None and not isinstance(self.error, BuildStepFailed):
            raise self.error
        yield {"stream": "Step 1/1 : FROM scratch\n"}
        if self.error is not None:
            raise self.error
        if result is not None:
            result.config = CONFIG

    async def build_from_cache(
        self, request: BuildRequest, chunks: AsyncIterator[bytes], result: BuildResult | None = None
    ) -> list[dict[str, object]]:
        self.requests.append(request)
        self.bodies.append(b"".join([chunk async for chunk in chunks]))
        if self.error is not None:
            raise self.error
        if result is not None:
            result.config = CONFIG
        return [{"stream": "Step 1/1 : FROM scratch\n"}, {"aux": {"ID": "sha256:1"}}]

    async def lend_agent(self, token: str, line: Duplex) -> None:
        await line.write(token.encode() + b" asks")
        await line.write(b", and hears " + await line.read())

    async def list_cache(self) -> tuple[CacheRecord, ...]:
        return CACHED

    async def prune(self, request: PruneRequest) -> tuple[tuple[CacheRecord, ...], int]:
        self.pruned.append(request)
        return CACHED[:1], 7

    def open_result(self) -> BuildResult:
        self.results.append(PretendedResult())
        return self.results[-1]


class FakeEngine:
    def __init__(self) -> None:
        self.images = FakeImages()
        self.containers = FakeContainers(self)
        self.files = FakeFiles(self)
        self.statistics = FakeStatistics(self)
        self.runs = FakeRuns(self)
        self.execs = FakeExecs(self)
        self.builds = FakeBuilds()
        self.volumes = FakeVolumes()
        self.networks = FakeNetworks()
        self.system = FakeSystem()
        self.events = FakeEvents()
        self.shut_down: list[bool] = []

    async def shutdown(self, keep_containers: bool) -> None:
        self.shut_down.append(keep_containers)
