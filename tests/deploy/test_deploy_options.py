"""The options of an inventory, as the role writes them into the services' environment files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.edge.node import config as edge
from cluster.process.options import Option
from cluster.router import config as router

reason = "the template needs Ansible: pip install 'rtmp-cluster[deploy]'"
jinja2 = pytest.importorskip("jinja2", reason=reason)

ROLE = Path(__file__).resolve().parents[2] / "deploy" / "ansible" / "roles" / "rtmp_cluster"
TEMPLATE = ROLE / "templates" / "environment.j2"
#: A router takes these of the edge's options too.
_SHARED = ("--cluster-key", "--log-format", "--log-level")


def _written(service: str, options: dict[str, Any]) -> list[str]:
    # Ansible trims as well.
    template = jinja2.Environment(trim_blocks=True).from_string(TEMPLATE.read_text())
    variables = {"service": service, "rtmp_cluster_options": {service: options}}
    text = template.render(ansible_managed="managed", **variables)
    return [line for line in text.splitlines() if not line.startswith("#")]


def _by_service() -> list[tuple[str, Mapping[str, Option]]]:
    shared = {name: option for name, option in edge.OPTIONS.items() if option.flag in _SHARED}
    assert len(shared) == len(_SHARED)
    return [("edge", edge.OPTIONS), ("router", {**shared, **router.OPTIONS})]


@pytest.mark.parametrize(("service", "options"), _by_service())
def test_each_option_is_named_as_on_the_command_line(service: str, options: Mapping[str, Option]) -> None:
    for option in options.values():
        assert _written(service, {option.flag.removeprefix("--"): "x"}) == [f"{option.env}=x"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (0, "0"), (1.5, "1.5"), (":9935", ":9935"), (["a", "b"], "a b")],
)
def test_each_value_is_written_as_the_commands_read_it(value: Any, text: str) -> None:
    assert _written("edge", {"some-option": value}) == [f"RTMP_CLUSTER_SOME_OPTION={text}"]


def test_an_option_without_a_value_is_left_out() -> None:
    assert _written("edge", {"router": ""}) == []
