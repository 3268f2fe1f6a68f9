"""OBS Studio on a screen that nobody sees: it encodes by itself, publishes, and records what it encoded."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workbench import Hashes, Job, Workbench, first_line, hashes_of

from support.polling import wait_until

#: Small and slow, so that a processor can draw and encode it beside the server.
WIDTH, HEIGHT, FRAMES_PER_SECOND = 320, 180, 10
#: As the README advises.
KEYFRAME_EVERY_S = 2
#: Where OBS's TLS looks for authorities, and it cannot be told another place.
_AUTHORITIES = "/etc/ssl/certs"
_NAME = "interop"
_SCREEN_TIMEOUT_S = 15.0

#: The first start would ask questions; a preview would cost as much as the stream.
_GLOBAL = f"""\
[General]
FirstRun=true
LastVersion=486539266
Pre19Defaults=false
Pre21Defaults=false
Pre23Defaults=false
Pre24.1Defaults=false
EnableAutoUpdates=false

[Basic]
Profile={_NAME}
ProfileDir={_NAME}
SceneCollection={_NAME}
SceneCollectionFile={_NAME}
ConfigOnNewProfile=false

[BasicWindow]
PreviewEnabled=false
"""
#: "Stream": it records what its one encoder makes for the stream.
_PROFILE = """\
[General]
Name={name}

[Video]
BaseCX={width}
BaseCY={height}
OutputCX={width}
OutputCY={height}
FPSType=1
FPSInt={frames_per_second}

[Output]
Mode=Simple
Reconnect=true
RetryDelay=1
MaxRetries=20

[SimpleOutput]
StreamEncoder=x264
UseAdvanced=true
Preset=ultrafast
x264Settings=keyint={keyframe_every}
VBitrate=400
ABitrate=96
FilePath={recordings}
RecFormat=flv
RecQuality=Stream
"""


def version() -> str | None:
    """None if it, or the screen it needs, is not installed."""
    if first_line(["Xvfb", "-help"]) is None:
        return None
    line = first_line(["obs", "--version"])
    return line if line and line.startswith("OBS Studio") else None


def may_trust() -> bool:
    """Whether we may show OBS authorities of ours, which takes a mount that it alone sees."""
    try:
        return subprocess.run([*_unshared(), "true"], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def publish(
    bench: Workbench, server: str, key: str, trusted: Path | None = None,
    login: tuple[str, str] | None = None,
) -> Job:  # fmt: skip
    """It publishes the bench's clip, over and over, until it is ended. ``trusted``: a certificate;
    ``login``: user and password of *Use authentication*."""
    home = bench.path("obs")
    _write_settings(home, bench.clip, server, key, login)
    display = _start_screen(bench)
    command = [
        "obs", "--multi", "--startstreaming", "--startrecording", "--minimize-to-tray", "--disable-updater",
        "--disable-missing-files-check", "--profile", _NAME, "--collection", _NAME,
    ]  # fmt: skip
    if trusted is not None:
        command = _trusting(home, trusted, command)
    return bench.spawn("obs", [
        "env", f"HOME={home}", f"XDG_CONFIG_HOME={home}", f"XDG_RUNTIME_DIR={home}", f"DISPLAY={display}",
        "LIBGL_ALWAYS_SOFTWARE=1", "LP_NUM_THREADS=1", "QT_QPA_PLATFORM=xcb", *command,
    ])  # fmt: skip


def recorded(bench: Workbench) -> Hashes:
    """What the one OBS of the bench, which has been ended, had encoded. Its last packets may be cut off."""
    (recording,) = bench.directory.glob("*-obs/recordings/*.flv")
    return {name: packets[:-1] for name, packets in hashes_of(recording).items()}


def _unshared() -> list[str]:
    """What gives a command mounts of its own. Nobody but root needs to be root of a namespace for that."""
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def _trusting(home: Path, certificate: Path, command: Sequence[str]) -> list[str]:
    authorities = home / "authorities"
    authorities.mkdir()
    (authorities / certificate.name).write_bytes(certificate.read_bytes())
    mount = f'mount --bind "$0" {_AUTHORITIES} && exec "$@"'
    return [*_unshared(), "sh", "-c", mount, str(authorities), *command]


def _start_screen(bench: Workbench) -> str:
    """A screen of its own, under a number that the server chooses."""
    job = bench.spawn("xvfb", [
        "Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset"
    ])  # fmt: skip

    def number() -> str:
        assert job.running, f"no screen: {job.log_text()}"
        found = re.search(r"^(\d+)\n", job.log_text(), re.MULTILINE)
        return found[1] if found else ""

    return f":{wait_until(number, 'a screen', _SCREEN_TIMEOUT_S)}"


def _write_settings(
    home: Path, clip: Path, server: str, key: str, login: tuple[str, str] | None
) -> None:
    """A profile, a scene with the clip in it, and the service to stream to."""
    studio = home / "obs-studio"
    profile, scenes = studio / "basic/profiles" / _NAME, studio / "basic/scenes"
    recordings = home / "recordings"
    for directory in (profile, scenes, recordings):
        directory.mkdir(parents=True)
    home.chmod(0o700)
    (studio / "global.ini").write_text(_GLOBAL)
    (profile / "basic.ini").write_text(_PROFILE.format(
        name=_NAME, width=WIDTH, height=HEIGHT, frames_per_second=FRAMES_PER_SECOND,
        keyframe_every=KEYFRAME_EVERY_S * FRAMES_PER_SECOND, recordings=recordings,
    ))  # fmt: skip
    (profile / "service.json").write_text(json.dumps(
        {"type": "rtmp_custom", "settings": {"server": server, "key": key, **_authentication(login)}}
    ))  # fmt: skip
    media = {"id": "ffmpeg_source", "name": "clip",
             "settings": {"local_file": str(clip), "looping": True, "hw_decode": False}}  # fmt: skip
    item = {"id": 1, "name": "clip", "visible": True,
            "pos": {"x": 0.0, "y": 0.0}, "scale": {"x": 0.5, "y": 0.5}}  # fmt: skip
    scene = {"id": "scene", "name": "Scene", "settings": {"id_counter": 1, "items": [item]}}
    (scenes / f"{_NAME}.json").write_text(json.dumps({
        "name": _NAME, "current_scene": "Scene", "current_program_scene": "Scene",
        "scene_order": [{"name": "Scene"}], "sources": [media, scene],
    }))  # fmt: skip


def _authentication(login: tuple[str, str] | None) -> dict[str, object]:
    if login is None:
        return {"use_auth": False}
    return {"use_auth": True, "username": login[0], "password": login[1]}
