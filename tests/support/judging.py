"""A judge by the text of a configuration, and what peers show it."""

from __future__ import annotations

import asyncio
import base64
import tomllib
from collections.abc import Awaitable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from cluster.edge.admission.judge import RuleJudge
from cluster.edge.admission.policy import parse
from cluster.edge.peers.access import Access, Action, Allow, Deny, Verdict

#: Of a judge's clock. Tokens are checked by the one of this machine, which is not to get there.
NOW = 4_000_000_000
HOST = "192.0.2.7"


@dataclass
class Hook:
    """Answers as it is told, and keeps what it was asked."""

    answer: Verdict = field(default_factory=Allow)
    asked: list[tuple[Access, str, bool, float]] = field(default_factory=list)

    async def ask(self, access: Access, *, user: str, fail_open: bool, cache_s: float) -> Verdict:
        self.asked.append((access, user, fail_open, cache_s))
        return self.answer

    async def close(self) -> None: ...


@dataclass
class Keys:
    """Public keys by their names."""

    keys: dict[str, Any]

    async def key(self, kid: str) -> Any:
        return SimpleNamespace(key=self.keys[kid]) if kid in self.keys else None

    async def close(self) -> None: ...


def judge_of(
    text: str, *, publish_key: str | None = None, ask: Hook | None = None, keys: Keys | None = None
) -> RuleJudge:
    policy = parse(tomllib.loads(text), publish_key)
    return RuleJudge(policy, b"0123456789abcdef", ask, keys, clock=lambda: NOW)


def access(
    action: Action = "publish", key: str = "live/cam", *, host: str = HOST, query: str = "",
    app_query: str = "", proven_user: str = "", authorization: str = "",
) -> Access:  # fmt: skip
    peer = f"[{host}]:5000" if ":" in host else f"{host}:5000"
    return Access(
        action, key, peer, "rtmp", "a-0.1-1", query=query, app_query=app_query, proven_user=proven_user,
        authorization=authorization,
    )  # fmt: skip


def verdict(judge: RuleJudge, asked: Access) -> Verdict:
    """The answer, waited for if it is not there at once."""
    answer = judge.judge(asked)
    return answer if isinstance(answer, Allow | Deny) else asyncio.run(_waited(answer))


async def _waited(answer: Awaitable[Verdict]) -> Verdict:
    return await answer


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
