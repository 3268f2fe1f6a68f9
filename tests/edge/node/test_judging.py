"""What decides in a worker, when another policy is put in force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from cluster.edge.node.judging import Judging
from cluster.edge.node.policy_in_force import PolicyInForce
from cluster.edge.peers.access import Access, Allow, Judge, Verdict
from cluster.edge.streams.counters import Counters
from support.hook_servers import HookServer, hook_server, response

KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
PERMISSIONS = {"rtmp_cluster_permissions": [{"action": "publish", "path": ""}]}


def jwks(*numbers: int) -> bytes:
    public = [(f"k{number}", ECAlgorithm.to_jwk(KEYS[number].public_key())) for number in numbers]
    return response(200, {"keys": [{**json.loads(key), "kid": kid} for kid, key in public]})


def answer(server: HookServer, reply: bytes) -> None:
    async def same(request: object) -> bytes:
        return reply

    server.respond = same


class Worker:
    """The parts of one that have to do with the policy."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self.in_force = PolicyInForce(tables)
        self.judge: Judge | None = None
        self.generation = 0
        limits = SimpleNamespace(replace=lambda limits: None)
        serving = SimpleNamespace(use_judge=self._use, key_limits=limits)
        self.judging = Judging(self.in_force, serving, Counters(), bytes(32))  # type: ignore[arg-type]

    def _use(self, judge: Judge | None) -> None:
        self.judge = judge

    def reload(self, tables: dict[str, Any]) -> None:
        self.generation += 1
        self.in_force.prepare(self.generation, self.in_force.parse(tables))
        self.in_force.commit(self.generation)

    async def lets_in(self, number: int) -> bool:
        """Whoever shows a token that was signed with this key."""
        assert self.judge is not None
        token = jwt.encode(PERMISSIONS, KEYS[number], "ES256", headers={"kid": f"k{number}"})
        access = Access("publish", "live/a", "192.0.2.7:40000", "rtmp", "id", query=f"token={token}")
        verdict: Verdict | Awaitable[Verdict] = self.judge.judge(access)
        return isinstance(await verdict if isinstance(verdict, Awaitable) else verdict, Allow)


def reloading(work: Callable[[HookServer, Worker, Callable[..., dict[str, Any]]], Awaitable[None]]) -> None:
    async def run() -> None:
        async with hook_server(jwks(0, 1)) as server:

            def tables(more: str = "", address: str = server.address) -> dict[str, Any]:
                rule = {"match": "*", "publish": {"jwt": True}}
                denied = [{"match": more, "publish": "deny"}] if more else []
                return {"rule": [*denied, rule], "jwt": {"jwks": address}}

            worker = Worker(tables())
            try:
                await work(server, worker, tables)
            finally:
                await worker.judging.close()

    asyncio.run(run())


def test_keys_of_tokens_count_on_while_they_cannot_be_fetched() -> None:
    async def work(server: HookServer, worker: Worker, tables: Callable[..., dict[str, Any]]) -> None:
        assert await worker.lets_in(0)
        answer(server, response(503))
        worker.reload(tables("other/*"))
        assert await worker.lets_in(0)
        assert len(server.requests) == 2  # it was asked again

    reloading(work)


def test_a_key_that_was_taken_away_counts_no_more() -> None:
    async def work(server: HookServer, worker: Worker, tables: Callable[..., dict[str, Any]]) -> None:
        assert await worker.lets_in(1)
        answer(server, jwks(0))
        assert await worker.lets_in(1)  # for an hour
        worker.reload(tables("other/*"))
        assert not await worker.lets_in(1)
        assert await worker.lets_in(0)

    reloading(work)


def test_keys_of_another_address_do_not_count() -> None:
    async def work(server: HookServer, worker: Worker, tables: Callable[..., dict[str, Any]]) -> None:
        assert await worker.lets_in(0)
        answer(server, response(503))
        worker.reload(tables(address=f"{server.address}/other"))
        assert not await worker.lets_in(0)
        answer(server, jwks(0))
        worker.reload(tables())
        assert await worker.lets_in(0)

    reloading(work)
