"""HTTP to registries: connections, TLS, proxies, redirects. Blocking; used from threads.

What is safe to send where is decided here: plain HTTP only to loopback addresses and to hosts that the configuration
calls insecure. A redirect to another host loses the Authorization header, and none takes a body (which may be a
secret itself) to another host.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event, Lock
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from guest_agent.images.dialling import Dialler, dial_address
from guest_agent.images.insecure import is_insecure
from guest_agent.images.tls import CERTIFICATES, INSECURE_HINT, tls_context, tls_reason
from guest_agent.wire.errors import PeerMisbehaved, Unavailable

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10  # net/http's Client stops there, too
_READ_SIZE = 256 << 10
_USER_AGENT = "hostvm"

NO_REGISTRY_HINT = (
    "without a registry, `hostvm bootstrap` builds images from Debian packages (`hostvm bootstrap --list` shows them)"
)


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """`insecure`: host[:port] or network (10.0.0.0/8) to which plain HTTP and unverified TLS are allowed.

    `mirrors`: domain -> base URLs.
    """

    insecure: tuple[str, ...] = ()
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timeout: float = 30.0  #: seconds for a connection, and for each wait for data
    retry_delay: float = 1.0  #: seconds before the first repetition of a broken transfer; doubles
    retries: int = 5  #: repetitions that bring no new byte before we give up
    keep_finished: float = 600.0  #: seconds for which the finished layers of a failed pull wait for the next attempt
    #: Inside a machine: where what listens on the loopback of the machine's host is reached.
    host_address: str = ""
    certificates: str = CERTIFICATES  #: a folder for each registry, with its certificates


#: What a request carries.
Payload = bytes | Iterator[bytes]


class Response:
    """An answer whose body is still on the way. Close it."""

    def __init__(self, url: str, raw: http.client.HTTPResponse, close: Callable[[], None]) -> None:
        self.url = url
        self.status = raw.status
        self.headers = raw.headers
        self._raw = raw
        self.close = close

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; raises OSError or http.client.HTTPException where it breaks off."""
        while data := self._raw.read1(_READ_SIZE):
            yield data

    def body(self, limit: int) -> bytes:
        """All of it; PeerMisbehaved if it is longer than `limit`. Closes."""
        try:
            data = self._raw.read(limit + 1)
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(self.url, error) from error
        finally:
            self.close()
        if len(data) > limit:
            raise PeerMisbehaved(f'Get "{self.url}": the answer is longer than {limit} bytes')
        return data

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Sends requests; `abort` ends all that are under way, from any thread."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self.aborted = Event()  #: set once, by `abort`
        self._lock = Lock()
        self._open: set[Dialler] = set()
        self._insecure: dict[str, bool] = {}  # of a name it is the resolver's word, asked for once

    def request(
        self, url: str, headers: Mapping[str, str], body: Payload | None = None, method: str = "GET"
    ) -> Response:
        """One exchange; redirects are followed, with a body only to the same host. A body of pieces is sent in chunks.

        Raises OSError and http.client.HTTPException as they come (see `unreachable`), PeerMisbehaved for a redirect
        that isn't safe.
        """
        sent = {"User-Agent": _USER_AGENT, **headers}
        for _ in range(_MAX_REDIRECTS):
            response = self._send(urlsplit(url), sent, body, method)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location or not isinstance(body, bytes | None):
                return response
            target = urljoin(url, location)
            abroad = origin_of(target) != origin_of(url)
            if abroad and body:
                return response
            response.close()
            self.check_target(url, target)
            if abroad:
                sent.pop("Authorization", None)
            url = target
        raise PeerMisbehaved(f'Get "{url}": stopped after {_MAX_REDIRECTS} redirects')

    def allows_plain_http(self, netloc: str) -> bool:
        """On loopback, or insecure by configuration."""
        if netloc not in self._insecure:
            self._insecure[netloc] = is_insecure(netloc, self.settings.insecure)
        return self._insecure[netloc]

    def abort(self) -> None:
        with self._lock:
            self.aborted.set()
            for dialler in self._open:
                dialler.abort()

    def check_target(self, url: str, target: str) -> None:
        """Raise PeerMisbehaved where an answer of `url` names a target that it isn't safe to go to."""
        parts = urlsplit(target)
        plain = parts.scheme == "http" and self.allows_plain_http(parts.netloc)
        if parts.scheme != "https" and not plain:
            raise PeerMisbehaved(f'Get "{url}": refused to follow a redirect to {parts.scheme}://{parts.netloc}')

    def _send(self, url: SplitResult, headers: Mapping[str, str], body: Payload | None, method: str) -> Response:
        dialler = Dialler(self.settings.host_address)
        connection = self._connect(url, dialler)

        def close() -> None:
            with self._lock:
                self._open.discard(dialler)
            connection.close()
            dialler.close()

        with self._lock:
            self._open.add(dialler)
        try:
            if self.aborted.is_set():
                raise ConnectionAbortedError("canceled")
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request(method, path, body, dict(headers))
            return Response(url.geturl(), connection.getresponse(), close)
        except BaseException:
            close()
            raise

    def _connect(self, url: SplitResult, dialler: Dialler) -> http.client.HTTPConnection:
        timeout = self.settings.timeout
        host, port = url.hostname or "", url.port
        if url.scheme == "http":
            return dialler.http(host, port, timeout=timeout)
        context = tls_context(url.netloc, not self.allows_plain_http(url.netloc), self.settings.certificates)
        proxy = _proxy_for(url)
        if proxy is None or dial_address(host, self.settings.host_address) != host:
            return dialler.https(host, port, timeout=timeout, context=context)
        connection = dialler.https(proxy.hostname or "", proxy.port, timeout=timeout, context=context)
        connection.set_tunnel(host, port or 443)
        return connection


def unreachable(url: str, error: Exception) -> Unavailable:
    """The one line for a registry that doesn't answer."""
    hint = INSECURE_HINT if isinstance(error, ssl.SSLError) else NO_REGISTRY_HINT
    return Unavailable(f'Get "{url}": {reason(error)}', hint)


def reason(error: Exception) -> str:
    """A network error in few words."""
    if isinstance(error, TimeoutError):
        return "timeout awaiting the response"
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
        return "unexpected EOF"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def origin_of(url: str) -> tuple[str, str]:
    """Scheme and host with its port: what credentials are meant for."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _proxy_for(url: SplitResult) -> SplitResult | None:
    """HTTPS_PROXY and NO_PROXY; plain HTTP goes to loopback and the neighbourhood only, never through a proxy."""
    proxy = getproxies().get("https")
    if not proxy or proxy_bypass(url.netloc):
        return None
    return urlsplit(proxy if "//" in proxy else f"//{proxy}")
