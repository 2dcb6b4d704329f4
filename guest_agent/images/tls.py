"""TLS to registries: whom we trust, who we are, and what goes wrong, in Go's words.

/etc/docker/certs.d/HOST[:PORT] is a registry's own folder, as docker has it: *.crt are authorities that count beside
the system's, each *.cert with its *.key shows the registry who we are
(https://docs.docker.com/engine/security/certificates/).
"""

from __future__ import annotations

import os
import ssl

from guest_agent.wire.errors import InvalidArgument

CERTIFICATES = "/etc/docker/certs.d"
INSECURE_HINT = (
    f"put its authority's certificate into {CERTIFICATES}/HOST:PORT/ca.crt, or name the host in `insecure` of the "
    "configuration's [registries]"
)
_UNKNOWN_AUTHORITY = "certificate signed by unknown authority"
#: OpenSSL's X509_V_ERR_*.
_REFUSALS = {
    10: "certificate has expired or is not yet valid",
    **dict.fromkeys((18, 19, 20, 21), _UNKNOWN_AUTHORITY),
}


def tls_context(netloc: str, is_verified: bool, folder: str = CERTIFICATES) -> ssl.SSLContext:
    """For one registry. Raises InvalidArgument for certificates that can't be used."""
    context = ssl.create_default_context()
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in _files(folder, netloc):
        try:
            _use(context, path)
        except (OSError, ValueError) as error:  # ssl.SSLError among them
            raise InvalidArgument(f"can't use the certificate {path}: {error}") from error
    return context


def _files(folder: str, netloc: str) -> list[str]:
    """None for what isn't a plain host, as only a server that means ill would name."""
    if not netloc.strip("."):
        return []
    place = os.path.join(folder, netloc)
    try:
        return sorted(os.path.join(place, name) for name in os.listdir(place))
    except OSError:
        return []


def _use(context: ssl.SSLContext, path: str) -> None:
    stem, extension = os.path.splitext(path)
    if extension == ".crt":
        context.load_verify_locations(path)
    elif extension == ".cert":
        if not os.path.exists(f"{stem}.key"):
            name = os.path.basename(path)
            key = f"{os.path.basename(stem)}.key"
            raise ValueError(f"missing key {key} for it. CA certificates must use the extension .crt, unlike {name}")
        context.load_cert_chain(path, f"{stem}.key")


def tls_reason(error: ssl.SSLError) -> str:
    """What went wrong, as Go's crypto/tls says it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = _REFUSALS.get(error.verify_code, error.verify_message)
        return f"tls: failed to verify certificate: x509: {words}"
    if error.reason == "WRONG_VERSION_NUMBER":  # what a record begins with that is no record: "HTTP/1.1 400"
        return "http: server gave HTTP response to HTTPS client"
    return str(error.strerror or error).lower()
