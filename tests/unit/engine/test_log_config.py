"""Log drivers and their options, in dockerd's words."""

from __future__ import annotations

import dataclasses

import pytest

from guest_agent.engine.log_attributes import details_prefix, expand_tag
from guest_agent.engine.log_config import (
    LogDefaults,
    check_log_config,
    check_readable,
    parse_size,
    plan_limits,
    resolve_log_config,
)
from guest_agent.engine.output import Limits
from guest_agent.wire.errors import InvalidArgument, Unsupported
from guest_agent.wire.models import ContainerConfig, HostConfig
from tests.unit.engine.records import container


def test_a_size_beyond_all_numbers_is_the_user_s_fault() -> None:
    with pytest.raises(InvalidArgument, match="invalid size"):
        parse_size("9" * 400)


def host(driver: str = "json-file", **options: str) -> HostConfig:
    return HostConfig(log_driver=driver, log_options={name.replace("_", "-"): text for name, text in options.items()})


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("papyrus", {}, 'error looking up logging plugin papyrus: plugin "papyrus" not found'),
        ("json-file", {"sizes": "1"}, "unknown log opt 'sizes' for json-file log driver"),
        ("local", {"sizes": "1"}, "unknown log opt 'sizes' for log driver local"),
        ("journald", {"max-size": "1m"}, "unknown log opt 'max-size' for journald log driver"),
        ("syslog", {"syslog-format": "x"}, "Invalid syslog format"),
        ("json-file", {"syslog-format": ""}, "unknown log opt 'syslog-format' for json-file log driver"),
        ("local", {"cache-disabled": "maybe"}, "invalid value for option cache-disabled: maybe"),
        ("json-file", {"mode": "lazy"}, "logger: logging mode not supported: lazy"),
        (
            "local",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ("json-file", {"max-size": "lots"}, "invalid size: 'lots'"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("json-file", {"max-file": "1_0"}, 'strconv.Atoi: parsing "1_0": invalid syntax'),
        (
            "json-file",
            {"mode": "non-blocking", "max-buffer-size": "x"},
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        ("json-file", {"labels-regex": "("}, "error parsing regexp: missing ), unterminated subpattern: `(`"),
        ("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
        ("local", {"max-file": "x"}, 'invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax'),
        (
            "local",
            {"compress": "x"},
            'error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax',
        ),
        ("local", {"max-file": "1"}, "compression cannot be enabled when max file count is 1"),
        (
            "json-file",
            {"compress": "true", "max-size": "1m"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("json-file", {"compress": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
        (
            "json-file",
            {"compress": "true", "max-file": "3"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
    ],
)
def test_what_is_refused(driver: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_log_config(driver, options)
    assert caught.value.message == message


def test_what_is_taken() -> None:
    check_log_config("none", {"anything": "goes"})
    check_log_config("local", {"compress": "true"})
    check_log_config("local", {"compress": "false", "max-file": "1"})
    check_log_config("json-file", {"tag": "{{.Name}}", "labels-regex": "^a", "env-regex": "B$", "max-file": "2"})
    check_log_config("json-file", {"mode": "non-blocking", "max-buffer-size": "4m", "labels": "a", "env": "B"})
    check_log_config("json-file", {"max-size": "10m", "max-file": "3", "compress": "true"})


def test_limits() -> None:
    assert plan_limits(host()) == Limits(0, 1)
    assert plan_limits(host(max_size="10m")) == Limits(10_000_000, 1)
    assert plan_limits(host(max_size="10k", max_file="3")) == Limits(10_000, 3)
    assert plan_limits(host("local")) == Limits(20_000_000, 5)
    assert plan_limits(host("local", max_size="1m", max_file="2")) == Limits(1_000_000, 2)
    assert plan_limits(host("none")).size > 0
    assert plan_limits(host("syslog", cache_max_file="2")) == Limits(20_000_000, 2)
    assert plan_limits(host("journald")) == Limits(20_000_000, 5)
    assert plan_limits(host(max_size="of another time")) == Limits(0, 1)


def test_sizes_are_decimal() -> None:
    texts = ("10", "10k", "1.5m", "2GB", "1 kb", "3b")
    assert [parse_size(text) for text in texts] == [10, 10_000, 1_500_000, 2 * 10**9, 1000, 3]


def test_the_engines_defaults() -> None:
    defaults = LogDefaults("local", {"max-size": "1m"})
    assert resolve_log_config(host(""), defaults) == ("local", {"max-size": "1m"})
    assert resolve_log_config(host("local", max_file="2"), defaults) == ("local", {"max-size": "1m", "max-file": "2"})
    assert resolve_log_config(host("json-file"), defaults) == ("json-file", {})


def test_none_can_not_be_read() -> None:
    check_readable(host("local"))
    for unreadable in (host("none"), host("syslog", cache_disabled="true")):
        with pytest.raises(Unsupported, match="configured logging driver does not support reading"):
            check_readable(unreadable)
    check_readable(host("syslog"))
    check_readable(host("journald", cache_disabled="true"))


def test_details() -> None:
    config = ContainerConfig(labels={"tier": "a b", "app.x": "1", "z": "2"}, environment=("HOME=/", "PATH=/bin"))
    options = {"labels": "tier,no", "labels-regex": "^app", "env": "HOME", "tag": "{{.Name}}/{{ .ID }}{{.What}}"}
    one = dataclasses.replace(container(), config=config, host_config=HostConfig(log_options=options))
    assert details_prefix(one) == b"HOME=%2F,app.x=1,tag=box%2Fabababababab%7B%7B.What%7D%7D,tier=a+b "
    assert details_prefix(container()) == b" "
    assert expand_tag("{{.FullID}} {{.ImageID}} {{.ImageName}}", one) == f"{one.id} 000000000000 busybox"
