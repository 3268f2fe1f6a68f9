"""A router's address and what follows from it."""

from __future__ import annotations

import pytest

from cluster.core.bus.endpoints import MAX_IPC_PATH_BYTES, EndpointError, at_address, at_repeater, endpoints


@pytest.mark.parametrize(
    ("base", "publish", "subscribe", "control"),
    [
        ("tcp://r1:1936", "tcp://r1:1936", "tcp://r1:1937", "tcp://r1:1938"),
        ("tcp://10.0.0.5:1", "tcp://10.0.0.5:1", "tcp://10.0.0.5:2", "tcp://10.0.0.5:3"),
        ("tcp://[::1]:65533", "tcp://[::1]:65533", "tcp://[::1]:65534", "tcp://[::1]:65535"),
        ("tcp://[fe80::1%eth0]:5", "tcp://[fe80::1%eth0]:5", "tcp://[fe80::1%eth0]:6", "tcp://[fe80::1%eth0]:7"),
        ("ipc:///run/x/r", "ipc:///run/x/r.pub", "ipc:///run/x/r.sub", "ipc:///run/x/r.ctl"),
        ("ipc://@r", "ipc://@r.pub", "ipc://@r.sub", "ipc://@r.ctl"),
    ],
)
def test_what_follows_from_an_address(base: str, publish: str, subscribe: str, control: str) -> None:
    found = endpoints(base)
    assert found.base == base
    assert (found.publish, found.subscribe, found.control) == (publish, subscribe, control)
    assert found.is_ipv6 == ("[" in base)
    assert endpoints(base, bind=True) == found


@pytest.mark.parametrize(
    "base",
    [
        "", "r1", "r1:1936", "tcp://", "tcp://r1", "tcp://r1:", "tcp://:1936", "tcp://r1:x", "tcp://r1:-1",
        "tcp://r1:1936/", "tcp://r1:1936 ", " tcp://r1:1936", "tcp://r1:1936\n", "tcp://::1:1936", "tcp://[::1:1936",
        "tcp://r 1:1936", "udp://r1:1936", "TCP://r1:1936", "http://r1:1936", "ipc:", "ipc://", "tcp://r1:123456",
    ],
)  # fmt: skip
def test_an_address_that_does_not_parse_is_named(base: str) -> None:
    for bind in (False, True):
        with pytest.raises(EndpointError) as caught:
            endpoints(base, bind=bind)
        assert repr(base) in str(caught.value)


@pytest.mark.parametrize("port", [0, 65_534, 65_535, 65_536, 99_999])
def test_three_ports_must_fit(port: int) -> None:
    with pytest.raises(EndpointError, match="1 to 65533"):
        endpoints(f"tcp://r1:{port}")


def test_only_a_router_binds_to_any_port_and_every_interface() -> None:
    assert endpoints("tcp://*:0", bind=True).control == "tcp://*:0"
    assert endpoints("tcp://*:1936", bind=True).subscribe == "tcp://*:1937"
    with pytest.raises(EndpointError, match="cannot connect"):
        endpoints("tcp://*:1936")


def test_an_ipc_path_fits_a_socket_address() -> None:
    longest = "/" + "x" * (MAX_IPC_PATH_BYTES - 1)
    assert endpoints(f"ipc://{longest}").control == f"ipc://{longest}.ctl"
    with pytest.raises(EndpointError, match="bytes"):
        endpoints(f"ipc://{longest}x")


@pytest.mark.parametrize("base", ["10.0.0.5:1936", "rtmp://10.0.0.5:1936"])
def test_an_address_without_tcp_is_told_what_it_may_mean(base: str) -> None:
    with pytest.raises(EndpointError, match=r"is not a router address: did you mean tcp://10\.0\.0\.5:1936\?"):
        endpoints(base)


@pytest.mark.parametrize(
    ("base", "host", "is_name", "is_loopback"),
    [
        ("tcp://r1:1936", "r1", True, False),
        ("tcp://r1.example.org:1936", "r1.example.org", True, False),
        ("tcp://localhost:1936", "localhost", True, True),
        ("tcp://10.0.0.5:1936", "10.0.0.5", False, False),
        ("tcp://0.0.0.0:1936", "0.0.0.0", False, False),
        ("tcp://127.0.0.2:1936", "127.0.0.2", False, True),
        ("tcp://[::1]:1936", "::1", False, True),
        ("tcp://[fe80::1%eth0]:1936", "fe80::1%eth0", False, False),
        ("ipc:///run/r", "", False, True),
    ],
)
def test_the_host_of_an_address(base: str, host: str, is_name: bool, is_loopback: bool) -> None:
    found = endpoints(base)
    assert (found.host, found.is_name, found.is_loopback) == (host, is_name, is_loopback)


def test_every_interface_is_no_name_and_no_loopback() -> None:
    found = endpoints("tcp://*:1936", bind=True)
    assert (found.is_name, found.is_loopback) == (False, False)


def test_a_name_at_an_address() -> None:
    name = endpoints("tcp://routers:1936")
    assert at_address(name, "10.0.0.5") == "tcp://10.0.0.5:1936"
    assert at_address(name, "fd00::5") == "tcp://[fd00::5]:1936"


def test_the_repeater_of_a_router_lies_beside_the_nodes_own() -> None:
    one, other = endpoints("tcp://r1:1936"), endpoints("tcp://r2:1936")
    repeated = at_repeater(one, "ipc:///run/node/r")
    assert repeated == at_repeater(one, "ipc:///run/node/r"), "whoever asks"
    assert repeated.subscribe.startswith("ipc:///run/node/r-")
    assert repeated.subscribe != at_repeater(other, "ipc:///run/node/r").subscribe
    assert (repeated.base, repeated.publish, repeated.control) == (one.base, one.publish, one.control)
    longest = "ipc:///" + "x" * (MAX_IPC_PATH_BYTES - len("/-01234567"))
    assert at_repeater(one, longest).subscribe.startswith(longest)
    with pytest.raises(EndpointError, match="TMPDIR must be"):
        at_repeater(one, f"{longest}x")
