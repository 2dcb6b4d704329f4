from __future__ import annotations

import pytest

from guest_agent.wire.errors import PeerMisbehaved
from tests.unit.vm_images.guest.parts import make_module
from vm_images.guest.modules import (
    Module,
    ModuleSet,
    encode_aliases,
    encode_dependencies,
    module_name,
    parse_builtin,
    parse_module,
)

FOLDER = "usr/lib/modules/6"


def module(name: str, depends: str = "", soft: str = "", aliases: str = "") -> Module:
    return Module(
        name, f"{FOLDER}/kernel/{name}.ko", tuple(depends.split()), tuple(soft.split()), tuple(aliases.split())
    )


def order(known: ModuleSet, *wanted: str) -> list[str]:
    return [it.name for it in known.load_order(wanted)]


def test_modinfo_says_what_a_module_needs() -> None:
    data = make_module("name=nf_nat", "depends=nf-conntrack,libcrc32c", "softdep=pre: crc32c post: late", "alias=nat")
    assert parse_module("x/nf-nat.ko", data) == Module(
        "nf_nat", "x/nf-nat.ko", ("nf_conntrack", "libcrc32c"), ("crc32c",), ("nat",)
    )


@pytest.mark.parametrize("data", [b"", b"\x7fELF", make_module()[:70], bytes(200)])
def test_what_is_no_module_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="kernel module"):
        parse_module("x.ko", data)


def test_names_have_no_dashes() -> None:
    assert module_name("a/virtio-rng.ko.xz") == "virtio_rng"
    assert parse_builtin("kernel/fs/fuse/fuse.ko\nkernel/a-b.ko\n") == ("fuse", "a_b")


def test_what_is_needed_comes_first_and_once() -> None:
    known = ModuleSet([module("c", "b a"), module("b", "a"), module("a"), module("d", "b")], ())
    assert order(known, "c", "d", "a") == ["a", "b", "c", "d"]


def test_what_the_kernel_holds_or_was_loaded_is_left_out() -> None:
    known = ModuleSet([module("c", "b a"), module("a")], ["b"])
    assert order(known, "b", "c") == ["a", "c"]
    assert [it.name for it in known.load_order(["c"], ["a"])] == ["c"]


def test_a_soft_dependency_may_be_an_alias() -> None:
    """crc32c is crc32c_generic: without it, libcrc32c finds no implementation and ext4 doesn't mount."""
    known = ModuleSet(
        [module("libcrc32c", soft="crc32c"), module("crc32c_intel", aliases="crc32c crypto-crc32c"),
         module("crc32c_generic", aliases="crypto-crc32c")],
        (),
    )  # fmt: skip
    assert order(known, "libcrc32c") == ["crc32c_generic", "libcrc32c"]


def test_a_soft_dependency_that_nothing_answers_is_no_error() -> None:
    assert order(ModuleSet([module("a", soft="nowhere")], ()), "a") == ["a"]


def test_a_circle_ends() -> None:
    assert set(order(ModuleSet([module("a", soft="b"), module("b", "a")], ()), "a")) == {"a", "b"}


def test_a_module_that_is_gone_is_named() -> None:
    with pytest.raises(PeerMisbehaved, match="no module nft_nat"):
        order(ModuleSet([], ()), "nft_nat")


def test_modprobe_reads_what_is_needed_from_left_to_right() -> None:
    """modules.dep: what is loaded last stands first."""
    modules = [module("c", "b"), module("b", "a"), module("a", aliases="z net-pf-1")]
    known = ModuleSet(modules, ())
    text = encode_dependencies(modules, FOLDER, {it.name: known.load_order([it.name]) for it in modules})
    assert text == "kernel/a.ko:\nkernel/b.ko: kernel/a.ko\nkernel/c.ko: kernel/b.ko kernel/a.ko\n"
    assert encode_aliases(modules) == "alias net-pf-1 a\nalias z a\n"
