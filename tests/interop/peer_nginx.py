"""nginx-rtmp as a relay: FFmpeg publishes to it and it pushes to us, or it pulls from us for FFmpeg; and by
itself, to compare with."""

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
        application {application} {{ live on; {directives} }}
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
    port = _start(bench, "relay", f"push {url.rpartition('/')[0]};")
    return peer_ffmpeg.publish(bench, f"rtmp://127.0.0.1:{port}/relay/{name}")


def play(bench: Workbench, url: str) -> Path:
    name = urlsplit(url).path.rpartition("/")[2]
    port = _start(bench, "relay", f"pull {url} name={name};")
    return peer_ffmpeg.play(bench, f"rtmp://127.0.0.1:{port}/relay/{name}")


def serve(bench: Workbench, *pulls: str) -> tuple[int, int]:
    """A server of the application ``live`` that begins with a keyframe; ``pulls``: URLs it relays under the
    same name to who asks. Its port and process id."""
    relayed = " ".join(f"pull {url} name={url.rpartition('/')[2]};" for url in pulls)
    port = _start(bench, "live", f"wait_key on; {relayed}")
    return port, bench.servers[-1].pid


def _start(bench: Workbench, application: str, directives: str) -> int:
    port = free_port()
    directory = bench.path("nginx")
    directory.mkdir()
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(
        module=_module(), directory=directory, port=port, application=application, directives=directives
    ))  # fmt: skip
    binary = _binary()
    assert binary is not None
    command = [binary, "-p", str(directory), "-e", f"{directory}/error.log", "-c", str(config)]
    bench.spawn_server("nginx", command, port)
    return port
