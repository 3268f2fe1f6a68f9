"""nginx-rtmp as a relay: FFmpeg publishes to it and it pushes to us, or it pulls from us for FFmpeg."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import peer_ffmpeg
from workbench import Job, Workbench, first_line, free_port

_MODULES = (
    "/usr/lib/nginx/modules/ngx_rtmp_module.so",
    "/usr/share/nginx/modules/ngx_rtmp_module.so",
)
_CONFIG = """\
load_module {module};
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 256; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        application relay {{ live on; {relay} }}
    }}
}}
"""


def _binary() -> str | None:
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _module() -> str | None:
    return next((path for path in _MODULES if Path(path).exists()), None)


def version() -> str | None:
    binary = _binary()
    if binary is None or _module() is None:
        return None
    line = first_line([binary, "-v"]) or ""
    found = re.search(r"nginx/[\d.]+", line)
    return f"{found.group()} with ngx_rtmp_module" if found else None


def publish(bench: Workbench, url: str) -> Job:
    name = urlsplit(url).path.rpartition("/")[2]
    port = _start(bench, f"push {url.rpartition('/')[0]};")
    return peer_ffmpeg.publish(bench, f"rtmp://127.0.0.1:{port}/relay/{name}")


def play(bench: Workbench, url: str) -> Path:
    name = urlsplit(url).path.rpartition("/")[2]
    port = _start(bench, f"pull {url} name={name};")
    return peer_ffmpeg.play(bench, f"rtmp://127.0.0.1:{port}/relay/{name}")


def _start(bench: Workbench, relay: str) -> int:
    port = free_port()
    directory = bench.path("nginx")
    directory.mkdir()
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(module=_module(), directory=directory, port=port, relay=relay))
    binary = _binary()
    assert binary is not None
    command = [binary, "-p", str(directory), "-e", f"{directory}/error.log", "-c", str(config)]
    bench.spawn_server("nginx", command, port)
    return port
