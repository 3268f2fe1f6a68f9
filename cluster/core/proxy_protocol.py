"""The header of the PROXY protocol, versions 1 and 2: whose connection a proxy passes on.

HAProxy's doc/proxy-protocol.txt; sections named here are its own. Whether there has to be a header is never
guessed from what comes (section 2): the caller knows whom the connection is from.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from cluster.core.errors import CloseReason, PeerViolation

#: What follows the fixed part of a header of version 2 may be so long. An address has 36 bytes; the rest
#: tells of TLS and of the proxy, in some hundred.
MAX_BLOCK_BYTES: Final = 4 * 1024

#: Section 2.1: the longest line of version 1, with its end.
_LONGEST_LINE: Final = 107
_LINE_BEGINS: Final = b"PROXY "
_LINE_ENDS: Final = b"\r\n"

#: Section 2.2.
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES: Final = 16
_VERSION_2: Final = 0x20
_PROXY: Final = 1
_HIGHEST_FAMILY, _HIGHEST_TRANSPORT = 3, 2
#: By family and transport, those of TCP: the bytes of one address.
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}

#: The most of a connection that has to be looked at.
LONGEST_HEADER: Final = _FIXED_BYTES + MAX_BLOCK_BYTES


class ProxyHeader(NamedTuple):
    """A whole header. ``size``: the bytes that it takes; ``source``: host and port of whoever connected to
    the proxy, None if the connection is the proxy's own, or it cannot tell."""

    size: int
    source: tuple[str, int] | None


def parse(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of ``data``; None if all of that belongs to one, and more is to come.

    PeerViolation (PROXY_HEADER) if there is none, or one that cannot be.
    """
    if _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        return _parse_binary(data)
    if _LINE_BEGINS.startswith(data[: len(_LINE_BEGINS)]):
        return _parse_line(data)
    raise _wrong(f"no header of the PROXY protocol, but {data[:8].hex(' ')}")


def _wrong(detail: str) -> PeerViolation:
    return PeerViolation(CloseReason.PROXY_HEADER, detail)


# ---- version 1 -------------------------------------------------------------------------------


def _parse_line(data: bytes) -> ProxyHeader | None:
    end = data.find(_LINE_ENDS, 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise _wrong(f"the line does not end within {_LONGEST_LINE} bytes")
        _check_line(data.removesuffix(b"\r"))  # what cannot become right is not waited for
        return None
    line = data[:end]
    _check_line(line)
    size = end + len(_LINE_ENDS)
    fields = line.decode("latin-1").split(" ")
    if fields[1] == "UNKNOWN":
        return ProxyHeader(size, None)  # "the receiver must ignore anything presented before the CRLF"
    if len(fields) != 6 or fields[1] not in ("TCP4", "TCP6"):
        raise _wrong("the line does not say PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
    version = int(fields[1][-1])
    source, _ = (_address(text, version) for text in fields[2:4])
    port, _ = map(_port, fields[4:])
    return ProxyHeader(size, (source, port))


def _check_line(line: bytes) -> None:
    if b"\r" in line or b"\n" in line:
        raise _wrong("an end of line that is none")


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _wrong("what stands for an address is none") from None
    if address.version != version or "%" in text:
        raise _wrong("an address of another family")
    return _spelled(address)


def _spelled(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """IPv4 within IPv6, as a proxy on a socket for both has it, is IPv4: so firewalls know it."""
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(inner or address)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0") or int(text) > 0xFFFF:
        raise _wrong("what stands for a port is none")
    return int(text)


# ---- version 2 -------------------------------------------------------------------------------


def _parse_binary(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED_BYTES:
        return None
    command, family = data[12], data[13]
    length = int.from_bytes(data[14:16])
    if command & 0xF0 != _VERSION_2 or command & 0x0F > _PROXY:
        raise _wrong(f"version and command are {command:#04x}")
    if family >> 4 > _HIGHEST_FAMILY or family & 0x0F > _HIGHEST_TRANSPORT:
        raise _wrong(f"family and transport are {family:#04x}")
    if length > MAX_BLOCK_BYTES:
        raise _wrong(f"{length} bytes follow, more than {MAX_BLOCK_BYTES}")
    # Of a connection of the proxy's own (LOCAL), and of what is not TCP over IP, the block is skipped.
    address_bytes = _ADDRESS_BYTES.get(family, 0) if command & 0x0F == _PROXY else 0
    if address_bytes and length < 2 * address_bytes + 4:
        raise _wrong(f"{length} bytes cannot hold the addresses")
    size = _FIXED_BYTES + length
    if len(data) < size:
        return None
    if not address_bytes:
        return ProxyHeader(size, None)
    block = data[_FIXED_BYTES:size]
    port = int.from_bytes(block[2 * address_bytes : 2 * address_bytes + 2])
    return ProxyHeader(size, (_spelled(ipaddress.ip_address(block[:address_bytes])), port))
