"""Stream keys from what peers send as app and stream name."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.keys import (
    MAX_KEY_BYTES,
    NO_STREAM,
    StreamKey,
    clean_app,
    clean_name,
    joined,
    split_query,
)


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
        ("live//room", "//a/", "live/room/a"),
        ("rtmp://h/live?vhost=x", "a", "live/a"),
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


@pytest.mark.parametrize("text", ["", "/", "///", "?token=1", "/?token=1", "rtmp://h", "rtmp://h/?token=1"])
def test_empty_parts_are_left_out(text):
    assert StreamKey.parse(text, "a") == "a"
    assert StreamKey.parse("live", text) == "live"
    assert violation(text, text).startswith(f"{NO_STREAM} (in OBS: ")


@pytest.mark.parametrize(
    "name",
    [
        "rtmp://h/live/a",
        "RTMPS://h:1936/live/a?token=1",
        "rtmp://user:pass@[::1]:1935//live//a/",
        "rtmp://u:p@h/live?vhost=x/a?token=1",
        "rtmpt://h/live/a",
    ],
)
@pytest.mark.parametrize("app", ["", "live", "live/a", "other"])
def test_a_whole_address_as_a_name_says_the_app_too(app, name):
    assert StreamKey.parse(app, name) == "live/a"


def test_what_only_looks_like_a_whole_address():
    assert StreamKey.parse("live", "rtmp:/a") == "live/rtmp:/a"
    assert StreamKey.parse("live", "mp4:rtmp://h/a") == "live/mp4:rtmp:/h/a"
    assert StreamKey.parse("live", "http://h/a") == "live/http:/h/a"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a?token=1?2", ("a", "token=1?2")),
        ("rtmp://user:secret@h/live/a?token=1", ("rtmp://h/live/a", "token=1")),
        ("rtmp://h/live?vhost=x/a", ("rtmp://h/live/a", "vhost=x")),
        ("rtmp://h/a?token=1", ("rtmp://h/a", "token=1")),
    ],
)
def test_clean_name(name, parts):
    assert clean_name(name) == parts
    assert clean_name(parts[0]) == (parts[0], "")


@pytest.mark.parametrize("character", list("\x00\x01\t\n\r\x1b\x1f\x7f\x80\x9f"))
def test_control_characters(character):
    said = f"the stream key holds the control character U+{ord(character):04X} at"
    assert violation("live", f"ab{character}c") == f"{said} 7"
    assert violation(f"{character}live", "a") == f"{said} 0"
    assert StreamKey.parse("live", f"a?{character}") == "live/a", "a query is not part of the key"


@pytest.mark.parametrize("name", ["*", "cam*", "a/*", "rtmp://h/live/*", "*?a=b"])
def test_a_key_is_never_taken_for_many(name):
    assert violation("live", name) == "the stream key ends with *, which means many streams"
    assert violation(name, "") == "the stream key ends with *, which means many streams"


@pytest.mark.parametrize("name", [".", "..", "../tv/a", "a/./b", "a/..", "rtmp://h/live/../a"])
def test_a_key_is_never_taken_for_another(name):
    assert violation("live", name) == "the stream key has . or .. as a segment"


@pytest.mark.parametrize("name", ["a*b", "*a", "...", ".a", "a..", "..a/.b"])
def test_stars_and_dots_that_mean_nothing(name):
    assert StreamKey.parse("live", name) == f"live/{name}"


def test_bytes_that_are_not_utf_8():
    name = b"a\xff".decode("utf-8", "surrogateescape")
    assert violation("live", name) == "the stream key is not UTF-8 at 6"


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
    assert clean_app("rtmp://u:p@h/live/room?a=1") == ("live/room", "a=1")


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
    assert "//" not in key
    assert key == joined(app, name) == StreamKey.parse("", key)
