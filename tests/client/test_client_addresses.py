"""Addresses as people type them: the client's side of the table in docs/addresses.md, row by row."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cluster.client import connect
from cluster.core.errors import MisuseError
from cluster.core.rtmp import events
from cluster.core.rtmp.url import RtmpUrl
from support.addresses import TYPED
from support.scripted_server import serving, until

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.mark.parametrize(("address", "app", "name", "key"), TYPED)
def test_a_url_is_divided_as_the_table_says(address: str, app: str, name: str, key: str) -> None:
    url = RtmpUrl.parse(address)
    assert (url.app, url.stream, url.key) == (app, name, key)
    assert RtmpUrl.parse(str(url)).key == key


def _requested(asked: events.PublishRequested | events.PlayRequested) -> str:
    return f"{asked.name}?{asked.query}" if asked.query else asked.name


@pytest.mark.parametrize(("address", "app", "name", "key"), TYPED)
def test_what_goes_out_is_what_the_table_says(
    run: Run, address: str, app: str, name: str, key: str
) -> None:
    path = address.partition("://")[2].partition("/")[2]

    async def work() -> None:
        async with serving() as server, connect(server.url(path)) as connection:
            (request,) = server.peer.seen(events.ConnectRequested)
            assert request.command_object["app"] == app
            if not key:
                with pytest.raises(MisuseError, match="no stream name"):
                    await connection.play()
                return
            async with await connection.publish(), await connection.play():
                pass
            await until(lambda: server.peer.seen(events.PlayRequested), "play")
            asked = [*server.peer.seen(events.PublishRequested), *server.peer.seen(events.PlayRequested)]
            assert [_requested(each) for each in asked] == [name, name]

    run(work())
