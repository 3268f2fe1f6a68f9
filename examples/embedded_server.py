"""An RTMP server inside a program: it decides who may publish, and counts what it hears.

    python examples/embedded_server.py [ADDRESS]

A publisher needs a key (rtmp://HOST/live/NAME?key=secret); anybody may play. Ctrl-C ends it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

from cluster.core.errors import CloseReason, ClusterError
from cluster.core.message import Message
from cluster.core.rtmp.events import PublishRequested
from cluster.edge.embed.server import Peer, Reject, Server, ServerHandler


class Gatekeeper(ServerHandler):
    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()

    async def on_publish(self, peer: Peer, key: str, request: PublishRequested) -> Reject | None:
        return None if request.query == "key=secret" else Reject("this stream needs the right key")

    def on_message(self, key: str, message: Message) -> None:
        self.messages[key] += 1

    def on_publish_ended(self, peer: Peer, key: str) -> None:
        print(f"{key}: {self.messages[key]} messages from {peer.peer}", flush=True)

    def on_closed(self, peer: Peer, reason: CloseReason) -> None:
        print(f"{peer.peer} left: {reason}", flush=True)


async def main(address: str) -> None:
    async with Server(Gatekeeper(), bind=address) as server:
        print("ready on", *server.addresses, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:1935"))
    except (ValueError, ClusterError) as error:  # no address, or one that cannot be had
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
