"""--log-driver and --log-opt: what is kept, what can be read, and what is refused."""

from __future__ import annotations

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for

COUNT = ("sh", "-c", "i=0; while [ $i -lt 4000 ]; do echo line number $i; i=$((i+1)); done")


def test_a_limited_log_keeps_the_end(machine: Machine) -> None:
    limits = ("--log-opt", "max-size=10k", "--log-opt", "max-file=2")
    name = machine("create", *limits, "busybox", *COUNT)
    assert machine.inspect(name)["HostConfig"]["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-file": "2", "max-size": "10k"},
    }
    machine("start", name)
    machine("wait", name)
    lines = machine("logs", name).splitlines()
    assert 100 < len(lines) < 1200 and lines[-1] == "line number 3999"
    numbers = [int(line.split()[-1]) for line in lines[1:]]
    assert numbers == list(range(numbers[0], 4000))
    assert machine.docker("logs", "--tail", "3", name).splitlines() == lines[-3:]
    machine.kill_engine()
    assert machine("logs", name).splitlines() == lines
    machine("start", "-a", name)
    assert machine("logs", "-n", "4001", name).splitlines()[-1] == "line number 3999"


def test_who_is_attached_gets_all_of_it(machine: Machine) -> None:
    everything = [f"line number {number}" for number in range(4000)]
    limits = ("--log-opt", "max-size=1k", "--log-opt", "max-file=1")
    assert machine("run", "--rm", *limits, "busybox", *COUNT).splitlines() == everything
    assert machine.docker("run", "--rm", "--log-driver", "none", "busybox", *COUNT).splitlines() == everything


def test_none_has_no_log(machine: Machine) -> None:
    name = machine("run", "-d", "--log-driver", "none", "busybox", "sh", "-c", "echo hello; sleep 3600")
    refusal = "configured logging driver does not support reading"
    assert refusal in machine.fails(1, "logs", name)
    assert machine.inspect(name)["HostConfig"]["LogConfig"] == {"Type": "none", "Config": {}}


def test_a_dump_larger_than_the_buffer_of_none(machine: Machine) -> None:
    dump = ("dd", "if=/dev/zero", "bs=1M", "count=12", "status=none")
    piped = f"docker run --rm --log-driver none busybox {' '.join(dump)} | (sleep 1; wc -c)"
    assert machine.command(["sh", "-c", piped]).out.strip() == str(12 << 20)


def test_details(machine: Machine) -> None:
    options = ("--log-opt", "labels=tier", "--log-opt", "env=COLOUR", "--label", "tier=db", "-e", "COLOUR=light blue")
    name = machine("run", "-d", "--log-driver", "local", *options, "busybox", "echo", "hello")
    machine("wait", name)
    assert machine("logs", "--details", name) == "COLOUR=light+blue,tier=db hello"
    assert machine.docker("logs", "--details", name) == "COLOUR=light+blue,tier=db hello"
    assert machine("logs", name) == "hello"


def test_refusals(machine: Machine) -> None:
    refused = {
        ("--log-driver", "papyrus"): 'error looking up logging plugin papyrus: plugin "papyrus" not found',
        ("--log-opt", "sizes=1"): "unknown log opt 'sizes' for json-file log driver",
        ("--log-opt", "max-file=0"): "max-file cannot be less than 1",
        ("--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1"): (
            "failed to initialize logging driver: dial tcp 127.0.0.1:1: connect: connection refused"
        ),
    }
    for words, message in refused.items():
        assert message in machine.fails(125, "run", *words, "busybox", "true")
    assert machine.containers() == []


def test_syslog(machine: Machine) -> None:
    """Across a kill of the engine; what was sent can be read here, too."""
    to_its_log = ("sh", "-c", 'while read -r line; do echo "$line" >&2; done')
    server = machine("run", "-d", "busybox", "nc", "-ll", "-p", "514", "-e", *to_its_log)
    address = f"syslog-address=tcp://{machine.address(server)}"
    options = ("--log-driver", "syslog", "--log-opt", address, "--log-opt", "tag={{.Name}}")
    echo = ("sh", "-c", "echo hello; echo oops >&2; read line; echo $line")
    run = ("run", "-di", "--name", "talker", *options, "--log-opt", "syslog-format=rfc5424", "busybox", *echo)
    wait_for(lambda: machine.attempt("run", "--rm", *options, "busybox", "echo").code == 0, "a server that listens")
    machine(*run)
    wait_for(lambda: "oops" in machine.attempt("logs", server).err, "its first lines")
    machine.kill_engine()
    machine.docker("attach", "talker", stdin=b"bye\n")
    wait_for(lambda: "bye" in machine.attempt("logs", server).err, "its last line")
    lines = machine.attempt("logs", server).err.splitlines()
    assert [line.partition(">")[0] for line in lines if " talker " in line] == ["<30", "<27", "<30"]
    assert machine("logs", "talker").splitlines() == ["hello", "bye"]


def test_where_there_is_no_journal(machine: Machine) -> None:
    refusal = machine.fails(125, "run", "--log-driver", "journald", "busybox", "true")
    assert "failed to initialize logging driver: journald is not enabled on this host" in refusal
