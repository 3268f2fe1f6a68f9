"""Signed addresses: who holds a link may do what it says until it expires, and need not be known.

Three schemes, each with its items of the query:

- rtmp-cluster: ``exp`` and ``sig``, and ``ip=1`` if the link is bound to an address. ``sig`` is the
  base64url, without "=", of HMAC-SHA256 over action, key, expiry, and the address if it is bound to one,
  each on a line. A link to play does not publish.
- node-media-server: ``sign=EXPIRY-HASH``, the hex MD5 of "/KEY-EXPIRY-SECRET".
- secure-link: ``st`` and ``e``, or ``md5`` and ``expires``: the base64url MD5 of a text that the
  configuration may give, as nginx does.

The last two are for those who move: a link of them publishes too, where a rule lets signed ones publish.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from cluster.edge.admission.credentials import Credentials, Query
from cluster.edge.admission.rules import Address
from cluster.edge.admission.users import is_one_of, raw
from cluster.edge.peers.access import Action, Refused

Scheme: TypeAlias = Literal["rtmp-cluster", "node-media-server", "secure-link"]
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

#: Names that nginx has for what it signs, and the secret, which there stands in the text itself.
EXPIRES, URI, REMOTE_ADDR, SECRET = "$secure_link_expires", "$uri", "$remote_addr", "$secret"
SECURE_LINK_TEXT: Final = SECRET + URI + EXPIRES
_NAMES: Final = re.compile("|".join(map(re.escape, (EXPIRES, URI, REMOTE_ADDR, SECRET))))
#: The names of the signature and of the expiry, in the order in which they are looked for.
_SECURE_LINK_ITEMS: Final = (("st", "e"), ("md5", "expires"))
#: In seconds since 1970, until the year 2286. Were there more, then who has a link of secure-link for
#: live/cam1 would have one for live/cam too: the last digit of the key would be the first of the expiry.
_EXPIRY_DIGITS: Final = range(1, 11)


class Shown(NamedTuple):
    """A signature, until when it says to be good, and the items that it stands in."""

    signature: str
    expires: str
    is_bound: bool


class BadLink(Exception):
    """Why a signed address lets nobody in. The text is for the peer."""

    def __init__(self, why: Refused, text: str) -> None:
        super().__init__(text)
        self.why = why


def normal(host: str) -> Address | None:
    """A numeric address as it is compared and signed: IPv4 within IPv6 is IPv4, and no zone counts."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class Signing:
    """The first of ``secrets`` signs, and all of them verify. ``text``: of secure-link, what is signed."""

    secrets: tuple[str, ...] = field(repr=False)
    scheme: Scheme = "rtmp-cluster"
    text: str = field(default=SECURE_LINK_TEXT, repr=False)

    def query(self, action: Action, key: str, expires: int, address: Address | None = None) -> str:
        """The query that lets do ``action`` with ``key`` until ``expires``, from ``address`` alone if there
        is one. ValueError says why the scheme cannot have it."""
        if address is not None and not self.can_bind:
            raise ValueError(f"links of {self.scheme} are not bound to an address here")
        bound = "" if address is None else str(address)
        signature = self._signature(self.secrets[0], action, key, str(expires), bound)
        if self.scheme == "node-media-server":
            return f"sign={expires}-{signature}"
        if self.scheme == "secure-link":
            return f"st={signature}&e={expires}"
        return f"exp={expires}{'&ip=1' if bound else ''}&sig={signature}"

    @property
    def can_bind(self) -> bool:
        """Whether a link can be bound to an address."""
        return self.scheme == "rtmp-cluster" or (self.scheme == "secure-link" and self.must_bind)

    @property
    def must_bind(self) -> bool:
        """Whether every link is bound to one."""
        return self.scheme == "secure-link" and REMOTE_ADDR in self.text

    def check(self, credentials: Credentials, action: Action, key: str, host: str, now_s: float) -> float:
        """When the link that ``credentials`` show expires, in seconds since 1970. BadLink if it does not
        let ``host`` in, or there is none."""
        shown = self._shown(credentials)
        if shown is None:
            raise BadLink(Refused.NO_CREDENTIALS, "this needs a signed address")
        address = normal(host) if shown.is_bound else None
        bound = "" if address is None else str(address)
        digits = shown.expires
        is_time = len(digits) in _EXPIRY_DIGITS and digits.isascii() and digits.isdigit()
        wanted = (self._signature(secret, action, key, digits, bound) for secret in self.secrets)
        if not is_one_of(shown.signature, wanted) or not is_time or (shown.is_bound and not bound):
            raise BadLink(Refused.BAD_CREDENTIALS, "the signature of the address is not right")
        if int(digits) < now_s:
            raise BadLink(Refused.BAD_CREDENTIALS, "the signed address has expired")
        return float(digits)

    def _shown(self, credentials: Credentials) -> Shown | None:
        if self.scheme == "node-media-server":
            query = credentials.query_with("sign")
            if query is None:
                return None
            expires, _, signature = query.get("sign").partition("-")
            return Shown(signature.lower(), expires, False)
        names = _SECURE_LINK_ITEMS if self.scheme == "secure-link" else (("sig", "exp"),)
        for signature, expires in names:
            if (query := credentials.query_with(signature)) is not None:
                return Shown(query.get(signature).rstrip("="), query.get(expires), self._is_bound(query))
        return None

    def _is_bound(self, query: Query) -> bool:
        return self.must_bind or (self.scheme == "rtmp-cluster" and query.get("ip") == "1")

    def _signature(self, secret: str, action: Action, key: str, expires: str, address: str) -> str:
        if self.scheme == "node-media-server":
            return hashlib.md5(raw(f"/{key}-{expires}-{secret}"), usedforsecurity=False).hexdigest()
        if self.scheme == "secure-link":
            values = {EXPIRES: expires, URI: f"/{key}", REMOTE_ADDR: address, SECRET: secret}
            text = _NAMES.sub(lambda name: values[name[0]], self.text)
            return _base64url(hashlib.md5(raw(text), usedforsecurity=False).digest())
        lines = (action, key, expires, address) if address else (action, key, expires)
        return _base64url(hmac.digest(raw(secret), raw("\n".join(lines)), "sha256"))


def _base64url(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
