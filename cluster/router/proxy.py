"""libzmq's proxy in a thread of its own: no Python runs for a message."""

from __future__ import annotations

import logging
import threading

import zmq

from cluster.router.steering import Steering

logger = logging.getLogger(__name__)


class Proxy:
    """Moves media from ``publish`` (XSUB) to ``subscribe`` (XPUB), and subscriptions back.

    It takes both sockets over, and ends with their context; ``close`` before that, ``join`` after it.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        publish: zmq.Socket[bytes],
        subscribe: zmq.Socket[bytes],
    ) -> None:
        self._publish = publish
        self._subscribe = subscribe
        self._steering = Steering(context)
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._failed

    @property
    def mark(self) -> int:
        """Envelopes that may queue in it for each connection."""
        return self._steering.mark

    @property
    def resumed(self) -> int:
        """How often it has given up, at what a peer had no right to send, and was begun anew."""
        return self._steering.resumed

    def tick(self, now: float) -> None:
        """Now and then, always from one thread: its queues follow the size of what goes through."""
        self._steering.tick(now)

    def close(self) -> None:
        """Stop ticking; called from the thread that ticks."""
        self._steering.close()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            self._steering.run(self._publish, self._subscribe)
        except zmq.ContextTerminated:
            pass
        except Exception:
            self._failed = True
            logger.exception("the proxy failed", extra={"event": "router_failed"})
        finally:
            self._steering.leave()
            self._publish.close()
            self._subscribe.close()
