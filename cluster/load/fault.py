"""What a server did wrong over HTTP."""

from __future__ import annotations

from cluster.core.errors import ClusterError


class ServerFault(ClusterError):
    """The server's answer cannot be read on; ``detail`` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
