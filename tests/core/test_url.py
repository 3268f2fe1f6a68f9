"""RTMP URLs: what they split into, what is refused, and that passwords stay hidden."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import ClusterError
from cluster.core.rtmp.url import RtmpUrl, UrlError


def parse(text, **options):
    return RtmpUrl.parse(text, **options)


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port"),
    [
        ("rtmp://h/live/a", "rtmp", "h", 1935),
        ("RTMP://Host.example/live/a", "rtmp", "Host.example", 1935),
        ("rtmp://h:1/live/a", "rtmp", "h", 1),
        ("rtmp://h:65535/live/a", "rtmp", "h", 65535),
        ("rtmps://h/live/a", "rtmps", "h", 443),
        ("rtmps://h:1935/live/a", "rtmps", "h", 1935),
        ("rtmp://192.0.2.1:1936/live/a", "rtmp", "192.0.2.1", 1936),
        ("rtmp://[::1]/live/a", "rtmp", "::1", 1935),
        ("rtmp://[::1]:1936/live/a", "rtmp", "::1", 1936),
        ("rtmp://[fe80::1%eth0]:1936/live/a", "rtmp", "fe80::1%eth0", 1936),
        ("rtmp://u:p@[2001:db8::1]:1936/live/a", "rtmp", "2001:db8::1", 1936),
    ],
)
def test_fault_29_where_to_connect(text, scheme, host, port):
    url = parse(text)
    assert (url.scheme, url.host, url.port) == (scheme, host, port)
    assert url.tls == (scheme == "rtmps")
    assert (url.app, url.stream) == ("live", "a")


@pytest.mark.parametrize(
    ("path", "app", "stream"),
    [
        ("live/a", "live", "a"),
        ("live/room/a", "live/room", "a"),
        ("a/b/c/d", "a/b", "c/d"),
        ("a/b/c/d/e?t=1", "a/b", "c/d/e?t=1"),
        ("vod/mp4:films/a.mp4", "vod", "mp4:films/a.mp4"),
        ("live/room//a", "live/room", "a"),
        ("live/?token=1", "live", "?token=1"),
        ("mystream?user=u&pass=p", "mystream?user=u&pass=p", ""),
        ("live", "live", ""),
        ("live/", "live", ""),
        ("live/room/", "live/room", ""),
        ("", "", ""),
        ("/a", "a", ""),
        ("//live///a", "live", "a"),
        ("live//a", "live", "a"),
        ("live/a?token=1", "live", "a?token=1"),
        ("live/a?token=x/y?z", "live", "a?token=x/y?z"),
        ("live?vhost=x", "live?vhost=x", ""),
        ("live?vhost=x/a", "live?vhost=x", "a"),
        ("live?vhost=x/a?token=1", "live?vhost=x", "a?token=1"),
        ("live/mp4:a%20b.mp4", "live", "mp4:a%20b.mp4"),
        ("live/a@b:c", "live", "a@b:c"),
    ],
)
def test_app_and_stream(path, app, stream):
    url = parse(f"rtmp://h/{path}")
    assert (url.app, url.stream) == (app, stream)


@pytest.mark.parametrize(
    ("path", "app", "expected"),
    [
        ("live/room/a", "live", ("live", "room/a")),
        ("live/room/a", "live/room", ("live/room", "a")),
        ("live/room/a", "/live/room/", ("live/room", "a")),
        ("live/room/a?t=1", "live/room/a", ("live/room/a?t=1", "")),
        ("live/room?v=x/a?t=1", "live/room", ("live/room?v=x", "a?t=1")),
        ("live", "live", ("live", "")),
        ("live/a", "", ("", "live/a")),
    ],
)
def test_the_app_may_be_given(path, app, expected):
    url = parse(f"rtmp://h/{path}", app=app)
    assert (url.app, url.stream) == expected


@pytest.mark.parametrize(
    ("path", "renamed"),
    [
        ("live/a?t=1", "live/a-0?t=1"),
        ("a/b/c", "a/b/c-0"),
        ("mystream?pass=p", "mystream-0?pass=p"),
        ("live/?token=1", "live-0/?token=1"),
    ],
)
def test_the_url_of_a_numbered_stream(path, renamed):
    assert str(parse(f"rtmp://h/{path}").with_suffix("-0")) == f"rtmp://h/{renamed}"


@pytest.mark.parametrize(
    ("path", "key"),
    [("live/a?t=1", "live/a"), ("live?vhost=x/a", "live/a"), ("mystream?pass=p", "mystream"),
     ("a/b/c/d", "a/b/c/d"), ("", ""), ("?t=1", "")],
)  # fmt: skip
def test_the_stream_key_it_means(path, key):
    assert parse(f"rtmp://h/{path}").key == key


def test_without_queries():
    assert str(parse("rtmp://h/live?vhost=x/a?token=1").without_queries()) == "rtmp://h/live/a"


@pytest.mark.parametrize("app", ["lives", "liv", "room", "live/a/b"])
def test_a_given_app_must_be_in_the_path(app):
    with pytest.raises(UrlError, match="does not begin with the app"):
        parse("rtmp://h/live/a", app=app)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no '://'"),
        ("h/live/a", "no '://'"),
        ("rtmp:/h/live/a", "no '://'"),
        ("http://h/live/a", "neither rtmp nor rtmps"),
        ("://h/live/a", "neither rtmp nor rtmps"),
        ("rtmpt://h/live/a", "rtmpt: tunnelling over HTTP is not supported"),
        ("rtmpts://h/live/a", "rtmpts: tunnelling over HTTPS"),
        ("RTMPE://h/live/a", "rtmpe: Adobe's encryption"),
        ("rtmpte://h/live/a", "rtmpte: Adobe's encryption"),
        ("rtmfp://h/live/a", "rtmfp: RTMFP is another protocol"),
        ("rtmp://h", "no app"),
        ("rtmp://h:1935", "no app"),
        ("rtmp://", "no app"),
        ("rtmp:///live/a", "host is empty"),
        ("rtmp://:1935/live/a", "host is empty"),
        ("rtmp://u:p@/live/a", "host is empty"),
        ("rtmp://h:/live/a", "port is not a number"),
        ("rtmp://h:x/live/a", "port is not a number"),
        ("rtmp://h:-1/live/a", "port is not a number"),
        ("rtmp://h:+1/live/a", "port is not a number"),
        ("rtmp://h:0/live/a", "port is not a number"),
        ("rtmp://h:65536/live/a", "port is not a number"),
        ("rtmp://h:000001/live/a", "port is not a number"),
        ("rtmp://h:١٢/live/a", "port is not a number"),
        ("rtmp://::1/live/a", "more than one ':'|host is empty"),
        ("rtmp://fe80::1/live/a", "more than one ':'"),
        ("rtmp://[::1/live/a", r"written \[address\]"),
        ("rtmp://[::1]1935/live/a", r"written \[address\]"),
        ("rtmp://[::1]:/live/a", "port is not a number"),
        ("rtmp://[]/live/a", "not an IPv6 address"),
        ("rtmp://[h]/live/a", "not an IPv6 address"),
        ("rtmp://a b/live/a", "characters that no host"),
        ("rtmp://h?x/live/a", "characters that no host"),
        ("rtmp://h/live/a\n", "control characters"),
        ("rtmp://h/live/\x00", "control characters"),
        # Found by fuzzing: it parsed, and its text could not be written.
        ("rtmp://al\udcffce:p@h/live/a", "not UTF-8"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(UrlError, match=said):
        parse(text)


def test_the_error_is_the_clusters_and_a_value_error():
    assert issubclass(UrlError, ClusterError)
    assert issubclass(UrlError, ValueError)


@pytest.mark.parametrize(
    ("credentials", "user", "password"),
    [
        ("u:p@", "u", "p"),
        ("u@", "u", None),
        ("u:@", "u", ""),
        ("u:p:q@", "u", "p:q"),
        ("u:p@q@", "u", "p@q"),
        ("a%40b:c%2Fd@", "a@b", "c/d"),
        ("", None, None),
    ],
)
def test_credentials(credentials, user, password):
    url = parse(f"rtmp://{credentials}h:1936/live/a")
    assert (url.user, url.password) == (user, password)
    assert (url.host, url.port) == ("h", 1936)
    assert url.tc_url == "rtmp://h:1936/live"


def test_the_password_is_never_shown():
    url = parse("rtmp://user:hunter2@h/live/a?token=1")
    assert str(url) == "rtmp://user:***@h/live/a?token=1"
    assert f"{url}" == str(url)
    assert "hunter2" not in repr(url)
    assert "user" in repr(url)
    assert "hunter2" not in url.tc_url


@pytest.mark.parametrize(
    "text",
    [
        "rtmp://user:hunter2/more@h/live/a",
        "rtmp://user:hunter2",
        "rtmp://user:hunter2@h:x/live/a",
        "rtmp://user:hunter2@/live/a",
        "rtmp://user:hunter2@[h]/live/a",
        "rtmpe://user:hunter2@h/live/a",
        "http://user:hunter2@h/live/a",
        "user:hunter2@h/live/a",
        "user:hunter2://h",
    ],
)
def test_errors_do_not_show_it_either(text):
    with pytest.raises(UrlError) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "tc_url"),
    [
        ("rtmp://h/live/a?token=1", "rtmp://h/live"),
        ("rtmp://h:1935/live/a", "rtmp://h/live"),
        ("rtmps://h:443/live/a", "rtmps://h/live"),
        ("rtmps://h:1935/live/a", "rtmps://h:1935/live"),
        ("rtmp://u:p@[::1]:1936/live/room/a", "rtmp://[::1]:1936/live/room"),
        ("rtmp://[::1]/live?vhost=x/a", "rtmp://[::1]/live?vhost=x"),
        ("rtmp://h/", "rtmp://h/"),
    ],
)
def test_tc_url(text, tc_url):
    assert parse(text).tc_url == tc_url


def test_it_is_immutable_and_compared_by_value():
    url = parse("rtmp://u:p@h/live/a")
    assert url == parse("rtmp://u:p@h:1935/live/a")
    assert url != parse("rtmp://u:q@h/live/a")
    assert hash(url) == hash(parse("rtmp://u:p@h/live/a"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        url.host = "other"


@given(st.text(st.sampled_from("a?/:@[]=1.%"), max_size=30))
@settings(deadline=None, max_examples=300)
def test_any_text_parses_to_something_that_parses_to_itself(rest):
    try:
        url = parse(f"rtmp://{rest}")
    except UrlError:
        return
    assert 1 <= url.port <= 65535
    assert url.host
    without = dataclasses.replace(url, user=None, password=None)
    assert parse(str(without)) == without
