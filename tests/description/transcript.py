"""The bytes of a connection -> the exchanges on it. Sans-IO: h11 reads what a client and a server said."""

from __future__ import annotations

from collections.abc import Iterator

import h11

from tests.description.checking import Exchange


def read_exchanges(asked: bytes, answered: bytes) -> Iterator[Exchange]:
    """Whole exchanges only: what was cut off, or follows an upgrade, isn't HTTP that can be judged."""
    requests = list(_read_requests(asked))
    client = h11.Connection(h11.CLIENT)
    client.receive_data(answered)
    client.receive_data(b"")
    for request in requests:
        exchange = _read_answer(client, request)
        if exchange is None:
            return
        yield exchange
        if client.our_state is h11.MUST_CLOSE or client.their_state is not h11.DONE:
            return
        client.start_next_cycle()


def _read_requests(asked: bytes) -> Iterator[h11.Request]:
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(asked)
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                yield event
            elif isinstance(event, h11.EndOfMessage):
                server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is not h11.DONE:
                    return
                server.start_next_cycle()
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return
    except h11.RemoteProtocolError:
        return


def _read_answer(client: h11.Connection, request: h11.Request) -> Exchange | None:
    headers = [
        (name, value) for name, value in request.headers if name not in (b"content-length", b"transfer-encoding")
    ]
    client.send(h11.Request(method=request.method, target=request.target, headers=headers))
    client.send(h11.EndOfMessage())
    status, content_type, body = 0, "", b""
    try:
        while True:
            event = client.next_event()
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return None
            if isinstance(event, h11.Response):
                status = event.status_code
                content_type = dict(event.headers).get(b"content-type", b"").decode()
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Exchange(request.method.decode(), request.target.decode(), status, content_type, body)
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None
