"""Bytes as a person reads them."""

from cluster.core.hexdump import hexdump


def test_lines_of_sixteen_with_a_gap_after_eight() -> None:
    assert hexdump(b"\x03onStatus\x00\x7f 0123456") == (
        "00000000  03 6f 6e 53 74 61 74 75  73 00 7f 20 30 31 32 33  .onStatus.. 0123\n"
        "00000010  34 35 36                                          456"
    )


def test_indented() -> None:
    assert hexdump(memoryview(b"ab"), indent=2).startswith("  00000000  61 62 ")


def test_nothing() -> None:
    assert hexdump(b"") == ""


def test_at_the_limit_and_one_past() -> None:
    assert "more" not in hexdump(bytes(256))
    assert hexdump(bytes(257)).splitlines()[-1] == "... 1 more bytes"
    assert hexdump(bytes(5), limit_bytes=0) == "... 5 more bytes"
