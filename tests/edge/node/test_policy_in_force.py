"""Another policy in two steps, and what the parts of a worker see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cluster.core.errors import MisuseError
from cluster.edge.node.policy_in_force import PolicyInForce, parse_policy


def _parse(tables: Mapping[str, Any]) -> Any:
    if "bad" in tables:
        raise ValueError("bad tables")
    return dict(tables)


def _no_room(policy: Any) -> Callable[[], None]:
    raise OSError("no room")


@pytest.fixture
def in_force() -> Any:
    return PolicyInForce({"a": 1}, _parse)


def test_nobody_sees_a_policy_before_it_is_committed(in_force: Any) -> None:
    seen: list[Any] = []
    in_force.on_change(seen.append)
    in_force.prepare(1, {"b": 2})
    assert in_force.policy == {"a": 1}
    assert seen == []
    in_force.commit(1)
    assert in_force.policy == {"b": 2}
    assert seen == [{"b": 2}]


def test_one_that_cannot_be_prepared_leaves_all_as_it_is(in_force: Any) -> None:
    in_force.prepare(1, {"b": 2})
    with pytest.raises(ValueError, match="bad tables"):
        in_force.parse({"bad": 1})
    in_force.on_prepare(_no_room)
    with pytest.raises(OSError, match="no room"):
        in_force.prepare(2, {"c": 3})
    for generation in (1, 2):
        with pytest.raises(MisuseError):
            in_force.commit(generation)
    assert in_force.policy == {"a": 1}


def test_a_part_that_cannot_be_made_speaks_against_the_policy(in_force: Any) -> None:
    made: list[Any] = []

    def make(policy: Any) -> Callable[[], None]:
        if "b" in policy:
            raise OSError("no room")
        return lambda: made.append(policy)

    in_force.on_prepare(make)
    with pytest.raises(OSError, match="no room"):
        in_force.prepare(1, {"b": 2})
    in_force.prepare(2, {"c": 3})
    assert made == []
    in_force.commit(2)
    assert made == [{"c": 3}]


def test_only_what_is_prepared_is_committed_and_once(in_force: Any) -> None:
    in_force.prepare(1, {"b": 2})
    in_force.abort(1)
    with pytest.raises(MisuseError):
        in_force.commit(1)
    in_force.prepare(2, {"b": 2})
    in_force.abort(1)  # that of another
    with pytest.raises(MisuseError):
        in_force.commit(1)
    in_force.commit(2)
    with pytest.raises(MisuseError):
        in_force.commit(2)


def test_tables_that_say_nothing_are_no_policy() -> None:
    assert parse_policy({}) is None


def test_the_publish_key_is_part_of_the_policy() -> None:
    policy = parse_policy({"access": {"publish_key": "x"}})
    assert policy is not None
    assert not policy.is_open
