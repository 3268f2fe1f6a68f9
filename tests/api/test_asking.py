"""A router that is asked, and is closed meanwhile: its address has gone, or it is opened anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import zmq

from cluster.api.asking import AskedRouter, ask_through
from cluster.core.bus.endpoints import endpoints
from support.polling import wait_until


def test_whoever_waits_for_a_router_that_is_closed_has_no_answer(tmp_path: Path) -> None:
    """A task that was cancelled instead would end the look at the cluster, and the request of another."""

    async def run() -> None:
        def is_asked() -> bool:
            return bool(hung.poll(0) and router._status_waiting and router._answers)

        router = AskedRouter(context, where, None)
        status = asyncio.create_task(router.status(30))
        answer = asyncio.create_task(ask_through([router], "a/1f2e/0/1", b"{}", 30))
        await asyncio.to_thread(wait_until, is_asked, "two questions")
        router.close()
        assert (await status).status is None
        assert await answer is None
        assert (await router.status(0.1)).status is None
        assert await ask_through([router], "a/1f2e/0/1", b"{}", 30) is None

    where = endpoints(f"ipc://{tmp_path / 'r'}")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
    hung = context.socket(zmq.ROUTER)
    hung.bind(where.control)
    try:
        asyncio.run(asyncio.wait_for(run(), 20))
    finally:
        hung.close(0)
        context.term()
