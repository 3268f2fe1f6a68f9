"""An edge that logs as text, as most do, in place of JSON."""

from __future__ import annotations

import re
from pathlib import Path

from support.cluster_process import Edge
from support.polling import wait_until

#: Options that bring addresses, in the order in which the line "ready" names those.
_ADDRESSES = {"--bind-tls": "tls_addresses", "--http": "http_addresses", "--http-tls": "https_addresses"}


class TextEdge(Edge):
    """``ready`` has its addresses alone; ``events`` has nothing."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        super().__init__([*arguments, "--log-format", "text"], log)
        self._names = ["addresses", *(_ADDRESSES[each] for each in _ADDRESSES if each in arguments)]

    def wait_ready(self) -> None:
        def ready() -> list[str]:
            whole = self.log_text().rpartition("\n")[0]
            lines = [line for line in whole.splitlines() if line.startswith("ready on")]
            return re.findall(r"127\.0\.0\.1:\d+", lines[0]) if lines else []

        *found, metrics = wait_until(ready, "the line that it is ready", 60.0)
        named = zip(self._names, found, strict=True)
        self.ready = {"metrics": metrics, **{name: [address] for name, address in named}}
