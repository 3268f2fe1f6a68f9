"""Stream keys from what peers send as app and stream name."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.keys import MAX_KEY_BYTES, StreamKey, clean_app, split_query


@pytest.mark.parametrize(
    ("app", "name", "key"),
    [
        ("live", "a", "live/a"),
        ("/live/", "a", "live/a"),
        ("live", "/a", "live/a"),
        ("live?vhost=x", "a?token=1", "live/a"),
        ("live/?vhost=x/y", "a?token=/?", "live/a"),
        ("live/room", "a", "live/room/a"),
        ("live", "room/a", "live/room/a"),
        ("live", "mp4:a b.mp4", "live/mp4:a b.mp4"),
        ("живой", "поток", "живой/поток"),
    ],
)
def test_keys(app, name, key):
    assert StreamKey.parse(app, name) == key
    assert msgpack.unpackb(msgpack.packb(StreamKey.parse(app, name))) == key, "it is its text to the bus"


def violation(app, name):
    with pytest.raises(PeerViolation) as caught:
        StreamKey.parse(app, name)
    assert caught.value.reason is CloseReason.BAD_COMMAND
    return caught.value.detail


@pytest.mark.parametrize("text", ["", "/", "///", "?token=1", "/?token=1"])
def test_empty_parts(text):
    assert violation(text, "a") == "the app is empty"
    assert violation("live", text) == "the stream name is empty"


@pytest.mark.parametrize("character", list("\x00\x01\t\n\r\x1b\x1f\x7f\x80\x9f"))
def test_control_characters(character):
    said = f"holds the control character U+{ord(character):04X} at"
    assert violation("live", f"ab{character}c") == f"the stream name {said} 2"
    assert violation(f"{character}live", "a") == f"the app {said} 0"
    assert StreamKey.parse("live", f"a?{character}") == "live/a", "a query is not part of the key"


def test_bytes_that_are_not_utf_8():
    name = b"a\xff".decode("utf-8", "surrogateescape")
    assert violation("live", name) == "the stream name is not UTF-8 at 1"


@pytest.mark.parametrize("filler", ["a", "é", "漢", "🎥"])
def test_the_longest_key_and_one_byte_more(filler):
    count, rest = divmod(MAX_KEY_BYTES - len("live/"), len(filler.encode()))
    name = filler * count + "x" * rest
    assert len(StreamKey.parse("live", name).encode()) == MAX_KEY_BYTES
    assert "longer than 1024 bytes" in violation("live", name + "x")
    assert "longer than 1024 bytes" in violation("lively", name[:-1] + "x")
    assert "longer than 1024 bytes" in violation("x" * 10_000_000, "a")
    assert StreamKey.parse("live", f"{name}?{'q' * 5000}").endswith(name)


def test_split_query():
    assert split_query("a") == ("a", "")
    assert split_query("a?") == ("a", "")
    assert split_query("a?b?c") == ("a", "b?c")
    assert split_query("") == ("", "")


def test_clean_app():
    assert clean_app("live") == ("live", "")
    assert clean_app("//live/room//?a=/b/") == ("live/room", "a=/b/")
    assert clean_app("") == ("", "")


@given(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.text(st.characters(exclude_categories=()), max_size=40),
)
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_key_or_a_violation(app, name):
    try:
        key = StreamKey.parse(app, name)
    except PeerViolation:
        return
    assert key.isascii() or key.encode()
    assert not key.startswith("/")
    assert not key.endswith("/")
    assert StreamKey.parse(app, name) == key == StreamKey.parse(*key.split("/", 1))
