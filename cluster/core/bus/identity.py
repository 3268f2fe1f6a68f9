"""Who a worker is on the bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster.core.errors import MisuseError

#: A ZeroMQ routing id has at most 255 bytes; instance, slot and incarnation take their part of it.
MAX_NODE_BYTES = 200
MAX_INSTANCE_BYTES = 16


def is_node(value: Any) -> bool:
    """Whether ``value`` can be a node's name."""
    return (
        type(value) is str and "\0" not in value
        and 0 < len(value.encode("utf-8", "surrogateescape")) <= MAX_NODE_BYTES
    )  # fmt: skip


def is_instance(value: Any) -> bool:
    """Whether ``value`` can be the instance of a node."""
    return (
        type(value) is str and 0 < len(value) <= MAX_INSTANCE_BYTES and value.isascii() and value.isalnum()
    )


def is_node_id(value: Any) -> bool:
    """Whether ``value`` can be the id of a node: its name, which may hold slashes, and its instance."""
    if type(value) is not str:
        return False
    name, _, instance = value.rpartition("/")
    return is_node(name) and is_instance(instance)


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """One worker process: its node, the slot in it, and which process of that slot.

    ``node`` is the node's name, which is for people: others may have it too. ``instance`` is what the
    node drew when it started, for its workers alone. A worker started again in the same slot must have
    another ``incarnation``: the node counts them.
    """

    node: str
    instance: str
    slot: int
    incarnation: int

    def __post_init__(self) -> None:
        if not is_node(self.node):
            raise MisuseError(f"a node's name has 1 to {MAX_NODE_BYTES} bytes and no NUL")
        if not is_instance(self.instance):
            raise MisuseError(f"an instance has 1 to {MAX_INSTANCE_BYTES} letters and digits")

    @property
    def place(self) -> tuple[str, str, int]:
        """The slot it is in: node, instance and slot. One process lives there at a time."""
        return self.node, self.instance, self.slot

    @property
    def worker_id(self) -> str:
        """The one name of this process on the bus: sender of envelopes, origin of streams."""
        return f"{self.node}/{self.instance}/{self.slot}/{self.incarnation}"
