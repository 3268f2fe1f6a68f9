"""What is not typed as written, and why; and what readers are taken to have already.

Without a rule, a command has to end with 0. The first rule whose pattern is found in it counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from documents.reading import Command


@dataclass(frozen=True, slots=True)
class Rule:
    """``instead``: ``by`` says what is typed in place of what the pattern matches. ``fails as it says``: it
    ends with ``code``."""

    kind: Literal["as written", "instead", "not here", "fails as it says"]
    pattern: str
    reason: str
    by: str | Callable[[re.Match[str]], str] = ""
    code: int = 0

    def typed(self, text: str) -> str:
        return re.sub(self.pattern, self.by, text, count=1)


def _few(load: re.Match[str]) -> str:
    """A load that two cores carry beside everything else."""
    less = re.sub(r"--players \d+", "--players 10", load[0])
    less = re.sub(r"--publishers [1-9]\d*", "--publishers 2", less)
    less = f"{less.rstrip()} --duration 1 --settle 0.2 "
    return re.sub(r"--ramp [1-9]\d*", "--ramp 0.5", less)


#: What runs until Ctrl-C, or to the end of its file.
STAYS = re.compile(
    r"^(make (run|demo)|rtmp-cluster (edge|router|publish)\b(?!.*--print-config)|ffmpeg -re|ffplay)"
)
#: Of these, what says that it is ready.
READY = re.compile(r"^(make run|rtmp-cluster (edge|router))")
#: Whose exit code after Ctrl-C has to be 0.
OURS = re.compile(r"^rtmp-cluster ")

#: What they find no program for: they install it themselves, all the others have it from the start.
BARE = ("README.md", "CONTRIBUTING.md", "deploy/README.md", "docs/systemd.md", "docs/benchmarks.md")

#: What a document takes for granted: it runs before the first command.
RUNS_ALREADY: dict[str, tuple[str, ...]] = {
    "docs/commands.md": ("rtmp-cluster edge",),
    "docs/load.md": (
        "rtmp-cluster router",
        "rtmp-cluster edge --router tcp://127.0.0.1:1936 --http :8080",
        "rtmp-cluster edge --router tcp://127.0.0.1:1936 --bind :1945 --node-name another",
    ),
}

#: A video of their own, as MP4 and as FLV, in the directory where they type.
THE_READERS_OWN = """
cd /root/rtmp-cluster
ffmpeg -loglevel error -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine -t 8 \\
    -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -c:a aac /tmp/video.mp4
cp /tmp/video.mp4 . && ffmpeg -loglevel error -i video.mp4 -c copy /tmp/video.flv
"""

RULES = (
    Rule("instead", r"^(sudo )?apt-get install -y (.*)$",
         "no registry is reached: the packages are installed already, and have to exist by these names",
         r"\1dpkg --status \2 > /dev/null"),
    Rule("instead", r"^certbot certonly .* -d (\S+)$",
         "there is no public name and no authority: a certificate of our own where certbot puts one", r"""
set -e; name=\1; live=/etc/letsencrypt/live/$name; mkdir -p $live /etc/letsencrypt/renewal-hooks/deploy
openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=$name -addext subjectAltName=DNS:$name \
    -keyout $live/privkey.pem -out $live/fullchain.pem 2> /dev/null
cp $live/fullchain.pem /usr/local/share/ca-certificates/$name.crt; update-ca-certificates > /dev/null
echo "127.0.0.1 $name" >> /etc/hosts"""),
    Rule("not here", r"^certbot renew", "there is no authority to ask"),
    Rule("instead", r"^rtmp-cluster load [^#\n]*", "10 players and 2 publishers at most, for 1 s", _few),
    Rule("not here", r"^(rtmp-cluster check edge\.toml --against running|kill -HUP PID)$",
         "its edge has no file of rules; tests/system/test_reload.py reloads one that has"),
    Rule("fails as it says", r"^rtmp-cluster check edge\.toml", "it shows what a fault looks like", code=2),
    Rule("fails as it says", r"^rtmp-cluster status --router tcp://10\.0\.0\.5:1936$",
         "it shows a router that does not answer", code=1),
    Rule("not here", r"^vlc ", "it wants a screen; make interop plays with VLC"),
    Rule("not here", r"^make check", "continuous integration runs it beside this"),
    Rule("not here", r"^make (bench|soak)", "it measures for half an hour"),
    Rule("not here", r"^\.venv/bin/python -m benchmarks", "it needs what make bench has set up"),
    Rule("not here", r"^docker ", "no engine; make deploy-test carries out the build"),
    Rule("not here", r"^kubectl ", "no cluster; make test checks the manifests"),
    Rule("not here", r"^(pip install ansible|make wheelhouse|cd deploy/ansible|cp inv|ansible-playbook)",
         "make deploy-test plays the playbooks on hosts of its own"),
)  # fmt: skip

_AS_WRITTEN = Rule("as written", "", "")


def of(command: Command) -> Rule:
    return next((rule for rule in RULES if re.search(rule.pattern, command.text)), _AS_WRITTEN)


def packages(text: str) -> set[str]:
    """The packages that the command installs."""
    found = re.search(r"apt-get install -y (.*)", text)
    return set(found[1].split()) if found else set()
