"""The servers of others: how each is started, with the least configuration and its lowest delay."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import ServerError

_NGINX_MODULES = (
    "/usr/lib/nginx/modules/ngx_rtmp_module.so",
    "/usr/share/nginx/modules/ngx_rtmp_module.so",
)

#: ``wait_key`` and ``interleave`` off, as by default, so that every message is forwarded at once; no access
#: log, no recording.
_NGINX_CONFIG = """\
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 8192; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        chunk_size {chunk_size};
        max_streams 64;
        application live {{ live on; record off; wait_key off; interleave off; }}
    }}
}}
"""

#: tools/peers.sh installs it there.
_NODE_MEDIA_SERVER = Path(
    os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache",
    "rtmp-cluster", "peers", "node-media-server", "node_modules", "node-media-server",
)  # fmt: skip
_NODE_SCRIPT = """\
const [home, directory, port] = process.argv.slice(1);
const Server = require(home);
new Server({
  bind: "127.0.0.1", rtmp: { port: Number(port) }, store: { path: directory },
  auth: { play: false, publish: false },
}, directory + "/config.json").run();
"""

#: As its documents have it for the lowest delay ("realtime": merged reads and writes off); the cache of the
#: latest group of pictures stays on, as in the edge.
_SRS_CONFIG = """\
listen {port};
max_connections 4096;
daemon off;
pid {directory}/srs.pid;
srs_log_tank console;
srs_log_level error;
chunk_size {chunk_size};
vhost __defaultVhost__ {{
    tcp_nodelay on;
    min_latency on;
    play {{ gop_cache on; mw_latency 0; mw_msgs 0; }}
    publish {{ mr off; }}
}}
"""

#: Everything but RTMP off. A path of any name may be published, by anyone.
_MEDIAMTX_CONFIG = """\
logLevel: error
rtmpAddress: 127.0.0.1:{port}
rtsp: no
hls: no
webrtc: no
srt: no
paths:
  all_others:
"""


@dataclass(frozen=True, slots=True)
class Start:
    """The command of a server that is to listen at a port, and files it wants, by name."""

    command: list[str]
    files: dict[str, str]


def nginx(directory: str, port: int, chunk_size: int) -> Start:
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    module = next((path for path in _NGINX_MODULES if Path(path).exists()), None)
    if binary is None or module is None:
        raise ServerError("nginx-rtmp is not installed (Debian: apt-get install nginx libnginx-mod-rtmp)")
    config = _NGINX_CONFIG.format(module=module, directory=directory, port=port, chunk_size=chunk_size)
    command = [binary, "-p", directory, "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]
    return Start(command, {"nginx.conf": config})


def has_node_media_server() -> bool:
    return shutil.which("node") is not None and (_NODE_MEDIA_SERVER / "package.json").exists()


def node_media_server(directory: str, port: int) -> Start:
    return Start(["node", "-e", _NODE_SCRIPT, str(_NODE_MEDIA_SERVER), directory, str(port)], {})


def srs(binary: Path, directory: str, port: int, chunk_size: int) -> Start:
    config = _SRS_CONFIG.format(port=port, directory=directory, chunk_size=chunk_size)
    return Start([str(binary), "-c", f"{directory}/srs.conf"], {"srs.conf": config})


def mediamtx(binary: Path, directory: str, port: int) -> Start:
    return Start([str(binary), f"{directory}/mediamtx.yml"], {
        "mediamtx.yml": _MEDIAMTX_CONFIG.format(port=port)
    })  # fmt: skip
