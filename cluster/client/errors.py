"""What can go wrong between us and a server: each exception says what the server said.

Every one is an ``RtmpError``. Apart from them the library raises ``UrlError`` (the text is not an RTMP
URL), ``FlvError`` (the file is not FLV), ``EnvironmentFault`` (a file of this host cannot be read or
written) and ``MisuseError`` (the library was called wrongly), and nothing else.
"""

from __future__ import annotations

import enum

from cluster.core.amf.values import AmfValue
from cluster.core.errors import ClusterError

#: The ``reason`` of a ConnectionClosed that was our own doing; all others are ``CloseReason`` values.
CLOSED_HERE = "closed_here"


class RtmpError(ClusterError):
    """Base of what a connection to a server ends or fails with."""


class TlsFault(enum.Enum):
    """Why there is no TLS with a server."""

    #: Nobody whom we trust vouches for its certificate.
    UNTRUSTED = enum.auto()
    #: The certificate is for other names than the one asked for.
    WRONG_NAME = enum.auto()
    #: The certificate is not valid yet, or no longer.
    OUT_OF_DATE = enum.auto()
    #: The certificate is refused for another reason.
    REFUSED = enum.auto()
    #: The server does not speak TLS, or none that we speak.
    NO_TLS = enum.auto()


class Unreachable(RtmpError):
    """No connection: the name does not resolve, nobody listens, or TLS does not come about.

    ``tls_fault`` says why, if it is the latter.
    """

    def __init__(self, text: str, tls_fault: TlsFault | None = None) -> None:
        super().__init__(text)
        self.tls_fault = tls_fault


class Timeout(RtmpError, TimeoutError):
    """The server has not answered in time. The text says what was waited for, and how long."""


class ConnectionClosed(RtmpError):
    """The connection is gone. ``reason`` is a ``CloseReason`` value or ``CLOSED_HERE``.

    ``detail`` says what was seen, with the last error the server reported before it closed.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"the connection is closed ({reason}): {detail}")
        self.reason = str(reason)
        self.detail = detail


class HandshakeFailed(ConnectionClosed):
    """The connection ended before both sides had agreed to speak RTMP."""


class StatusError(RtmpError):
    """Base of refusals that carry a status ``code`` and ``description``, either of which may be ""."""

    _WHAT = "the server refused"

    def __init__(self, code: str, description: str) -> None:
        said = ": ".join(part for part in (code, description) if part) or "without a reason"
        super().__init__(f"{self._WHAT}: {said}")
        self.code = code
        self.description = description


class ConnectRejected(StatusError):
    """The server answered connect with an error.

    ``redirect`` is the address it named instead; "" unless that was not followed: redirected too
    often, or from an encrypted address to one that is not.
    """

    _WHAT = "the server rejected the connect"

    def __init__(self, code: str, description: str, redirect: str = "") -> None:
        super().__init__(code, description)
        self.redirect = redirect


class PublishRefused(StatusError):
    """The server does not let us publish this name, or no longer does."""

    _WHAT = "the server refused the publish"


class PlayFailed(StatusError):
    """The server does not play this name, or cannot go on with it."""

    _WHAT = "the play failed"


class SharedObjectRefused(StatusError):
    """The server does not let us use or change this shared object."""

    _WHAT = "the server refused the shared object"


class CallError(StatusError):
    """A call was answered with ``_error``. ``values``: the command object of the answer, its arguments."""

    _WHAT = "the call failed"

    def __init__(self, code: str, description: str, values: tuple[AmfValue, ...] = ()) -> None:
        super().__init__(code, description)
        self.values = values

