"""Who may ask what: by a token, or, while there is none, from this host alone.

A browser on this host may be shown a foreign page, which can send requests here. So without tokens the
``Host`` that was asked for must be this host, and whatever the browser says of the page that asks
(``Origin``) must be the address that is asked.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from cluster.core.errors import EnvironmentFault

#: A token that can be guessed is none.
_SHORTEST_TOKEN = 16
_LARGEST_FILE = 64 * 1024


class Denied(Exception):
    """``status``: 401 without a good token, 403 with one that is not good for this."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Tokens:
    """``admin`` may do all, ``read`` may look. Several of a kind: the old and the new one."""

    admin: Sequence[str] = field(default=(), repr=False)
    read: Sequence[str] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.admin or self.read)


def read_tokens(path: Path) -> list[str]:
    """The tokens in a file, one a line; EnvironmentFault if there are none, or one is too short."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE).decode("utf-8", "replace")
    except OSError as error:
        raise EnvironmentFault(f"token file {path}: {error.strerror}") from None
    lines = [line.strip() for line in text.splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise EnvironmentFault(f"token file {path}: there is no token in it")
    for token in tokens:
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or " " in token:
            raise EnvironmentFault(
                f"token file {path}: a token has {_SHORTEST_TOKEN} characters of ASCII or more, no blank "
                "(openssl rand -hex 24 makes one)"
            )
    return tokens


@dataclass(frozen=True, slots=True)
class Asker:
    """What a request says of who asks."""

    address: str
    host: str
    origin: str | None
    authorization: str


def check(tokens: Tokens, asker: Asker, *, is_order: bool) -> None:
    """Denied if ``asker`` may not look, or, with ``is_order``, not change anything."""
    if asker.origin is not None and _parts(asker.origin).netloc != asker.host:
        raise Denied(403, "a page of another site may not ask here")
    if not tokens:
        _check_is_here(asker)
        return
    shown = _shown(asker.authorization)
    if not shown:
        raise Denied(401, "show a token: Authorization: Bearer TOKEN")
    if _is_among(shown, tokens.admin):
        return
    if not _is_among(shown, tokens.read):
        raise Denied(401, "this token is not good")
    if is_order:
        raise Denied(403, "this token is for looking only")


def _check_is_here(asker: Asker) -> None:
    if not _is_loopback(asker.address):
        raise Denied(403, "without --api-token only this host may ask")
    if not _is_loopback(_parts(f"//{asker.host}").hostname or ""):
        raise Denied(403, "without --api-token this is to be asked for as localhost")


def _parts(address: str) -> SplitResult:
    """The parts of an address that a stranger has written; empty ones if it is no address."""
    try:
        return urlsplit(address)
    except ValueError:  # a bracket that is not closed
        return urlsplit("")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _shown(authorization: str) -> str:
    """The token in the header: a bearer's, or the password of Basic, whoever it is for."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode("utf-8", "replace").partition(":")[2]
        except ValueError:
            return ""
    return ""


def _is_among(shown: str, tokens: Sequence[str]) -> bool:
    """Each is compared, so that the time says nothing. The bytes of a header need not be text."""
    found, given = False, shown.encode("utf-8", "surrogateescape")
    for token in tokens:
        found |= hmac.compare_digest(given, token.encode())
    return found
