"""The pure half: users, environment, privileges, limits, mounts, seccomp, the whole spec, errors."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.linux.capabilities import NAMES, names_of, parse_bounding_set
from guest_agent.linux.mounts import overlay_options, parse_filesystem, parse_mounts_below
from guest_agent.runtime import cgroups, devices, failures, filesystems, limits, users
from guest_agent.runtime.environment import plan_environment, replace_or_append
from guest_agent.runtime.privileges import DEFAULT_CAPABILITIES, parse_security_options, plan_capabilities
from guest_agent.runtime.seccomp import default_profile, parse_profile, plan_seccomp
from guest_agent.runtime.spec import SECCOMP_ANNOTATION, SpecInputs, plan_exec_process, plan_spec
from guest_agent.runtime.users import ResolvedUser
from guest_agent.wire.errors import (
    CommandNotExecutable,
    CommandNotFound,
    HostFailed,
    InvalidArgument,
    Unsupported,
)
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.mounts import Mount, MountPoint, MountType, ReadOnlyDepth
from guest_agent.wire.resources import BlockLimit, DeviceRequest, Resources

V1 = cgroups.CgroupFacts(1, False, {"memory": "/sys/fs/cgroup/memory"}, swap_limit=True)
V2 = cgroups.CgroupFacts(2, False, {"": "/sys/fs/cgroup"}, swap_limit=True)
PASSWD = users.parse_passwd("root:x:0:0:root:/root:/bin/sh\nbad line\nmysql:x:101:102::/var/lib/mysql:/bin/false\n")
GROUPS = users.parse_groups("root:x:0:\nmysql:x:102:\nssl:x:110:mysql,other\n")


def inputs(config: ContainerConfig | None = None, cgroup_facts: cgroups.CgroupFacts = V1, **host: Any) -> SpecInputs:
    return SpecInputs(
        container_id="c" * 64, hostname="host", config=config or ContainerConfig(), host_config=HostConfig(**host),
        argv=("true",), environment=("PATH=/bin",), user=ResolvedUser(), rootfs="rootfs", cgroups_path="/hostvm/c",
        cgroups=cgroup_facts, available_capabilities=NAMES, network_namespace="/proc/1/fd/3",
    )  # fmt: skip


def spec(config: ContainerConfig | None = None, cgroup_facts: cgroups.CgroupFacts = V1, **host: Any) -> Any:
    return plan_spec(inputs(config, cgroup_facts, **host))


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("", ResolvedUser(0, 0, (), "/root")),
        ("mysql", ResolvedUser(101, 102, (110,), "/var/lib/mysql")),
        ("101", ResolvedUser(101, 102, (110,), "/var/lib/mysql")),
        ("mysql:root", ResolvedUser(101, 0, (), "/var/lib/mysql")),
        ("1000", ResolvedUser(1000, 0, (), "/")),
        ("1000:1001", ResolvedUser(1000, 1001, (), "/")),
    ],
)
def test_users_as_docker_finds_them(user: str, wanted: ResolvedUser) -> None:
    assert users.find_user(PASSWD, GROUPS, user) == wanted


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("root:nogroup", "unable to find group nogroup: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("0:-1", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_unknown_users(user: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        users.find_user(PASSWD, GROUPS, user)
    assert caught.value.message == message


@given(st.text())
def test_passwd_of_any_kind_is_read(text: str) -> None:
    users.parse_passwd(text)
    users.parse_groups(text)


def test_environment() -> None:
    planned = plan_environment("web", ["A=1", "PATH=/x"], tty=True, home="/root")
    assert planned == ("PATH=/x", "HOSTNAME=web", "TERM=xterm", "A=1", "HOME=/root")
    assert plan_environment("", ["HOME="], tty=False, home="/root")[-1] == "HOME=/root"
    assert replace_or_append(["A=1", "B=2"], ["A"]) == ("B=2",)


def test_capabilities() -> None:
    assert plan_capabilities((), (), NAMES) == DEFAULT_CAPABILITIES
    assert plan_capabilities(("net_admin",), ("ALL",), NAMES) == ("CAP_NET_ADMIN",)
    assert "CAP_CHOWN" not in plan_capabilities(("ALL",), ("CHOWN",), NAMES)
    assert plan_capabilities((), (), ("CAP_KILL",), privileged=True) == ("CAP_KILL",)
    with pytest.raises(InvalidArgument, match='invalid CapAdd: unknown capability: "CAP_FOO"'):
        plan_capabilities(("foo",), (), NAMES)
    with pytest.raises(Unsupported):
        plan_capabilities(("SYS_ADMIN",), (), ("CAP_KILL",))
    assert parse_bounding_set("CapBnd:\t0000000000000021\n") == ("CAP_CHOWN", "CAP_KILL") == names_of(0x21)


def test_security_options() -> None:
    assert parse_security_options(["no-new-privileges", "seccomp=unconfined"]).no_new_privileges
    assert parse_security_options(["no-new-privileges:false"]).no_new_privileges is False
    assert parse_security_options(["label=disable", "disable", "apparmor=unconfined"]).apparmor == ""
    for option, number in (("colour=red", 2), ("colour", 1), ("systempaths=unconfined", 2)):
        with pytest.raises(InvalidArgument, match=f'invalid --security-opt {number}: "{option}"'):
            parse_security_options([option])
    with pytest.raises(InvalidArgument, match='invalid --security-opt 2: "no-new-privileges=x"'):
        parse_security_options(["no-new-privileges=x"])


def test_resources() -> None:
    planned = limits.plan_resources(
        Resources(memory=64 << 20, memory_swap=128 << 20, nano_cpus=1_500_000_000, pids_limit=10), V1
    )
    assert planned["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert planned["cpu"] == {"quota": 150_000, "period": 100_000}
    assert planned["pids"] == {"limit": 10}
    no_swap = limits.plan_resources(Resources(memory=64 << 20, memory_swap=1 << 30), replace(V1, swap_limit=False))
    assert no_swap == {"memory": {"limit": 64 << 20}}
    assert limits.plan_resources(Resources(memory_swappiness=5), V2) == {}


def test_block_limits_name_devices_by_number() -> None:
    planned = limits.plan_resources(
        Resources(blkio_weight=20, blkio_read_bps=(BlockLimit("/dev/null", 5),), cpu_rt_period=9), V1
    )
    assert planned["blockIO"] == {"weight": 20, "throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 5}]}
    assert planned["cpu"] == {"realtimePeriod": 9}
    with pytest.raises(HostFailed, match="stat /dev/nowhere: no such file or directory"):
        limits.plan_resources(Resources(blkio_write_iops=(BlockLimit("/dev/nowhere", 5),)), V1)


def test_device_rules() -> None:
    rules = devices.plan_device_rules(False, (), ("c 42:* rm", "a *:* rwm"))
    assert rules[-2:] == [
        {"allow": True, "type": "c", "major": 42, "access": "rm"}, {"allow": True, "type": "a", "access": "rwm"},
    ]  # fmt: skip
    for text in ("c 42 rwm", "d 1:1 r", "c 1:1 rwx", "c 1:1"):
        with pytest.raises(InvalidArgument, match=f"invalid device cgroup rule format: '{text}'"):
            devices.plan_device_rules(False, (), (text,))


def test_devices_that_a_driver_would_have_to_find() -> None:
    devices.refuse_device_requests(())
    with pytest.raises(InvalidArgument) as caught:
        devices.refuse_device_requests((DeviceRequest(count=-1, capabilities=(("gpu", "utility"), ("tpu",))),))
    assert caught.value.message == 'could not select device driver "" with capabilities: [[gpu utility] [tpu]]'


@pytest.mark.parametrize(
    ("point", "options", "root"),
    [
        ({}, ("rbind", "rw", "rprivate"), ""),
        ({"read_only": True}, ("rbind", "rro", "rprivate"), ""),
        ({"read_only": True, "depth": ReadOnlyDepth.WRITABLE}, ("rbind", "ro", "rprivate"), ""),
        ({"read_only": True, "depth": ReadOnlyDepth.OLD}, ("rbind", "ro", "rprivate"), ""),
        ({"non_recursive": True, "propagation": "slave"}, ("bind", "rw", "slave"), "rslave"),
        ({"propagation": "rshared"}, ("rbind", "rw", "rshared"), "shared"),
    ],
)
def test_binds(point: dict[str, Any], options: tuple[str, ...], root: str) -> None:
    planned = filesystems.plan_bind(MountPoint(MountType.BIND, "/in", "/out", **point), "/out", folder=True)
    assert planned == Mount("/in", "bind", "/out", options)
    spec: Any = plan_spec(replace(inputs(), mounts=(planned,)))
    assert spec["linux"].get("rootfsPropagation", "") == root


def test_a_read_only_file_has_nothing_below_it() -> None:
    point = MountPoint(MountType.BIND, "/in", "/out", read_only=True)
    assert filesystems.plan_bind(point, "/out", folder=False).options == ("rbind", "ro", "rprivate")


def test_default_spec_is_dockers() -> None:
    planned = spec()
    assert [mount["destination"] for mount in planned["mounts"]] == [
        "/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm",
    ]  # fmt: skip
    assert {one["type"] for one in planned["linux"]["namespaces"]} == {
        "mount",
        "network",
        "uts",
        "pid",
        "ipc",
        "cgroup",
    }
    assert planned["linux"]["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    assert planned["linux"]["maskedPaths"][0] == "/proc/asound" and planned["hostname"] == "host"
    assert planned["process"]["noNewPrivileges"] is False
    assert planned["process"]["capabilities"]["effective"] == list(DEFAULT_CAPABILITIES)


def test_privileged_spec() -> None:
    planned = spec(privileged=True)
    assert "maskedPaths" not in planned["linux"] and "seccomp" not in planned["linux"]
    assert planned["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert all("ro" not in mount["options"] for mount in planned["mounts"])
    assert not any(one["type"] == "cgroup" for one in planned["linux"]["namespaces"])
    kinds = spec(None, V2, privileged=True)["linux"]["namespaces"]
    assert any(one["type"] == "cgroup" for one in kinds)


def test_modes() -> None:
    shared = plan_spec(replace(inputs(pid_mode="host", ipc_mode="container:x", uts_mode="host"), ipc_pid=7))
    linux: Any = shared["linux"]
    assert {"type": "ipc", "path": "/proc/7/ns/ipc"} in linux["namespaces"]
    assert {one["type"] for one in linux["namespaces"]} == {"mount", "network", "ipc", "cgroup"}
    assert "hostname" not in shared
    hosts = plan_spec(replace(inputs(network_mode="host"), network_namespace=None))
    assert "sysctl" not in hosts["linux"]  # type: ignore[operator]


def test_init_comes_first() -> None:
    planned: Any = plan_spec(replace(inputs(init=True), init_binary="/usr/bin/tini-static"))
    assert planned["process"]["args"] == ["/sbin/docker-init", "--", "true"]
    assert planned["mounts"][-1]["source"] == "/usr/bin/tini-static"


@pytest.mark.parametrize("mode", ["host", "container:x"])
def test_no_init_among_other_s_processes(mode: str) -> None:
    planned: Any = plan_spec(replace(inputs(init=True, pid_mode=mode), init_binary="/usr/bin/tini-static", pid_pid=7))
    assert planned["process"]["args"] == ["true"]
    assert not any(mount["destination"] == "/sbin/docker-init" for mount in planned["mounts"])


def test_sysctls_are_checked() -> None:
    assert spec(sysctls={"net.core.somaxconn": "9"})["linux"]["sysctl"]["net.core.somaxconn"] == "9"
    with pytest.raises(InvalidArgument, match=r"sysctl 'vm\.swappiness' is not allowed"):
        spec(sysctls={"vm.swappiness": "1"})


def test_another_user_has_no_effective_capabilities() -> None:
    planned = plan_exec_process(HostConfig(), ("true",), (), ResolvedUser(1000, 1000), NAMES)
    assert list(planned["capabilities"]) == ["bounding"]  # type: ignore[call-overload]


def test_mounts_are_ordered_and_override_defaults() -> None:
    given = (Mount("/a/b", "bind", "/2"), Mount("/a", "bind", "/1"), Mount("/dev/shm", "tmpfs", "tmpfs"))
    planned = filesystems.plan_mounts(HostConfig(), given)
    assert [mount.destination for mount in planned][-3:] == ["/a", "/a/b", "/dev/shm"]
    assert sum(mount.destination == "/dev/shm" for mount in planned) == 1
    hosts = filesystems.plan_mounts(HostConfig(read_only_rootfs=True), (Mount("/etc/hosts", "bind", "/h", ("bind",)),))
    assert hosts[-1].options == ("bind", "ro")


def test_tmpfs_options() -> None:
    planned = filesystems.plan_tmpfs("/run", "size=64m,exec,mode=1777")
    assert set(planned.options) == {"nosuid", "nodev", "rprivate", "size=64m", "exec", "mode=1777"}
    with pytest.raises(InvalidArgument, match=r'invalid tmpfs option \["colour" "red"\]'):
        filesystems.plan_tmpfs("/run", "colour=red")


def test_seccomp_follows_capabilities() -> None:
    def names(capabilities: tuple[str, ...]) -> set[str]:
        planned: Any = plan_seccomp(default_profile(), capabilities, "x86_64")
        allowed = (rule for rule in planned["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW")
        return {name for rule in allowed for name in rule["names"]}

    assert "mount" not in names(DEFAULT_CAPABILITIES)
    assert "mount" in names((*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"))
    with pytest.raises(InvalidArgument, match="Decoding seccomp profile failed"):
        parse_profile("{")


def test_compiled_filter_travels_by_annotation() -> None:
    planned: Any = plan_spec(replace(inputs(), seccomp={"defaultAction": "SCMP_ACT_ALLOW"}, seccomp_bpf=b"abc"))
    assert base64.b64decode(planned["annotations"][SECCOMP_ANNOTATION]) == b"abc"
    assert "seccomp" not in planned["linux"]


def test_hybrid_and_v2_are_told_apart() -> None:
    line = "55 47 0:36 / /sys/fs/cgroup/{0} rw - {1} none rw{2}\n"
    v1 = line.format("cpu,cpuacct", "cgroup", ",cpu,cpuacct") + line.format("systemd", "cgroup", ",xattr,name=systemd")
    parsed = cgroups.parse_hierarchies(v1)
    assert parsed == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }  # fmt: skip
    assert cgroups.plan_facts(parsed, False).version == 1
    both = cgroups.parse_hierarchies(v1 + line.format("unified", "cgroup2", ""))
    assert cgroups.plan_facts(both, False).hybrid
    only = cgroups.parse_hierarchies("30 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    assert cgroups.plan_facts(only, False).version == 2
    assert cgroups.plan_facts({}, False).version == 0


def test_oom_kills_of_v2(tmp_path: Any) -> None:
    folder = tmp_path / "hostvm" / "c"
    folder.mkdir(parents=True)
    (folder / "memory.events").write_text("low 0\noom_kill 2\n")
    facts = cgroups.CgroupFacts(2, False, {"": str(tmp_path)})
    assert cgroups.oom_killed(facts, "/hostvm/c")
    assert not cgroups.oom_killed(facts, "/hostvm/gone")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("executable file `x` not found in $PATH: No such file or directory", CommandNotFound),
        ('unable to start container process: exec: "x": executable file not found in $PATH', CommandNotFound),
        ("open executable: Permission denied", CommandNotExecutable),
        ("open executable: Operation not permitted", CommandNotExecutable),
        ("setrlimit `RLIMIT_NOFILE`: Operation not permitted", HostFailed),
        ("", HostFailed),
    ],
)  # fmt: skip
def test_what_runtimes_say(said: str, error: type[Exception]) -> None:
    assert type(failures.create_failure(said, "x")) is error
    assert failures.parse_log('{"level":"error","msg":"a"}\n{"level":"info","msg":"b"}\n') == "a"


def test_a_program_of_another_architecture_is_called_that() -> None:
    error = failures.create_failure("exec container process `/bin/sh`: Exec format error", "sh")
    assert isinstance(error, CommandNotExecutable)
    assert error.message.endswith('unable to start container process: exec: "sh": exec format error')
    assert "doctor" in error.hint


def test_overlay_options_escape() -> None:
    assert overlay_options(["a", "b:c"], "/u,p", "/w") == "lowerdir=a:b\\:c,upperdir=/u\\,p,workdir=/w"


def test_mounts_below_a_folder() -> None:
    line = "36 35 0:33 / {} rw,relatime shared:1 - overlay overlay rw\n"
    text = "".join(
        line.format(place) for place in ("/", "/data", "/data/tmp", "/data/tmp/a\\040b", "/data/tmp/a\\040b/c")
    )
    assert parse_mounts_below(text, "/data/tmp") == ["/data/tmp/a b/c", "/data/tmp/a b"]


def test_the_file_system_of_a_path() -> None:
    text = (
        "1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /data rw shared:1 - xfs /dev/sdb rw\n"
        "3 1 0:6 / /data\\040more rw - tmpfs tmpfs rw\n"
        "4 2 0:7 / /data rw - btrfs /dev/sdc rw\n"
    )
    found = [parse_filesystem(text, path) for path in ("/", "/data", "/data/x", "/data more/x", "/database")]
    assert found == ["ext4", "btrfs", "btrfs", "tmpfs", "ext4"]
