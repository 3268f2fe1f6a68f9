"""What a link makes of bad use."""

from __future__ import annotations

import asyncio

import pytest

from cluster.core.bus.control import (
    DRAINING,
    Refused,
)
from cluster.core.bus.endpoints import EndpointError
from cluster.router.router import Router
from support.routers import (
    ANY_PORT,
    KEY,
    LinkedWorker,
)
from support.sockets import on_asyncio, on_uvloop


def test_a_bad_router_address_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(EndpointError, match="not a router address"):
        LinkedWorker(["http://example.org"], 0)


def test_a_link_that_was_not_started_can_be_closed() -> None:
    on_asyncio(LinkedWorker([ANY_PORT.replace(":0", ":1")], 0).link.close())


def test_publishers_that_wait_when_the_link_closes_are_refused() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            endpoint = router.endpoint
        worker = LinkedWorker([endpoint], 0)
        await worker.link.start()
        request = asyncio.ensure_future(worker.link.request_publish(KEY, replace=False))
        await asyncio.sleep(0)
        await worker.link.close()
        answer = await request
        assert isinstance(answer, Refused)
        assert answer.reason == DRAINING

    on_uvloop(main())
