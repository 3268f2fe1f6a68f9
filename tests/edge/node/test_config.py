"""Every option: its default, its bounds, what it says of a bad value, and that each worker gets it."""

from __future__ import annotations

import dataclasses
import re
import socket
from pathlib import Path

import pytest

from cluster.core.errors import EnvironmentFault
from cluster.core.limits import Limits
from cluster.edge.node.config import OPTIONS, EdgeConfig, available_cpus
from cluster.edge.rtmp.work_budget import WORK_PER_TURN
from cluster.net.addresses import BindAddress, parse_bind, reserved
from cluster.net.latency_budget import BudgetRule
from cluster.process.options import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":1935", ("", 1935)),
        (":0", ("", 0)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("media.example.org:1935", ("media.example.org", 1935)),
        ("localhost:1935", ("localhost", 1935)),
        ("[::]:1935", ("::", 1935)),
        ("[2001:DB8:0::1]:1", ("2001:db8::1", 1)),
        ("[fe80::1%eth0]:1935", ("fe80::1%eth0", 1935)),
    ],
)
def test_bind_forms(text: str, address: tuple[str, int]) -> None:
    assert parse_bind(text) == address
    assert parse_bind(str(parse_bind(text))) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1936", "has no port: write :PORT, HOST:PORT or [IPV6]:PORT, such as :1936"),
        ("", "has no port"),
        ("localhost", "has no port"),
        ("localhost:", "the port must be a number"),
        (":65536", "from 0 (any free one) to 65535"),
        (":-1", "the port must be a number"),
        (":rtmp", "the port must be a number"),
        (":١", "the port must be a number"),
        ("::1:1935", "goes in brackets"),
        ("[::1:1935", "goes in brackets"),
        ("[::g]:1935", "is not an IPv6 address"),
        ("[127.0.0.1]:1935", "is not an IPv6 address"),
        ("1.2.3:1935", "is not an IPv4 address"),
        ("1.2.3.256:1935", "is not an IPv4 address"),
        ("*:1935", "is not a host name"),
        ("a b:1935", "is not a host name"),
        ("rtmp://localhost:1935", "is the address of a stream or a router: write :PORT"),
    ],
)
def test_bad_binds_say_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        parse_bind(text)
    assert repr(text) in str(raised.value)


#: For each option with bounds: the least, the most, and one past each.
_BOUNDS = {
    "workers": ("1", "1024", "0", "1025"),
    "audio_hold_ms": ("0", "1000", "-0.1", "1000.1"),
    "hls_segment_s": ("0.5", "10", "0.4", "10.1"),
    "play_wait_s": ("0", "86400", "-1", "86401"),
    "publish_grace_s": ("0", "86400", "-1", "86401"),
    "keyframe_wait_s": ("0", "86400", "-1", "86401"),
    "publisher_timeout_s": ("0.1", "86400", "0.09", "86401"),
    "drain_timeout_s": ("0", "86400", "-1", "86401"),
    "max_connections": ("1", "1000000", "0", "1000001"),
    "publish_idle_s": ("0", "86400", "-1", "86401"),
    "publisher_reserve": ("0", "90", "-1", "91"),
    "max_half_open": ("2", "1000000", "1", "1000001"),
    "max_from_address": ("0", "1000000", "-1", "1000001"),
    "max_bandwidth": ("0", "1125899906842624", "-1", "1125899906842625"),
    "new_from_address": ("0", "100000", "-1", "100001"),
    "max_message_bytes": ("65536", "16777215", "65535", "16777216"),
    "handshake_timeout_s": ("0.1", "86400", "0.09", "86401"),
    "idle_timeout_s": ("0.1", "86400", "0.09", "86401"),
    "hls_bytes": ("1048576", "1099511627776", "1048575", "1099511627777"),
    "log_bytes": ("1048576", "1073741824", "1048575", "1073741825"),
    "worker_bytes": ("67108864", "1099511627776", "67108863", "1099511627777"),
    "log_seconds": ("1", "600", "0.9", "601"),
    "events_kept": ("100", "10000000", "99", "10000001"),
    "slow_skip_s": ("0.1", "86400", "0.09", "86401"),
    "slow_close_s": ("0.1", "86400", "0.09", "86401"),
}

_WORDS = {
    "routers": ("tcp://router:1936", "router:1936", "is not a router address"),
    "insecure_links": ("true", "yes", "'yes' is not true or false"),
    "latency_budget": ("auto:20", "1001", "is not from 0 to 1000"),
    "node_name": ("edge-1", "edge 1", "without spaces"),
    "on_duplicate": ("replace", "share", "'share' is not one of refuse, replace"),
    "log_format": ("json", "xml", "'xml' is not one of text, json"),
    "log_level": ("debug", "trace", "'trace' is not one of debug, info, warning, error"),
    "binds": ("[::1]:1935", "1935", "has no port"),
    "tls_binds": (":1443", "1443", "has no port"),
    "http_binds": (":8080", "8080", "has no port"),
    "http_tls_binds": ("[::]:8443", "http://edge:8443", "write :PORT"),
    "http_origin": ("https://www.example.org", "www.example.org", "is neither * nor an origin"),
    "proxies": ("10.0.0.0/24", "10.0.0.1/24", "is no network such as 10.0.0.0/24"),
    "cluster_key": ("/etc/cluster.key", "", "is not the name of a file"),
    "tls_cert": ("/etc/edge.crt", "", "is not the name of a file"),
    "tls_key": ("edge.key", "a\0b", "is not the name of a file"),
    "metrics": ("127.0.0.1:9935", "9935", "has no port"),
    "events_queue": ("/var/lib/events", "", "is not the name of a file"),
    "publish_key": ("S3cret", "", "visible characters"),
    "api": ("127.0.0.1:9997", "9997", "has no port"),
    "api_token": ("/etc/token", "", "is not the name of a file"),
    "api_read_token": ("/etc/token", "", "is not the name of a file"),
}


CERT, KEY = Path("edge.crt"), Path("edge.key")


def test_every_option_is_in_one_of_the_tables() -> None:
    assert _BOUNDS.keys() | _WORDS.keys() == OPTIONS.keys()
    assert not _BOUNDS.keys() & _WORDS.keys()


@pytest.mark.parametrize("name", _BOUNDS)
def test_numbers_are_bounded(name: str) -> None:
    option = OPTIONS[name]
    least, most, below, above = _BOUNDS[name]
    assert option.parse(least) == float(least)
    assert option.parse(most) == float(most)
    for text in (below, above):
        with pytest.raises(ValueError, match=r"is not from .* to "):
            option.parse(text)
    for text in ("", "much", "nan", "1s"):
        with pytest.raises(ValueError, match="is not "):
            option.parse(text)


@pytest.mark.parametrize("name", _WORDS)
def test_words_are_checked(name: str) -> None:
    option = OPTIONS[name]
    good, bad, message = _WORDS[name]
    assert option.text_of(option.parse(good)) == good
    with pytest.raises(ValueError, match=re.escape(message)):
        option.parse(bad)


def test_defaults() -> None:
    config = EdgeConfig()
    assert config.binds == (BindAddress("", 1935),)
    assert config.workers == available_cpus() >= 1
    assert config.routers == ()
    assert config.node_name == socket.gethostname()
    assert config.metrics is None
    assert config.limits() == Limits(max_work_at_once=WORK_PER_TURN)
    assert config.log_limits().max_ms == 30_000


def test_values_given_in_code_are_checked_like_text() -> None:
    with pytest.raises(ConfigError, match="--workers: 0 is not from 1 to 1024"):
        EdgeConfig(workers=0)
    with pytest.raises(ConfigError, match="--router: 'tcp://nowhere' is not a router address"):
        EdgeConfig(routers=("tcp://nowhere",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slow_skip_s": 31.0}, "--slow-skip must not exceed --log-seconds"),
        ({"log_bytes": 1 << 20}, "--log-bytes must be at least --max-message-bytes"),
        ({"binds": (BindAddress("", 1935),) * 2}, "--bind :1935 is given twice"),
        ({"routers": ("tcp://r:1936",) * 2}, "--router tcp://r:1936 is given twice"),
        ({"tls_cert": CERT}, r"^--bind-tls \(or --http-tls\) and --tls-key missing: TLS needs"),
        ({"tls_binds": (BindAddress("", 1443),), "tls_key": KEY}, "^--tls-cert missing: TLS needs"),
        (
            {"tls_binds": (BindAddress("", 1935),), "tls_cert": CERT, "tls_key": KEY},
            "--bind-tls :1935 is an address of --bind",
        ),
        ({"http_binds": (BindAddress("", 1935),)}, "--http :1935 is an address of --bind"),
        ({"http_tls_binds": (BindAddress("", 8443),)}, "^--tls-cert and --tls-key missing: TLS needs"),
    ],
)
def test_options_that_contradict_each_other(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EdgeConfig(**values)  # type: ignore[arg-type]


def test_options_at_the_edge_of_contradiction() -> None:
    EdgeConfig(slow_skip_s=30.0, log_bytes=10 << 20)
    EdgeConfig(binds=(BindAddress("", 0),) * 2)
    zero = (BindAddress("", 0),)
    EdgeConfig(binds=zero, tls_binds=zero, tls_cert=CERT, tls_key=KEY, http_binds=zero, http_tls_binds=zero)
    EdgeConfig(http_tls_binds=zero, tls_cert=CERT, tls_key=KEY)


def test_texts_carry_every_option_to_a_worker_and_back() -> None:
    config = EdgeConfig(
        binds=(BindAddress("::1", 0), BindAddress("", 1935)), workers=3,
        routers=("tcp://a:1936", "ipc:///tmp/b"), node_name="n", latency_budget=BudgetRule(0.1),
        audio_hold_ms=0.5,
        metrics=BindAddress("127.0.0.1", 9935), log_format="json", on_duplicate="replace",
        tls_binds=(BindAddress("", 1443),), tls_cert=Path("/tls/edge.crt"), tls_key=Path("/tls/edge.key"),
            cluster_key=Path("/etc/cluster.key"), worker_bytes=1 << 30, insecure_links=True,
            http_binds=(BindAddress("", 8080),), http_tls_binds=(BindAddress("::1", 8443),),
            http_origin="https://www.example.org", hls_bytes=1 << 20, publish_key="S3cret é",
            events_queue=Path("/var/lib/events"),
            api=BindAddress("", 9997), api_token=Path("/a"), api_read_token=Path("/b"),
    )  # fmt: skip
    assert EdgeConfig.from_texts(config.to_texts()) == config
    assert EdgeConfig.from_texts(EdgeConfig().to_texts()) == EdgeConfig()
    assert dataclasses.replace(config, metrics=None).to_texts().keys() == OPTIONS.keys() - {"metrics"}


def test_a_secret_is_in_no_text_that_people_see() -> None:
    assert "S3cret" not in repr(EdgeConfig(publish_key="S3cret"))
    with pytest.raises(ConfigError) as raised:
        EdgeConfig(publish_key="S3cret\n")
    assert "S3cret" not in str(raised.value)


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'wrokers'"):
        EdgeConfig.from_texts({"wrokers": "2"})
    with pytest.raises(ConfigError, match="--workers: 'two' is not a whole number"):
        EdgeConfig.from_texts({"workers": "two"})


def test_flags_and_environment_variables() -> None:
    assert {option.flag for option in OPTIONS.values()} >= {"--bind", "--router", "--latency-budget"}
    assert OPTIONS["latency_budget"].env == "RTMP_CLUSTER_LATENCY_BUDGET"
    assert OPTIONS["cluster_key"].env == "RTMP_CLUSTER_KEY"


# ---- reserving -------------------------------------------------------------------------------


def test_port_0_is_one_free_port_that_stays_and_can_be_listened_on_by_many() -> None:
    with reserved((BindAddress("127.0.0.1", 0),)) as (address,):
        assert address.port
        listeners = [_listen_beside(address) for _ in range(2)]
        for listener in listeners:
            listener.close()


def test_every_address_is_held_in_both_families_on_one_port() -> None:
    with reserved((BindAddress("", 0),)) as addresses:
        assert addresses[0].host == "0.0.0.0"
        assert len({address.port for address in addresses}) == 1
        assert [address.host for address in addresses[1:]] == (["::"] if _has_ipv6() else [])


def test_a_name_is_resolved() -> None:
    with reserved((BindAddress("localhost", 0),)) as (address,):
        assert address.host in ("127.0.0.1", "::1")


def test_a_port_that_listens_is_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener,
        pytest.raises(EnvironmentFault, match="the port is taken"),
        reserved((BindAddress("127.0.0.1", listener.getsockname()[1]),)),
    ):
        pass


def test_a_port_that_another_node_has_reserved_is_taken() -> None:
    with (
        reserved((BindAddress("127.0.0.1", 0),)) as (address,),
        pytest.raises(EnvironmentFault, match="the port is taken"),
        reserved((address,)),
    ):
        pass


def test_a_failure_gives_back_what_was_reserved_before_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with reserved((BindAddress("127.0.0.1", 0),)) as (free,):
            pass
        taken = BindAddress("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(EnvironmentFault, match="taken"), reserved((free, taken)):
            pass
        with reserved((free,)) as addresses:
            assert addresses == (free,)


def test_a_port_whose_old_connections_are_not_gone_is_free() -> None:
    with reserved((BindAddress("127.0.0.1", 0),)) as (address,):
        with _listen_beside(address) as listener:
            peer = socket.create_connection(address)
            accepted, _ = listener.accept()
        accepted.close()  # closed first on our side: TIME_WAIT is ours
        assert peer.recv(1) == b""
        peer.close()
    with reserved((address,)) as addresses:
        assert addresses == (address,)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (BindAddress("192.0.2.1", 0), "no interface of this machine has that address"),
        (BindAddress("no-such-host.invalid", 0), "the host name does not resolve"),
    ],
)
def test_addresses_that_are_not_ours(address: BindAddress, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message), reserved((address,)):
        pass


def _listen_beside(address: BindAddress) -> socket.socket:
    """As a worker does it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    listener.listen()
    return listener


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
