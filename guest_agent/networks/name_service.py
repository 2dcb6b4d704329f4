"""The name servers of all containers that have one, and the host's resolver settings that they follow."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Iterable
from functools import partial

from guest_agent.linux.namespaces import inside_network_namespace
from guest_agent.networks.directory import Directory
from guest_agent.networks.dns import (
    AAAA,
    MX,
    PTR,
    A,
    Question,
    parse_question,
    parse_reverse,
    plan_addresses,
    plan_failure,
    plan_pointer,
)
from guest_agent.networks.endpoints import open_name_sockets
from guest_agent.networks.forwarder import NameForwarder
from guest_agent.networks.names import FORWARDER, Asking, ResolverSettings, is_stub_only, parse_resolv_conf
from guest_agent.networks.settings import DescriptorHolder, NetworkSettings

KEY_PREFIX = "names:"


class NameService:
    """Must be used on the loop's thread."""

    def __init__(self, settings: NetworkSettings, holder: DescriptorHolder, directory: Directory) -> None:
        self._settings = settings
        self._holder = holder
        self._directory = directory
        self._forwarders: dict[str, NameForwarder] = {}
        self._cached: tuple[tuple[int, int], tuple[str, ...]] = ((0, 0), ())

    def raw_host_settings(self) -> ResolverSettings:
        """The host's own resolv.conf; empty where it is missing."""
        return parse_resolv_conf(_read(self._settings.upstream_resolv_conf))

    def host_settings(self) -> ResolverSettings:
        """The same, or the servers behind systemd-resolved's stub where the host names only that."""
        host = self.raw_host_settings()
        if is_stub_only(host):
            real = parse_resolv_conf(_read(self._settings.systemd_resolv_conf))
            return real if real.servers else host
        return host

    def serves(self, container_id: str) -> bool:
        return container_id in self._forwarders

    def serve(self, container_id: str, namespace: int, asking: Asking) -> None:
        """Answers at 127.0.0.11 of that namespace from here on, and after an engine's death. Raises OSError."""
        self.stop(container_id)
        with inside_network_namespace(namespace):
            datagrams, streams = open_name_sockets(FORWARDER)
        self._holder.hold(KEY_PREFIX + container_id, [datagrams.fileno(), streams.fileno()], _format_note(asking))
        self._start(container_id, datagrams, streams, asking)

    def stop(self, container_id: str) -> None:
        """Idempotent. Nothing of ours keeps the container's namespace alive afterwards."""
        forwarder = self._forwarders.pop(container_id, None)
        if forwarder is not None:
            forwarder.close()
            self._holder.drop(KEY_PREFIX + container_id)

    def adopt(self, live: Iterable[str]) -> None:
        """Takes up what a predecessor served for these containers, and lets go of all others."""
        keep = frozenset(live)
        for key in tuple(self._holder.keys()):
            container_id = key.removeprefix(KEY_PREFIX)
            if key.startswith(KEY_PREFIX) and container_id not in self._forwarders:
                self._adopt_one(key, container_id if container_id in keep else "")

    def close(self) -> None:
        """Lets go of our own descriptors; what is held stays."""
        for forwarder in self._forwarders.values():
            forwarder.close()
        self._forwarders.clear()

    def _adopt_one(self, key: str, container_id: str) -> None:
        fds, note = self._holder.get(key) if container_id else ([], "")
        if len(fds) != 2:
            self._holder.drop(key)
            return
        datagrams, streams = (socket.socket(fileno=fd) for fd in fds)
        self._start(container_id, datagrams, streams, _parse_note(note))

    def _start(self, container_id: str, datagrams: socket.socket, streams: socket.socket, asking: Asking) -> None:
        servers = (lambda: asking.servers) if asking.servers else self._servers
        answer = partial(self._answer, container_id, asking)
        self._forwarders[container_id] = NameForwarder(datagrams, streams, servers, answer)

    def _answer(self, container_id: str, asking: Asking, query: bytes, stream: bool) -> bytes | None:
        """None where others are to be asked."""
        question = parse_question(query)
        known = question and self._known(container_id, query, question, stream)
        if known:
            return known
        if not self._directory.may_ask_outside(container_id):
            return plan_failure(query)
        if question and asking.dotted_only and question.type in (A, AAAA) and "." not in question.name:
            return plan_addresses(query, question, ())
        return None

    def _known(self, container_id: str, query: bytes, question: Question, stream: bool) -> bytes | None:
        if question.type == PTR:
            name = self._directory.reverse(container_id, parse_reverse(question.name))
            return plan_pointer(query, question, name, stream) if name else None
        if question.type not in (A, AAAA, MX):
            return None
        found = self._directory.find(container_id, question.name, 6 if question.type == AAAA else 4)
        if found is None:
            return None
        addresses = list(found.addresses) if question.type != MX else []
        random.shuffle(addresses)
        return plan_addresses(query, question, addresses, stream)

    def _servers(self) -> tuple[str, ...]:
        """The host's servers, its own ones included; read again when the file has changed (another Wi-Fi)."""
        try:
            status = os.stat(self._settings.upstream_resolv_conf)
        except OSError:
            return ()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._cached[0]:
            self._cached = (stamp, self.raw_host_settings().servers)
        return self._cached[1]


def _format_note(asking: Asking) -> str:
    return json.dumps([asking.servers, asking.dotted_only])


def _parse_note(note: str) -> Asking:
    """What `_format_note` wrote; an engine that knew no networks of users wrote nothing."""
    if not note:
        return Asking()
    servers, dotted_only = json.loads(note)
    return Asking(tuple(servers), bool(dotted_only))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
