"""Variables of our prefix that nobody reads, and what is said of them."""

from __future__ import annotations

import pytest

from cluster.commands.declared import FILE_OPTIONS
from cluster.process.variables import unknown

SERVICE_VARIABLES = {
    "RTMP_CLUSTER_ROUTER_SERVICE_HOST": "10.0.0.1",
    "RTMP_CLUSTER_ROUTER_SERVICE_PORT_CONTROL": "1938",
    "RTMP_CLUSTER_ROUTER_PORT": "tcp://10.0.0.1:1936",
    "RTMP_CLUSTER_ROUTER_PORT_1936_TCP": "tcp://10.0.0.1:1936",
    "RTMP_CLUSTER_ROUTER_PORT_1936_TCP_ADDR": "10.0.0.1",
}


def said(**environment: str) -> dict[str, str]:
    return dict(unknown(environment, FILE_OPTIONS.values()))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("WORKER", "WORKERS"),
        ("ROUTERS", "ROUTER"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("TLS_BIND", "BIND_TLS"),
        ("CLUSTER_KEY", "KEY"),
    ],
)
def test_the_nearest_right_one_is_named(words: str, meant: str) -> None:
    name = f"RTMP_CLUSTER_{words}"
    assert said(**{name: "1"}) == {name: f"did you mean RTMP_CLUSTER_{meant}?"}


def test_what_is_like_none_is_told_where_they_all_are() -> None:
    assert said(RTMP_CLUSTER_XYZZY="1") == {"RTMP_CLUSTER_XYZZY": "rtmp-cluster edge --help has them all"}


def test_every_variable_of_an_option_and_those_of_others_are_left_alone() -> None:
    others = {"PATH": "/bin", "RTMP_KEY": "x", "MY_RTMP_CLUSTER_BIND": ":1"}
    assert said(**{option.env: "1" for option in FILE_OPTIONS.values()}, **others) == {}


def test_what_kubernetes_says_of_services_is_nobodys_mistake() -> None:
    assert said(**SERVICE_VARIABLES, KUBERNETES_SERVICE_HOST="10.0.0.2") == {}
    assert set(said(**SERVICE_VARIABLES)) == set(SERVICE_VARIABLES)
