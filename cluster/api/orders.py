"""What an operator tells the cluster to do.

Each order has a name, so that a worker that is told twice, over two routers or by somebody who tries again,
carries it out once.
"""

from __future__ import annotations

import asyncio
import secrets

from cluster.api.round import ROUTER_TIMEOUT_S, WORKER_TIMEOUT_S, Known, node_name, workers_by_node
from cluster.api.sessions import worker_and_number
from cluster.api.view import ClusterView
from cluster.core.bus import control, questions
from cluster.core.bus.questions import Done, Fault

_NOBODY = "no router of the cluster answers"


class NotThere(Exception):
    """What the order is about is not there."""


class NoAnswer(Exception):
    """The worker does not answer: it may have done what it was told, or not."""


class Ambiguous(Exception):
    """Several nodes have the name."""


class Orders:
    """Gives orders to the workers of ``view``."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view

    async def kick(self, session_id: str, why: str, command: str = "") -> None:
        """End a session."""
        known = await self._view.known()
        place = worker_and_number(known, session_id)
        if place is None:
            raise _unknown(known, f"there is no session {session_id}")
        if place[0] not in known.via:
            raise NoAnswer(f"worker {place[0]} of session {session_id} is lost")
        done = await self._tell(known, place[0], questions.Kick(_named(command), place[1], why))
        if not done.is_found:
            raise NotThere(f"there is no session {session_id} any more")

    async def end_stream(self, key: str, closed_s: int, why: str, command: str = "") -> bool:
        """Take ``key`` from its publisher, and let nobody have it for so long; whether it had one.

        First it is closed, or the publisher would be back before.
        """
        known = await self._view.known()
        if not known.is_answered:
            raise NoAnswer(_NOBODY)
        await self._close_key(key, closed_s)
        # Who publishes it is asked anew: what is known may be older than its publisher.
        self._view.forget()
        known = await self._view.known()
        stream = known.streams.get(key)
        if stream is None:
            return False
        done = await self._tell(known, stream.origin, questions.EndStream(_named(command), key, why))
        return done.is_found

    async def _close_key(self, key: str, seconds: int) -> None:
        """At each router that answers. They answer in order: what they know is asked to be sure."""
        routers = [router for router in self._view.routers if router.send(control.CloseKey(key, seconds))]
        await asyncio.gather(*(router.status(ROUTER_TIMEOUT_S) for router in routers))

    async def drain(self, node: str, deadline_s: float, command: str = "") -> str:
        """Take a node out of service; its id."""
        return await self._tell_node(node, questions.Drain(_named(command), deadline_s))

    async def undrain(self, node: str, command: str = "") -> str:
        return await self._tell_node(node, questions.Undrain(_named(command)))

    async def reload(self, node: str, command: str = "") -> str:
        return await self._tell_node(node, questions.Reload(_named(command)))

    async def _tell_node(self, node: str, order: questions.Question) -> str:
        """Through the first of its workers that answers."""
        known = await self._view.known()
        node_id, worker_ids = _one_node(known, node)
        for worker_id in worker_ids:
            if worker_id in known.via:
                try:
                    await self._tell(known, worker_id, order)
                except NoAnswer:
                    continue
                return node_id
        raise NoAnswer(f"no worker of node {node} answers")

    async def _tell(self, known: Known, worker_id: str, order: questions.Question) -> Done:
        answer = await known.ask(worker_id, order, WORKER_TIMEOUT_S)
        self._view.forget()
        if isinstance(answer, Done):
            return answer
        why = answer.detail if isinstance(answer, Fault) else "it does not answer"
        raise NoAnswer(f"worker {worker_id}: {why}")


def _named(command: str) -> str:
    return command or secrets.token_hex(8)


def _unknown(known: Known, why: str) -> Exception:
    """Of what no router has told: it is not there, if one has told at all."""
    return NotThere(why) if known.is_answered else NoAnswer(_NOBODY)


def _one_node(known: Known, node: str) -> tuple[str, list[str]]:
    by_node = workers_by_node(known.workers)
    found = [each for each in by_node if node in (*node_name(each), each)]
    if not found:
        raise _unknown(known, f"there is no node {node}")
    here = [each for each in found if any(worker in known.via for worker in by_node[each])]
    if len(here) > 1:
        ids = ", ".join(node_name(each)[1] for each in here)
        raise Ambiguous(f"{len(here)} nodes have the name {node}: say which by its id ({ids})")
    if not here:
        raise NoAnswer(f"node {node} is lost")
    return here[0], by_node[here[0]]
