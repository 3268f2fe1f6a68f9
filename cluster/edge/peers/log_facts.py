"""What log lines say of a connection: which one it is, and who is at its other end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason

#: Fields of a line, by name.
Facts: TypeAlias = Mapping[str, object]

#: Of what a peer calls itself: real ones stay below, and a line is to stay one.
MAX_AGENT_CHARACTERS = 80

_OVER_TLS = {"rtmp": "rtmps", "http": "https", "ws": "wss"}


def who(worker: WorkerIdentity, number: int, peer: str, agent: str = "") -> dict[str, object]:
    """``number`` counts the connections of ``worker``; both together are an id that the cluster has once.

    ``agent`` is what the peer calls itself in connect (flashVer), "" before it has.
    """
    facts: dict[str, object] = {
        "id": f"{worker.instance}-{worker.slot}.{worker.incarnation}-{number}",
        "worker": f"{worker.node}/{worker.slot}", "peer": peer,
    }  # fmt: skip
    if agent:
        facts["agent"] = agent[:MAX_AGENT_CHARACTERS]
    return facts


def session(protocol: str, is_secure: bool, user: str, ended: CloseReason | None) -> dict[str, object]:
    """What it speaks, ``protocol`` or the same over TLS, whose rights it has, and why it has ended."""
    facts: dict[str, object] = {"protocol": _OVER_TLS.get(protocol, protocol) if is_secure else protocol}
    if user:
        facts["user"] = user
    if ended is not None:
        facts["reason"] = ended.value
    return facts


def use(role: str, key: str) -> dict[str, object]:
    """What a connection does, or has asked to do; both are empty for one that has asked for nothing."""
    return {name: value for name, value in (("role", role), ("stream", key)) if value}
