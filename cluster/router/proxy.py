"""libzmq's proxy in a thread of its own: no Python runs for a message."""

from __future__ import annotations

import logging
import threading

import zmq

logger = logging.getLogger(__name__)


class Proxy:
    """Moves media from ``publish`` (XSUB) to ``subscribe`` (XPUB), and subscriptions back.

    It takes both sockets over, and ends with their context; ``join`` after that. ``resumed``: how often it
    has given up, at what a peer had no right to send, and was begun anew.
    """

    def __init__(self, publish: zmq.Socket[bytes], subscribe: zmq.Socket[bytes]) -> None:
        self._publish = publish
        self._subscribe = subscribe
        self._failed = False
        self.resumed = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._failed

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                try:
                    zmq.proxy(self._publish, self._subscribe)
                except zmq.Again:
                    # A socket was said to be readable, and what was there was nothing that a peer may send:
                    # libzmq takes it away, and its proxy ends. No message was under way.
                    self.resumed += 1
        except zmq.ContextTerminated:
            pass
        except Exception:
            self._failed = True
            logger.exception("the proxy failed", extra={"event": "router_failed"})
        finally:
            self._publish.close()
            self._subscribe.close()
