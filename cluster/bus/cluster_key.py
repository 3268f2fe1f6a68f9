"""The cluster key: one secret in one file, with which routers and nodes prove to each other who they are.

From the secret follow two CURVE key pairs, one for routers and one for workers. A worker talks only to
a peer that has the router's secret key, and a router admits only one that has the worker's. libzmq encrypts
what they say with keys made for each connection. Whoever has the file is part of the cluster.

    rtmp-cluster-key-1:<64 hexadecimal digits>
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from pathlib import Path

import zmq
from zmq.utils import z85

from cluster.core.errors import EnvironmentFault

#: In the key directory; ``keygen`` makes it.
KEY_FILE = "cluster.key"

#: What routers name themselves to the ZAP handler.
ZAP_DOMAIN = b"rtmp-cluster"

_PREFIX = "rtmp-cluster-key-1:"
_FORM = re.compile(rf"{_PREFIX}([0-9a-f]{{64}})")
_SECRET_BYTES = 32
_LARGEST_FILE = 1_024

#: What others than the owner may not do: a secret that a service manager hands over may be readable by
#: the service's group, and by nobody else.
_FORBIDDEN = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


class KeyFault(EnvironmentFault):
    """A key file that cannot be used; the text names it and says why, and never what is in it."""


class ClusterKey:
    """The key pairs that follow from a secret of 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._router = _pair(secret, b"router")
        self._worker = _pair(secret, b"worker")
        #: What the nodes of the cluster sign with that any of them may have to check.
        self.signing = _derived(secret, b"signing")

    def secure_router(self, socket: zmq.Socket[bytes]) -> None:
        """Before it is bound: ``socket`` speaks CURVE only, and asks the ZAP handler whom to admit."""
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self._router
        socket.zap_domain = ZAP_DOMAIN

    def secure_worker(self, socket: zmq.Socket[bytes]) -> None:
        """Before it is connected: ``socket`` speaks CURVE only, and only with a router of this key."""
        socket.curve_serverkey = self._router[0]
        socket.curve_publickey, socket.curve_secretkey = self._worker

    def admits(self, public_key: bytes) -> bool:
        """Whether ``public_key`` (32 bytes, as ZAP has it) is the workers'."""
        return secrets.compare_digest(z85.encode(public_key), self._worker[0])


def load(path: Path) -> ClusterKey:
    """The key in ``path``; KeyFault if it cannot be read, is open to others, or is no key."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(_LARGEST_FILE)
    except FileNotFoundError:
        advice = "rtmp-cluster keygen makes one for all hosts"
        raise KeyFault(f"cluster key {path}: no such file; {advice}") from None
    except OSError as error:
        raise KeyFault(f"cluster key {path}: {error.strerror}") from None
    if mode & _FORBIDDEN:
        raise KeyFault(f"cluster key {path}: mode {mode:04o} lets others at it: chmod 600 {path}")
    found = _FORM.fullmatch(data.decode("ascii", "replace").strip())
    if found is None:
        raise KeyFault(f"cluster key {path}: not a key of rtmp-cluster keygen")
    return ClusterKey(bytes.fromhex(found[1]))


def generate(directory: Path) -> Path:
    """Write a new key into ``directory`` (made if need be) and return its path; never over an old one."""
    path = directory / KEY_FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if not directory.is_dir():
            raise KeyFault(f"{directory} is a file: name the folder for {KEY_FILE}") from None
        raise KeyFault(f"{path} exists: a new key would lock out whoever has the old one") from None
    except OSError as error:
        raise KeyFault(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(fd, "w") as file:
        os.fchmod(fd, 0o600)
        file.write(f"{_PREFIX}{secrets.token_hex(_SECRET_BYTES)}\n")
    return path


def _pair(secret: bytes, role: bytes) -> tuple[bytes, bytes]:
    """(public, secret) of one role, in Z85 as libzmq takes them."""
    secret_key = z85.encode(_derived(secret, role))
    return zmq.curve_public(secret_key), secret_key


def _derived(secret: bytes, role: bytes) -> bytes:
    return hashlib.blake2b(secret, digest_size=_SECRET_BYTES, person=b"rtmp-" + role).digest()
