"""The image itself, where it can be built without a Docker engine: it is made, it serves, and it drains."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playbooks import ROOT

pytestmark = pytest.mark.deploy

_BUILD_TIMEOUT_S = 900.0
_NAME = "rtmp-cluster-under-test"
#: So that an installation in the image trusts and asks whom this host trusts and asks.
_OF_THIS_HOST = ("/etc/ssl/certs", "/etc/pip.conf")


class Image:
    """Built and run in a store of its own. No engine and no namespaces: a container is a chroot."""

    def __init__(self, store: Path) -> None:
        configuration = store / "storage.conf"
        configuration.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{store}/graph"\nrunroot = "{store}/run"\n'
        )
        self.environment = {
            **os.environ, "CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"
        }  # fmt: skip

    def build(self) -> None:
        volumes = [f"--volume={path}:{path}:ro" for path in _OF_THIS_HOST if os.path.exists(path)]
        done = subprocess.run(
            ["sh", str(ROOT / "tools" / "image.sh"), _NAME, *volumes],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=_BUILD_TIMEOUT_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]

    def container(self) -> str:
        return self.does("from", _NAME).strip()

    def settings(self, container: str) -> dict[str, Any]:
        """What the image says of how it is to be run."""
        found: dict[str, Any] = json.loads(self.does("inspect", container))["Docker"]["config"]
        return found

    def does(self, *arguments: str) -> str:
        done = subprocess.run(
            ["buildah", *arguments], env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def image() -> Iterator[Image]:
    if os.geteuid() != 0:
        pytest.skip("building an image without an engine needs root")
    for program in ("buildah", "debootstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: sh tools/peers.sh image")
    # Not pytest's directory, which is kept: this is a gigabyte.
    store = Path(tempfile.mkdtemp(prefix="rtmp-image-"))
    try:
        made = Image(store)
        made.build()
        yield made
    finally:
        shutil.rmtree(store, ignore_errors=True)


def test_the_image_serves_as_nobody_in_particular_and_drains(
    image: Image, tmp_path: Path, eventually: Any
) -> None:
    container = image.container()
    settings = image.settings(container)
    log = tmp_path / "log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["buildah", "run", "--env", "RTMP_CLUSTER_BIND=127.0.0.1:0", "--env", "RTMP_CLUSTER_WORKERS=1",
             container, "--", *settings["Entrypoint"], *settings["Cmd"]],
            env=image.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        eventually(lambda: "ready on " in log.read_text(), f"the edge is ready: {log}", 60)
        port = log.read_text().partition("ready on 127.0.0.1:")[2].partition(";")[0]
        supervisor = _first_of_ours(running.pid)
        assert supervisor.uids().real == int(settings["User"].partition(":")[0])

        # The image has the usual port; here it is a free one.
        check = [part.replace("1935", port) for part in settings["Healthcheck"]["Test"][1:]]
        image.does("run", container, "--", *check)
        url = f"rtmp://127.0.0.1:{port}/live/s"
        load = ["rtmp-cluster", "load", url, "--players", "2", "--duration", "1"]
        assert "2 of 2 playing" in image.does("run", container, "--", *load)

        supervisor.terminate()
        assert running.wait(30) == 0, log.read_text()
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(running.pid).children(recursive=True):
                process.kill()
        running.kill()
        running.wait()


def _first_of_ours(pid: int) -> psutil.Process:
    """The supervisor, which is the first of our command below buildah's own processes."""
    below = psutil.Process(pid).children(recursive=True)
    return next(each for each in below if each.name().startswith(("python", "rtmp-cluster")))
