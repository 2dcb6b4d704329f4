"""One client's connection: h11 decides, this file moves bytes and keeps the time.

Theory of operation. asyncio calls `data_received`; h11 turns bytes into events; a `Request` event starts one task that
calls the application and sends its answer, while later events feed the request's body. There is one task at a time:
h11 pauses on pipelined requests until `start_next_cycle`. Three ways lead out:

- keep-alive: both sides are done, the next request may already be in h11's buffer;
- a hijack: h11 is left behind, what it held is the first input of a `RawStream`; when the session ends our direction is
  shut first and the client gets time to read (`_linger`): a unix socket closed over unread input resets its peer;
- the client goes away. End of input alone doesn't say so: `nc -N` and the docker CLI's stdin only close their own
  direction. The kernel tells the two apart by POLLHUP (unix(7) peers: both directions shut), asked for at the end of
  input and each second from then on. Gone means: the task is cancelled, unless its request survives its client.

Reading stops while a body, a raw stream or pipelined requests hold more than their limit; writing waits in `Outlet`.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import h11

from guest_agent.api.messages import Answer, Application, Hijack, Request, Response, Stream
from guest_agent.http import heads
from guest_agent.http.body import RequestBody
from guest_agent.http.duplex import RawStream
from guest_agent.http.outlet import CorkedOutlet, Outlet
from guest_agent.http.prompt import read_plain_get, render_response
from guest_agent.wire.errors import PeerMisbehaved

if TYPE_CHECKING:
    from guest_agent.http.server import Server

log = logging.getLogger(__name__)

#: Head of a request, in bytes. Go's net/http, and so dockerd, takes 1 MiB; node.js 80 * 1024. A filters parameter with
#: a hundred names is 8 KiB.
MAX_HEAD = 256 << 10
#: Seconds from the first byte of a head to its last. dockerd gives 5 minutes; local clients need milliseconds.
HEAD_DEADLINE = 30.0
#: Pipelined input that is held while a request is being answered.
MAX_PIPELINED = 256 << 10
#: An unread body is thrown away up to this size and time, so that a client that is still sending sees the answer.
DISCARD_LIMIT, DISCARD_SECONDS = 64 << 20, 5.0
#: Seconds for a client to close its direction after a hijacked stream has ended.
LINGER = 5.0
HALF_CLOSED_CHECK = 1.0


class Connection(asyncio.Protocol):
    """Made by `Server` for each accepted socket."""

    def __init__(self, server: Server, application: Application) -> None:
        self._server = server
        self._application = application
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._request: Request | None = None
        self._body: RequestBody | None = None
        self._raw: RawStream | None = None
        self._streaming = False
        self._eof = False
        self._gone = False
        self._lingering = False
        self._reading = True
        self._timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._outlet = Outlet(self._transport)
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:
            if not self._lingering:
                self._raw.feed(data)
                self._throttle()
            return
        if not self._answer_at_once(data):
            self._h11.receive_data(data)
            self._advance()

    def eof_received(self) -> bool:
        """True keeps our direction open."""
        self._eof = True
        if self._lingering:
            return False
        if self._raw is not None:
            self._raw.feed_eof()
        else:
            self._h11.receive_data(b"")
            self._advance()
        self._check_hung_up()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._eof = True
        if self.task is None:
            self._server.connections.discard(self)
        self._stop_timer()
        self._client_gone()
        self._outlet.resume()

    def pause_writing(self) -> None:
        self._outlet.pause()

    def resume_writing(self) -> None:
        self._outlet.resume()

    # -- the server's side

    def shut_down(self) -> None:
        """Idle: close. A stream or hijack: cut off. A whole answer under way: let it end, then close."""
        if self.task is None:
            self._transport.close()
        elif self._streaming or self._raw is not None:
            self.task.cancel()

    # -- input

    def _advance(self) -> None:
        """Takes from h11 what there is, as long as there is room for it."""
        try:
            while self._body is None or not self._body.full:
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._on_event(cast(h11.Event, event))
                if isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError as error:
            self._on_protocol_error(error)
        self._throttle()
        if self.task is None and not self._eof:
            self._watch_head()

    def _answer_at_once(self, data: bytes) -> bool:
        """Whether it was a plain request between others, and has its answer (http.prompt)."""
        states = (self._h11.our_state, self._h11.their_state)
        busy = self.task is not None or states != (h11.IDLE, h11.IDLE) or self._h11.trailing_data[0]
        if busy or self._outlet.paused or self._server.stopping:
            return False
        request = read_plain_get(data)
        answer = self._application.at_once(request) if request else None
        if answer is not None:
            self._outlet.write(render_response(answer))
        return answer is not None

    def _on_event(self, event: h11.Event) -> None:
        if isinstance(event, h11.Request):
            self._stop_timer()
            self._begin(event)
        elif isinstance(event, h11.ConnectionClosed):
            if self.task is None:
                self._transport.close()
        elif self._body is not None:
            if isinstance(event, h11.Data):
                self._body.feed(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._body.end()

    def _on_protocol_error(self, error: h11.RemoteProtocolError) -> None:
        if self.task is not None and self._body is not None:
            self._body.fail(PeerMisbehaved(f"malformed request: {error}"))
            return
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            text = f"{error.error_status_hint} {heads.reason(error.error_status_hint).decode()}: {error}".encode()
            self._write_response(Response(error.error_status_hint, text, "text/plain; charset=utf-8"), head=False)
        self._transport.close()

    def _begin(self, event: h11.Request) -> None:
        self._body = RequestBody(self._on_taken, self._on_wanted)
        self._request = heads.read_request(event, self._body)
        self.task = asyncio.get_running_loop().create_task(self._serve(self._request))

    def _on_taken(self) -> None:
        if self._raw is None and self.task is not None:
            self._advance()
        else:
            self._throttle()

    def _on_wanted(self) -> None:
        if self._h11.they_are_waiting_for_100_continue:
            head = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._outlet.write(self._h11.send(head) or b"")

    def _throttle(self) -> None:
        """Reads from the socket only while there is room."""
        wanted = not self._have_enough()
        if wanted == self._reading or self._eof or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _have_enough(self) -> bool:
        if self._raw is not None:
            return self._raw.full and not self._lingering
        if self._body is not None and self._body.full:
            return True
        done = self.task is not None and self._h11.their_state not in (h11.IDLE, h11.SEND_BODY)
        return done and len(self._h11.trailing_data[0]) > MAX_PIPELINED

    # -- output

    async def _serve(self, request: Request) -> None:
        try:
            answer = await self._application(request)
            await self._send(request, answer)
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        except Exception:
            log.exception("%s %s: the answer could not be sent", request.method, request.path)
            self._transport.abort()
        finally:
            self.task = None
            if self._transport.is_closing():
                self._server.connections.discard(self)
        if self._raw is None and not self._transport.is_closing():
            self._next_request()

    async def _send(self, request: Request, answer: Answer) -> None:
        if isinstance(answer, Response):
            self._write_response(answer, head=request.method == "HEAD")
            if answer.afterwards is not None:
                answer.afterwards()
            await self._outlet.drain()
        elif isinstance(answer, Stream):
            await self._write_stream(answer)
        else:
            await self._hijack(answer)
            return
        await self._discard_body()

    def _write_response(self, answer: Response, head: bool) -> None:
        """One write for head and body: one wake-up of the client."""
        parts = self._h11.send(heads.response_head(answer)) or b""
        if answer.body and not head:
            parts += self._h11.send(h11.Data(data=answer.body)) or b""
        self._outlet.write(parts + (self._h11.send(h11.EndOfMessage()) or b""))

    async def _write_stream(self, answer: Stream) -> None:
        self._streaming = True
        self._outlet.write(self._h11.send(heads.stream_head(answer)) or b"")
        corked = CorkedOutlet(self._outlet, lambda piece: self._h11.send(h11.Data(data=piece)) or b"")
        async with aclosing(answer.chunks) as chunks:
            async for chunk in chunks:
                if chunk:
                    await corked.put(chunk)
        corked.flush()
        self._outlet.write(self._h11.send(h11.EndOfMessage()) or b"")
        await self._outlet.drain()
        self._streaming = False

    async def _hijack(self, answer: Hijack) -> None:
        self._outlet.write(heads.hijack_head(answer))
        self._raw = raw = RawStream(self._outlet, self._on_taken)
        raw.feed(self._h11.trailing_data[0])
        if self._gone:
            raw.lost()
        elif self._eof:
            raw.feed_eof()
        self._throttle()
        await answer.session(raw)
        self._linger()

    async def _discard_body(self) -> None:
        """Only a body that nobody read is left here; without it h11 couldn't go on to the next request."""
        body = self._body
        if body is None or self._h11.their_state is not h11.SEND_BODY or self._h11.they_are_waiting_for_100_continue:
            return
        left = DISCARD_LIMIT
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                async for piece in body:
                    left -= len(piece)
                    if left < 0:
                        return
        except (TimeoutError, PeerMisbehaved):
            pass

    def _next_request(self) -> None:
        self._request = self._body = None
        states = (self._h11.our_state, self._h11.their_state)
        if states != (h11.DONE, h11.DONE) or self._server.stopping:
            self._transport.close()
            return
        self._h11.start_next_cycle()
        self._advance()

    # -- ends

    def _client_gone(self) -> None:
        if self._gone:
            return
        self._gone = True
        if self._raw is not None:
            self._raw.lost()
        elif self._body is not None:
            self._body.fail(PeerMisbehaved("unexpected EOF"))
        survives = self._request is not None and self._request.survives_client
        if self.task is not None and self._raw is None and not survives:
            self.task.cancel()

    def _check_hung_up(self) -> None:
        if self._transport.is_closing() or self.task is None:
            return
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), 0)
        if poll.poll(0):
            self._client_gone()
        else:
            self._start_timer(HALF_CLOSED_CHECK, self._check_hung_up)

    def _linger(self) -> None:
        if self._eof or self._transport.is_closing():
            self._transport.close()
            return
        self._lingering = True
        self._throttle()
        self._transport.write_eof()
        self._start_timer(LINGER, self._end_lingering)

    def _end_lingering(self) -> None:
        if self._transport.get_write_buffer_size() and not self._server.stopping:
            self._start_timer(LINGER, self._end_lingering)
        else:
            self._transport.close()

    def _watch_head(self) -> None:
        if self._timer is None and self._h11.trailing_data[0]:
            self._start_timer(HEAD_DEADLINE, self._head_too_slow)

    def _head_too_slow(self) -> None:
        log.info("a client took more than %.0f s to send the head of a request", HEAD_DEADLINE)
        self._transport.abort()

    def _start_timer(self, seconds: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
