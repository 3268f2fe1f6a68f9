"""What to type, or to look at, when a command in the client role does not get through to a server."""

from __future__ import annotations

from cluster.client.errors import HandshakeFailed, RtmpError, Timeout, TlsFault, Unreachable
from cluster.core.rtmp.url import DEFAULT_PORTS, RtmpUrl
from cluster.net.tls_client import Tls

_BY_TLS_FAULT = {
    TlsFault.UNTRUSTED: "--ca-file FILE trusts what is in FILE (PEM), the server's own certificate too; "
    "--insecure accepts any",
    TlsFault.WRONG_NAME: "write the host as the certificate has it, or --server-name NAME; --insecure "
    "accepts any",
    TlsFault.OUT_OF_DATE: "the server needs a new one, or this host the right time; --insecure accepts any",
    TlsFault.REFUSED: "--insecure accepts any",
    TlsFault.NO_TLS: "if this is a port for plain RTMP, write rtmp:// instead of rtmps://",
}


def unused_tls_options(tls: Tls) -> str:
    """What is said of these options beside an address that is not encrypted; "" if none was given."""
    given = {"--ca-file": tls.ca_file, "--server-name": tls.server_name}
    flags = " and ".join(flag for flag, value in given.items() if value is not None)
    return f"rtmp:// is not encrypted, and {flags} changes nothing: is it rtmps://?" if flags else ""


def hint(error: RtmpError, url: RtmpUrl) -> str:
    """What may help against ``error`` at ``url``; "" if the error says it all."""
    if isinstance(error, Unreachable):
        if error.tls_fault is not None:
            return _BY_TLS_FAULT[error.tls_fault]
        default = DEFAULT_PORTS[url.scheme]
        if url.tls and url.port == default:
            return f"{default} is the port of an rtmps address without one: a server may have another"
        return "is the address right, and an RTMP server there?"
    if isinstance(error, Timeout):
        return "--timeout S waits longer"
    if isinstance(error, HandshakeFailed):
        secure = "" if url.tls else " If it is for RTMP over TLS, write rtmps:// instead of rtmp://"
        return f"is it a port for RTMP?{secure}"
    return ""
