"""The edge's options: each is declared once, and everything else about it is derived from that.

A declaration has the flag, how its text is read and checked, the default and the help. The command
line, the environment variables (``RTMP_CLUSTER_`` and the flag's name) and what a worker process is
handed all come from it.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cluster.core.bus.endpoints import EndpointError, endpoints
from cluster.core.errors import ClusterError
from cluster.core.limits import MIB, Limits
from cluster.core.media.stream_log import LogLimits
from cluster.edge.rtmp.chunk_budget import CHUNKS_PER_TURN
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.rules import StreamRules
from cluster.net.addresses import BindAddress, parse_bind
from cluster.process.logs import LEVELS, LogFormat

_LIMITS = Limits()

#: RTMP 1.0 section 5.3.1.2: the message length field has three bytes.
_LARGEST_MESSAGE_BYTES = 0xFF_FFFF

#: Control messages may arrive between the chunks of one message of the largest size.
_PARTIAL_HEADROOM_BYTES = 2 * MIB

_LONGEST_S = 86_400.0


class ConfigError(ClusterError):
    """An option has a value that it cannot have; the text names the option and what it accepts."""


@dataclass(frozen=True, slots=True)
class Option:
    """How one field of the configuration is spelled, read and explained.

    ``parse`` turns text into the value and raises ValueError, which says what is accepted; a value
    that does not come back from its own text is refused as well.
    """

    flag: str
    parse: Callable[[str], object]
    metavar: str
    help: str
    default_text: str
    repeatable: bool

    @property
    def env(self) -> str:
        # What --cluster-key is for is said by the prefix already: RTMP_CLUSTER_KEY.
        words = self.flag.removeprefix("--").removeprefix("cluster-")
        return "RTMP_CLUSTER_" + words.replace("-", "_").upper()


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise ValueError(f"{text} is not from {low} to {high}")
        return value

    return parse


def _decimal(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if not low <= value <= high:  # also refuses nan
            raise ValueError(f"{text} is not from {low:g} to {high:g}")
        return value

    return parse


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"{text!r} is not one of {', '.join(values)}")
        return text

    return parse


def _router(text: str) -> str:
    try:
        return endpoints(text).base
    except EndpointError as error:
        raise ValueError(str(error)) from None


def _node_name(text: str) -> str:
    if not text or len(text) > 64 or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not a name of 1 to 64 visible characters without spaces")
    return text


def _file(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not the name of a file")
    return Path(text)


def available_cpus() -> int:
    """The CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_SECONDS = "SECONDS"
_positive_s = _decimal(0.1, _LONGEST_S)
_any_s = _decimal(0.0, _LONGEST_S)


def _option(
    flag: str,
    parse: Callable[[str], object],
    metavar: str,
    help: str,
    default: Any,
    *,
    default_text: str | None = None,
    repeatable: bool = False,
) -> Any:
    """A field with its declaration; a callable ``default`` is asked each time."""
    if default_text is None:
        default_text = f"{default:g}" if isinstance(default, float) else str(default)
    option = Option(flag, parse, metavar, help, default_text, repeatable)
    if callable(default):
        return field(default_factory=default, metadata={"option": option})
    return field(default=default, metadata={"option": option})


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """One node's configuration, checked; ConfigError otherwise. Times in seconds, sizes in bytes."""

    binds: tuple[BindAddress, ...] = _option(
        "--bind", parse_bind, "ADDRESS",
        "Where to accept RTMP: :PORT, HOST:PORT or [IPV6]:PORT; port 0 picks a free one. Repeatable.",
        (BindAddress("", 1935),), default_text=":1935", repeatable=True,
    )  # fmt: skip
    tls_binds: tuple[BindAddress, ...] = _option(
        "--bind-tls", parse_bind, "ADDRESS",
        "Where to accept RTMPS (RTMP over TLS); the same forms. Repeatable.",
        (), default_text="nowhere", repeatable=True,
    )  # fmt: skip
    tls_cert: Path | None = _option(
        "--tls-cert", _file, "FILE",
        "The certificate for --bind-tls and those that lead to its root, PEM; read again when it changes.",
        None, default_text="none",
    )  # fmt: skip
    tls_key: Path | None = _option(
        "--tls-key", _file, "FILE", "Its private key, PEM, without a passphrase.", None, default_text="none"
    )
    workers: int = _option(
        "--workers", _whole(1, 1024), "N", "Worker processes.",
        available_cpus, default_text="the CPUs this process may use",
    )  # fmt: skip
    routers: tuple[str, ...] = _option(
        "--router", _router, "ADDRESS",
        "A router of the cluster: tcp://HOST:PORT or ipc://PATH; a host name stands for a router at each "
        "of its addresses. Repeatable.",
        (), default_text="a router of its own", repeatable=True,
    )  # fmt: skip
    cluster_key: Path | None = _option(
        "--cluster-key", _file, "FILE",
        "The key that routers and nodes share, made by keygen: it encrypts their links over tcp.",
        None, default_text="none",
    )  # fmt: skip
    node_name: str = _option(
        "--node-name", _node_name, "NAME",
        "This node's name in logs and at the routers, for people: better no other node has it.",
        socket.gethostname, default_text="the host name",
    )  # fmt: skip
    latency_budget_ms: float = _option(
        "--latency-budget", _decimal(0, 1000), "MS",
        "Milliseconds a message may wait so that more go out in one write: less CPU for more delay.", 0.0,
    )  # fmt: skip
    play_wait_s: float = _option(
        "--play-wait", _any_s, _SECONDS, "How long a player waits for a stream nobody publishes yet.", 30.0
    )
    publish_grace_s: float = _option(
        "--publish-grace", _any_s, _SECONDS, "How long players are kept after their publisher left.", 15.0
    )
    keyframe_wait_s: float = _option(
        "--keyframe-wait", _any_s, _SECONDS,
        "How long video is held back for a keyframe to begin with; 0 begins anywhere.", 10.0,
    )  # fmt: skip
    publisher_timeout_s: float = _option(
        "--publisher-timeout", _positive_s, _SECONDS,
        "A publisher that has sent nothing for this long may be taken over.", 10.0,
    )  # fmt: skip
    on_duplicate: Literal["refuse", "replace"] = _option(
        "--on-duplicate", _one_of("refuse", "replace"), "refuse|replace",
        "What happens to a second publisher of a live stream key: it is refused, or takes over.", "refuse",
    )  # fmt: skip
    drain_timeout_s: float = _option(
        "--drain-timeout", _any_s, _SECONDS, "How long sessions may go on after SIGTERM or Ctrl-C.", 10.0
    )
    max_connections: int = _option(
        "--max-connections", _whole(1, 1_000_000), "N",
        "Connections per worker; never more than its limit on open files allows.", 10_000,
    )  # fmt: skip
    max_message_bytes: int = _option(
        "--max-message-bytes", _whole(65_536, _LARGEST_MESSAGE_BYTES), "BYTES",
        "The largest RTMP message a peer may send.", _LIMITS.max_message_bytes,
    )  # fmt: skip
    handshake_timeout_s: float = _option(
        "--handshake-timeout", _positive_s, _SECONDS,
        "From accepting a connection to the end of its handshake.", _LIMITS.handshake_timeout_s,
    )  # fmt: skip
    idle_timeout_s: float = _option(
        "--idle-timeout", _positive_s, _SECONDS,
        "How long a connection may neither publish nor play.", _LIMITS.idle_timeout_s,
    )  # fmt: skip
    log_bytes: int = _option(
        "--log-bytes", _whole(MIB, 1024 * MIB), "BYTES",
        "The most one worker keeps of one stream, for joining and slow players.", 32 * MIB,
    )  # fmt: skip
    log_seconds: float = _option(
        "--log-seconds", _decimal(1, 600), _SECONDS, "The same bound in media time.", 30.0
    )
    slow_skip_s: float = _option(
        "--slow-skip", _positive_s, _SECONDS,
        "Media time a player may lag before it is moved to the newest keyframe.", 5.0,
    )  # fmt: skip
    slow_close_s: float = _option(
        "--slow-close", _positive_s, _SECONDS,
        "How long a player may fail to catch up before it is closed.", 30.0,
    )  # fmt: skip
    metrics: BindAddress | None = _option(
        "--metrics", parse_bind, "ADDRESS", "Serve Prometheus metrics over HTTP here.",
        None, default_text="off",
    )  # fmt: skip
    log_format: LogFormat = _option(
        "--log-format", _one_of("text", "json"), "text|json",
        "One line, or one JSON object, per event.", "text",
    )  # fmt: skip
    log_level: str = _option(
        "--log-level", _one_of(*LEVELS), "|".join(LEVELS), "The least that is logged.", "info"
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            if value is not None:
                _check(option, value)
        if self.slow_skip_s > self.log_seconds:
            raise ConfigError("--slow-skip must not exceed --log-seconds: the log keeps no more than that")
        if self.max_message_bytes > self.log_bytes:
            raise ConfigError("--log-bytes must be at least --max-message-bytes: it holds whole messages")
        self._check_tls()

    def _check_tls(self) -> None:
        given = {"--bind-tls": self.tls_binds, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        missing = [flag for flag, value in given.items() if not value]
        if missing and len(missing) < len(given):
            raise ConfigError(f"{' and '.join(missing)} missing: RTMPS needs {', '.join(given)} together")
        for address in self.tls_binds:
            if address.port and address in self.binds:
                raise ConfigError(f"--bind-tls {address} is an address of --bind: it needs one of its own")

    @property
    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key, if RTMPS is served."""
        return None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key)

    def limits(self) -> Limits:
        """The bounds on one RTMP connection that follow from the options."""
        return Limits(
            max_message_bytes=self.max_message_bytes,
            max_chunks_at_once=CHUNKS_PER_TURN,
            max_partial_bytes=self.max_message_bytes + _PARTIAL_HEADROOM_BYTES,
            handshake_timeout_s=self.handshake_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
        )

    def log_limits(self) -> LogLimits:
        """The bounds on one stream log that follow from the options."""
        return LogLimits(
            max_bytes=self.log_bytes,
            max_ms=round(self.log_seconds * 1000),
            keyframe_wait_ms=round(self.keyframe_wait_s * 1000),
        )

    def stream_rules(self) -> StreamRules:
        """What follows from the options for the streams of a worker."""
        return StreamRules(
            log=self.log_limits(),
            slow=SlowRule(round(self.slow_skip_s * 1000), self.slow_close_s),
            publish_grace_s=self.publish_grace_s,
            play_wait_s=self.play_wait_s,
            publisher_timeout_s=self.publisher_timeout_s,
            replaces=self.on_duplicate == "replace",
        )

    def to_texts(self) -> dict[str, str | list[str]]:
        """Every set option by field name, as the text its declaration reads."""
        texts: dict[str, str | list[str]] = {}
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            if option.repeatable:
                texts[name] = [str(each) for each in value]
            elif value is not None:
                texts[name] = str(value)
        return texts

    @classmethod
    def from_texts(cls, texts: Mapping[str, str | list[str]]) -> EdgeConfig:
        """The inverse of ``to_texts``; ConfigError on an unknown name or a bad value."""
        values: dict[str, Any] = {}
        for name, text in texts.items():
            option = OPTIONS.get(name)
            if option is None:
                raise ConfigError(f"unknown option {name!r}")
            try:
                if isinstance(text, str):
                    values[name] = option.parse(text)
                else:
                    values[name] = tuple(map(option.parse, text))
            except ValueError as error:
                raise ConfigError(f"{option.flag}: {error}") from None
        return cls(**values)


def _check(option: Option, value: Any) -> None:
    values = value if option.repeatable else (value,)
    for each in values:
        try:
            same = option.parse(str(each)) == each
        except ValueError as error:
            raise ConfigError(f"{option.flag}: {error}") from None
        if not same:
            raise ConfigError(f"{option.flag}: {each!r} is not in its plain form")
    for each in values:
        # Port 0 is another free port each time; anything else cannot be had twice.
        if values.count(each) > 1 and not (isinstance(each, BindAddress) and each.port == 0):
            raise ConfigError(f"{option.flag} {each} is given twice")


#: Every option by the name of its field.
OPTIONS: dict[str, Option] = {each.name: each.metadata["option"] for each in dataclasses.fields(EdgeConfig)}
