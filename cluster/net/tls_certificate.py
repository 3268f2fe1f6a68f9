"""The certificate that TLS connections are served with: read, checked, and read again when it changes."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from pathlib import Path
from typing import NamedTuple, NoReturn

from cluster.core.errors import EnvironmentFault

logger = logging.getLogger(__name__)

HTTP2 = "h2"
#: What peers of HTTP are offered, the best first (RFC 7301; RFC 9113, section 3.2). Who asks for neither
#: speaks HTTP/1.1.
HTTP_PROTOCOLS = (HTTP2, "http/1.1")

_CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
_KEY_MARK = b"PRIVATE KEY-----"

#: A handshake between two ends in memory takes no more turns than this (RFC 8446, section 2; TLS 1.3).
_MOST_TURNS = 4

#: What tells one content of the two files from another without reading them.
_Look = tuple[tuple[int, int, int] | None, ...]


class Served(NamedTuple):
    """What new connections get: those of HTTP ``http_context``, which offers HTTP/2 too.

    ``problem``: why peers that verify will refuse it; None if it is good as far as can be told here.
    ``expires``: as OpenSSL writes it, such as "Jun  1 12:00:00 2027 GMT"; "" if it cannot be told.
    """

    context: ssl.SSLContext
    http_context: ssl.SSLContext
    problem: str | None
    expires: str


class Certificate:
    """The certificate chain and key of ``--tls-cert`` and ``--tls-key``, as of their last good content.

    EnvironmentFault if they cannot be used now; its text says which file and why.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._judged = self._seen = self._look()
        self._served = _load(cert_file, key_file)

    @property
    def context(self) -> ssl.SSLContext:
        """The context for connections accepted now; those that are open keep theirs."""
        return self._served.context

    @property
    def http_context(self) -> ssl.SSLContext:
        """The same for HTTP: what is spoken is agreed on with the peer."""
        return self._served.http_context

    def warn(self) -> None:
        """Log what is wrong with it, if anything is: it is served all the same."""
        if self._served.problem is not None:
            logger.warning(
                "--tls-cert %(file)s: peers that verify it will refuse it: %(problem)s",
                {"file": str(self._cert_file), "problem": self._served.problem},
                extra={"event": "certificate_warning"},
            )

    def refresh(self) -> None:
        """Once a second or so: read the files again if they have changed.

        A change must stand still from one look to the next, because certificate and key are seldom
        replaced in one moment. Files that cannot be used leave the old content in use, are reported
        once, and are looked at again when they change again.
        """
        before, self._seen = self._seen, self._look()
        if self._seen == self._judged or self._seen != before:
            return
        self._judged = self._seen
        try:
            self._served = _load(self._cert_file, self._key_file)
        except EnvironmentFault as fault:
            logger.error(
                "the certificate in use is kept: %(why)s", {"why": str(fault)},
                extra={"event": "certificate_refused"},
            )  # fmt: skip
            return
        logger.info(
            "certificate read again: --tls-cert %(file)s, good until %(expires)s",
            {"file": str(self._cert_file), "expires": self._served.expires or "an unknown time"},
            extra={"event": "certificate_reloaded"},
        )
        self.warn()

    def _look(self) -> _Look:
        return tuple(_stamp(file) for file in (self._cert_file, self._key_file))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _load(cert_file: Path, key_file: Path) -> Served:
    _check_pem("--tls-cert", cert_file, _CERTIFICATE_MARK, "certificate")
    _check_pem("--tls-key", key_file, _KEY_MARK, "private key")
    context, http_context = _context_of(cert_file, key_file), _context_of(cert_file, key_file)
    http_context.set_alpn_protocols(HTTP_PROTOCOLS)
    return Served(context, http_context, *_examine(context, cert_file))


def _context_of(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A peer could make us redo handshakes without end.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0  # RTMP peers do not resume sessions

    def refuse_passphrase() -> NoReturn:
        raise EnvironmentFault(f"--tls-key {key_file}: it is encrypted; give a key without a passphrase")

    try:
        context.load_cert_chain(cert_file, key_file, password=refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise EnvironmentFault(
                f"--tls-key {key_file}: it does not belong to the certificate in --tls-cert {cert_file}"
            ) from error
        raise EnvironmentFault(
            f"--tls-cert {cert_file} and --tls-key {key_file}: not usable ({error.reason or error})"
        ) from error
    return context


def _check_pem(flag: str, file: Path, mark: bytes, what: str) -> None:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise EnvironmentFault(f"{flag} {file}: {error.strerror or error}") from error
    if mark not in content:
        raise EnvironmentFault(f"{flag} {file}: there is no PEM {what} in it")


def _examine(context: ssl.SSLContext, cert_file: Path) -> tuple[str | None, str]:
    """Why a verifying peer would refuse the certificate, and when it expires.

    Found by such a peer in memory, which trusts the certificate itself and asks for no host name.
    """
    peer_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    peer_context.check_hostname = False
    peer_context.load_verify_locations(cert_file)
    peer_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_us, to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
    us = context.wrap_bio(to_us, to_peer, server_side=True)
    peer = peer_context.wrap_bio(to_peer, to_us)
    try:
        for _ in range(_MOST_TURNS):
            for end in (peer, us):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message, ""
    except ssl.SSLError as error:
        return str(error), ""
    found = peer.getpeercert() or {}
    return None, str(found.get("notAfter", ""))
