"""Where a node accepts connections, and as whom: the options of its addresses, of TLS and of HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from cluster.core.limits import MIB
from cluster.net.addresses import BindAddress, parse_bind
from cluster.process.options import ConfigError, Whole, file_name, option

_ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9.:\[\]_-]+")


def _origin(text: str) -> str:
    if _ORIGIN.fullmatch(text) is None:
        raise ValueError(f"{text!r} is neither * nor an origin, such as https://www.example.org")
    return text


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network such as 10.0.0.0/24: {error}") from None


@dataclass(frozen=True, slots=True)
class AddressOptions:
    """A part of ``EdgeConfig``."""

    binds: tuple[BindAddress, ...] = option(
        "--bind", parse_bind, "ADDRESS",
        "Where to accept RTMP: :PORT, HOST:PORT or [IPV6]:PORT; port 0 picks a free one. Repeatable.",
        (BindAddress("", 1935),), default_text=":1935", repeatable=True, group="network",
    )  # fmt: skip
    tls_binds: tuple[BindAddress, ...] = option(
        "--bind-tls", parse_bind, "ADDRESS",
        "Where to accept RTMPS (RTMP over TLS); the same forms. Repeatable.",
        (), default_text="nowhere", repeatable=True, group="tls",
    )  # fmt: skip
    tls_cert: Path | None = option(
        "--tls-cert", file_name, "FILE",
        "The certificate for --bind-tls and those that lead to its root, PEM; read again when it changes.",
        None, default_text="none", group="tls",
    )  # fmt: skip
    tls_key: Path | None = option(
        "--tls-key", file_name, "FILE", "Its private key, PEM, without a passphrase.",
        None, default_text="none", group="tls",
    )  # fmt: skip
    http_binds: tuple[BindAddress, ...] = option(
        "--http", parse_bind, "ADDRESS",
        "Where to serve players over HTTP; forms as for --bind, such as :8080. Repeatable.",
        (), default_text="nowhere", repeatable=True, group="http",
    )  # fmt: skip
    http_tls_binds: tuple[BindAddress, ...] = option(
        "--http-tls", parse_bind, "ADDRESS",
        "The same over HTTPS, with --tls-cert and --tls-key. Repeatable.",
        (), default_text="nowhere", repeatable=True, group="http",
    )  # fmt: skip
    http_origin: str = option(
        "--http-origin", _origin, "ORIGIN",
        "The site whose pages may play in a browser, such as https://www.example.org; * is any.",
        "*", group="http",
    )  # fmt: skip
    hls_bytes: int = option(
        "--hls-bytes", Whole(MIB, 1024 * 1024 * MIB), "BYTES",
        "Memory that the segments of all streams of one worker may take, for HLS.",
        256 * MIB, group="http",
    )  # fmt: skip
    proxies: tuple[IPv4Network | IPv6Network, ...] = option(
        "--proxy-from", _network, "CIDR",
        "Balancers, such as 10.0.0.0/24, whose connections must begin with a header of the PROXY protocol "
        "that says whose they are. Repeatable.",
        (), default_text="none", repeatable=True, group="network",
    )  # fmt: skip

    @property
    def addresses(self) -> tuple[BindAddress, ...]:
        """All of them: plain RTMP, RTMPS, HTTP, HTTPS."""
        return (*self.binds, *self.tls_binds, *self.http_binds, *self.http_tls_binds)

    @property
    def serves_http(self) -> bool:
        return bool(self.http_binds or self.http_tls_binds)

    @property
    def http_urls(self) -> tuple[str, ...]:
        """Where HTTP and HTTPS are served, as a browser takes it, up to the path."""
        plain = (f"http://{address}" for address in self.http_binds)
        return (*plain, *(f"https://{address}" for address in self.http_tls_binds))

    @property
    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key, if RTMPS or HTTPS is served."""
        return None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key)

    def _contradictory_addresses(self) -> Iterator[ConfigError]:
        served = self.tls_binds or self.http_tls_binds
        given = {
            "--bind-tls (or --http-tls)": served, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key,
        }  # fmt: skip
        missing = [flag for flag, value in given.items() if not value]
        if missing and len(missing) < len(given):
            yield ConfigError(
                f"{' and '.join(missing)} missing: TLS needs {', '.join(given)} together",
                ("tls_binds", "http_tls_binds", "tls_cert", "tls_key"),
            )
        taken: dict[BindAddress, str] = {}
        for flag, name in _FLAGS.items():
            for address in getattr(self, name):
                other = taken.setdefault(address, flag) if address.port else flag
                if other != flag:
                    yield ConfigError(
                        f"{flag} {address} is an address of {other}: it needs one of its own",
                        (name, _FLAGS[other]),
                    )


_FLAGS = {
    "--bind": "binds", "--bind-tls": "tls_binds", "--http": "http_binds", "--http-tls": "http_tls_binds",
}  # fmt: skip
