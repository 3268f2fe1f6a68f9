"""What plays and what is played: nodes that speak HTTP, publishers, and where the browser's things are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.cluster_process import Edge

if TYPE_CHECKING:
    from playwright.sync_api import Page

_HERE = Path(__file__).parent
#: Where ``tools/peers.sh`` puts hls.js, mpegts.js and axe-core.
BROWSER_PLAYERS = Path(
    os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "rtmp-cluster", "peers", "browser-players",
    "node_modules",
)  # fmt: skip


def chromium() -> str:
    """Debian's: it has H.264 and AAC, which what Playwright would download has not."""
    return shutil.which("chromium") or "chromium"


class HttpEdge(Edge):
    """A node that also serves HTTP, on a free port unless ``port`` names one."""

    def __init__(self, arguments: list[str], log: Path, port: int = 0) -> None:
        super().__init__(["--http", f"127.0.0.1:{port}", *arguments], log)

    @property
    def http_port(self) -> int:
        return int(self.ready["http_addresses"][0].rpartition(":")[2])

    def page_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http_port}/live/{name}"

    def slots_with_players(self) -> list[str]:
        """The workers that somebody plays from."""
        return list(self.metrics().by("worker", "http_players"))


@dataclass(frozen=True, slots=True)
class Cluster:
    """``near`` has two workers, ``far`` one; both are at the same router."""

    near: HttpEdge
    far: HttpEdge


class Publisher:
    """A process that publishes the clock's picture; ``options`` are those of ``clock_publisher.py``."""

    def __init__(self, url: str, options: dict[str, str]) -> None:
        given = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, str(_HERE / "clock_publisher.py"), url, *given]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        """As when its host is switched off: it says nothing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


#: Opens an address in a context of its own; what else is given are the context's options, and ``script``,
#: which runs before those of the page.
OpenPage = Callable[..., "Page"]
#: Publishes to an address, with the options of ``clock_publisher.py``.
StartPublisher = Callable[..., Publisher]
