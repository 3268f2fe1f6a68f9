"""The PROXY protocol's header: both versions, cut everywhere, and what is no header."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.proxy_protocol import LONGEST_HEADER, MAX_BLOCK_BYTES, ProxyHeader, parse

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
#: What a peer says behind it: the beginning of an RTMP handshake.
BEHIND = b"\x03" + bytes(20)


def binary(command: int = 0x21, family: int = 0x11, block: bytes = b"") -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(block)) + block


def block(source: str, port: int, more: bytes = b"") -> bytes:
    packed = ipaddress.ip_address(source).packed
    return packed + bytes(len(packed)) + struct.pack(">HH", port, 1935) + more


V4 = binary(block=block("192.0.2.1", 50_000))
V6 = binary(family=0x21, block=block("2001:db8::1", 50_001))
#: NOOP, and what tells of TLS (AUTHORITY).
TLVS = b"\x04\x00\x03abc" + b"\x02\x00\x04edge"

HEADERS: list[tuple[bytes, tuple[str, int] | None]] = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 1935\r\n", ("192.0.2.1", 50_000)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65_535)),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 0 0\r\n", ("192.0.2.1", 0)),
    (b"PROXY TCP6 2001:DB8:0::1 ::1 50000 1935\r\n", ("2001:db8::1", 50_000)),
    (b"PROXY TCP6 " + b":".join([b"ffff"] * 8) + b" " + b":".join([b"ffff"] * 8) + b" 65535 65535\r\n",
     ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65_535)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 50000 1935\r\n", ("192.0.2.1", 50_000)),
    (binary(family=0x21, block=block("::ffff:192.0.2.1", 50_000)), ("192.0.2.1", 50_000)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    (V4, ("192.0.2.1", 50_000)),
    (V6, ("2001:db8::1", 50_001)),
    (binary(block=block("192.0.2.1", 1, TLVS)), ("192.0.2.1", 1)),
    (binary(family=0x21, block=block("2001:db8::1", 1, bytes(MAX_BLOCK_BYTES - 36))), ("2001:db8::1", 1)),
    (binary(command=0x20, family=0x00), None),
    (binary(command=0x20, block=block("192.0.2.1", 1)), None),
    (binary(command=0x20, block=b"abc"), None),
    (binary(family=0x00, block=TLVS), None),
    (binary(family=0x31, block=bytes(216)), None),
    (binary(family=0x12, block=block("192.0.2.1", 1)), None),
]  # fmt: skip

NO_HEADERS: list[tuple[bytes, str]] = [
    (b"\x03", "no header of the PROXY protocol, but 03"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "but 16 03 01 02 00 01 00 01"),
    (b"GET / HTTP/1.1\r\n", "no header"),
    (b"proxy TCP4", "no header"),
    (b"PROXX", "no header"),
    (SIGNATURE[:11] + b"\x0b", "no header"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 50000\r\n", "does not say"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 1935 1\r\n", "does not say"),
    (b"PROXY TCP4  192.0.2.1 198.51.100.1 50000 1935\r\n", "does not say"),
    (b"PROXY UDP4 192.0.2.1 198.51.100.1 50000 1935\r\n", "does not say"),
    (b"PROXY UNKNOWNS\r\n", "does not say"),
    (b"PROXY \r\n", "does not say"),
    (b"PROXY TCP4 192.0.2.256 198.51.100.1 50000 1935\r\n", "an address is none"),
    (b"PROXY TCP4 192.0.02.1 198.51.100.1 50000 1935\r\n", "an address is none"),
    (b"PROXY TCP4 192.0.2.1 edge.example 50000 1935\r\n", "an address is none"),
    (b"PROXY TCP4 2001:db8::1 ::1 50000 1935\r\n", "another family"),
    (b"PROXY TCP6 192.0.2.1 198.51.100.1 50000 1935\r\n", "another family"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 50000 1935\r\n", "another family"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 050000 1935\r\n", "a port is none"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 1935\r\n", "a port is none"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 1935\r\n", "a port is none"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 \xb2\r\n", "a port is none"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 \r\n", "a port is none"),
    (b"PROXY TCP4 192.0.2.1\n", "an end of line that is none"),
    (b"PROXY TCP4 192.0.2.1\rX", "an end of line that is none"),
    (b"PROXY UNKNOWN\n\r\n", "an end of line that is none"),
    (b"PROXY UNKNOWN " + b"x" * 93, "does not end within 107 bytes"),
    (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "does not end within 107 bytes"),
    (binary(command=0x11), "version and command are 0x11"),
    (binary(command=0x22), "version and command are 0x22"),
    (binary(family=0x41), "family and transport are 0x41"),
    (binary(family=0x13), "family and transport are 0x13"),
    (binary(block=block("192.0.2.1", 1)[:-1]), "11 bytes cannot hold the addresses"),
    (binary(family=0x21, block=block("192.0.2.1", 1)), "12 bytes cannot hold the addresses"),
    (binary(block=bytes(MAX_BLOCK_BYTES + 1))[:16], "4097 bytes follow, more than 4096"),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_whose_connection_it_is(header: bytes, source: tuple[str, int] | None) -> None:
    assert len(header) <= LONGEST_HEADER
    assert parse(header) == parse(header + BEHIND) == ProxyHeader(len(header), source)


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_a_header_that_is_cut_anywhere_is_waited_for(
    header: bytes, source: tuple[str, int] | None
) -> None:
    assert [size for size in range(len(header)) if parse(header[:size]) is not None] == []


@pytest.mark.parametrize(("data", "text"), NO_HEADERS)
def test_what_is_no_header(data: bytes, text: str) -> None:
    with pytest.raises(PeerViolation, match=text) as caught:
        parse(data)
    assert caught.value.reason is CloseReason.PROXY_HEADER


BEGINNINGS = [b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, V4[:14], V6[:15]]


def outcome(data: bytes) -> ProxyHeader | CloseReason | None:
    try:
        return parse(data)
    except PeerViolation as violation:
        return violation.reason


@given(st.binary(max_size=300), st.sampled_from(BEGINNINGS))
def test_of_any_bytes_the_first_word_is_the_last(data: bytes, begins: bytes) -> None:
    whole = begins + data
    seen = [outcome(whole[:size]) for size in range(len(whole) + 1)]
    said = [each for each in seen if each is not None]
    assert seen[len(seen) - len(said) :] == said
    assert len(set(said)) <= 1
    for each in said:
        assert not isinstance(each, ProxyHeader) or each.size == len(seen) - len(said)


@given(st.ip_addresses(), st.integers(0, 0xFFFF), st.binary(max_size=100))
def test_both_versions_say_the_same(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, behind: bytes
) -> None:
    version = address.version
    line = f"PROXY TCP{version} {address} {address} {port} 1935\r\n".encode()
    data = binary(family=0x11 if version == 4 else 0x21, block=block(str(address), port))
    source = str(getattr(address, "ipv4_mapped", None) or address)
    assert parse(line + behind) == ProxyHeader(len(line), (source, port))
    assert parse(data + behind) == ProxyHeader(len(data), (source, port))
