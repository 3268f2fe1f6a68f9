"""What ``tools/image.sh`` does where things fail, with programs that only say that they were called."""

from __future__ import annotations

import subprocess
from pathlib import Path

from playbooks import ROOT

_FAKES = {
    "docker": "exit 1",
    "podman": "exit 1",
    "id": "echo 0",
    "buildah": 'echo "$*" >> "$CALLS"\ncase $1 in pull|inspect) exit 1;; from) echo half;; esac',
    "debootstrap": 'echo "I: Retrieving"\necho "E: Failed getting release file"\nexit 1',
}


def test_a_debian_that_cannot_be_made_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    for name, script in _FAKES.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(calls)}
    command = ["sh", str(ROOT / "tools" / "image.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == "image.sh: debootstrap failed: E: Failed getting release file\n"
    assert calls.read_text().splitlines()[-1] == "rm half"
