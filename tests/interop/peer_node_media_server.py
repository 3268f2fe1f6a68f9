"""node-media-server as a relay: it pushes to us what FFmpeg publishes to it, or pulls from us for one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import peer_ffmpeg
from workbench import PEERS_HOME, Job, Workbench, free_port

_PACKAGE = PEERS_HOME / "node-media-server" / "node_modules" / "node-media-server"


def version() -> str | None:
    manifest = _PACKAGE / "package.json"
    if shutil.which("node") is None or not manifest.exists():
        return None
    return f"node-media-server {json.loads(manifest.read_text())['version']}"


def publish(bench: Workbench, url: str) -> Job:
    path = urlsplit(url).path
    port = _start(bench, "push", url)
    return peer_ffmpeg.publish(bench, f"rtmp://127.0.0.1:{port}{path}")


def play(bench: Workbench, url: str) -> Path:
    path = urlsplit(url).path
    port = pull(bench, url)
    return peer_ffmpeg.play(bench, f"rtmp://127.0.0.1:{port}{path}")


def pull(bench: Workbench, *urls: str) -> int:
    """Pulls each of them, whether anybody plays it or not, and serves it under the same path. Its port."""
    return _start(bench, "pull", *urls)


def _start(bench: Workbench, mode: str, *urls: str) -> int:
    port = free_port()
    script = Path(__file__).with_name("node_media_server.js")
    relays = [part for url in urls for part in (url, urlsplit(url).path)]
    command = ["node", str(script), str(_PACKAGE), str(bench.path("data")), str(port), mode, *relays]
    bench.spawn_server("node-media-server", command, port)
    return port
