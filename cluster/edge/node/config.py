"""The edge's options, in groups: each is declared once, and everything else about it follows from that.

How an option is spelled on the command line, in the environment and in a file is said in
``cluster.process.options``. What a worker process is handed comes from the declarations too.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cluster.core.bus.endpoints import EndpointError, endpoints
from cluster.core.limits import MIB, Limits
from cluster.core.media.stream_log import LogLimits
from cluster.edge.node.address_options import AddressOptions
from cluster.edge.peers.places import PlaceBounds
from cluster.edge.rtmp.work_budget import WORK_PER_TURN
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.rules import StreamRules, YieldRule
from cluster.net.addresses import BindAddress, parse_bind
from cluster.net.latency_budget import MOST_MS, BudgetRule, parse_budget
from cluster.net.listener import UNACKNOWLEDGED_S
from cluster.process.logs import LEVELS, LogFormat
from cluster.process.options import (
    ConfigError,
    Decimal,
    Option,
    Whole,
    declared_in,
    file_name,
    one_of,
    option,
    secret,
    yes_or_no,
)

_LIMITS = Limits()

#: RTMP 1.0 section 5.3.1.2: the message length field has three bytes.
_LARGEST_MESSAGE_BYTES = 0xFF_FFFF

#: Control messages may arrive between the chunks of one message of the largest size.
_PARTIAL_HEADROOM_BYTES = 2 * MIB

_LONGEST_S = 86_400.0

#: Where a container's bound on memory is seen from inside, versions 2 and 1.
_CGROUP_BOUNDS = (
    Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # fmt: skip


def _router(text: str) -> str:
    try:
        return endpoints(text).base
    except EndpointError as error:
        raise ValueError(str(error)) from None


def _node_name(text: str) -> str:
    if not text or len(text) > 64 or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not a name of 1 to 64 visible characters without spaces")
    return text


def available_cpus() -> int:
    """The CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int:
    """The memory this process may take: the machine's, or less if its control group has a bound."""
    bounds = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_BOUNDS:
        with contextlib.suppress(OSError, ValueError):  # not this version, or "max"
            bounds.append(int(path.read_text()))
    return min(bounds)


_SECONDS = "SECONDS"
_positive_s = Decimal(0.1, _LONGEST_S)
_any_s = Decimal(0.0, _LONGEST_S)


@dataclass(frozen=True, slots=True)
class EdgeConfig(AddressOptions):
    """One node's configuration, checked; ConfigError otherwise. Times in seconds, sizes in bytes."""

    workers: int = option(
        "--workers", Whole(1, 1024), "N", "Worker processes.",
        available_cpus, default_text="the CPUs this process may use", group="node",
    )  # fmt: skip
    routers: tuple[str, ...] = option(
        "--router", _router, "ADDRESS",
        "A router of the cluster: tcp://HOST:PORT or ipc://PATH; a host name stands for a router at each "
        "of its addresses. Repeatable.",
        (), default_text="a router of its own", repeatable=True, group="cluster",
    )  # fmt: skip
    cluster_key: Path | None = option(
        "--cluster-key", file_name, "FILE",
        "The key that routers and nodes share, made by keygen: it encrypts their links over tcp.",
        None, default_text="none", group="cluster",
    )  # fmt: skip
    insecure_links: bool = option(
        "--insecure", yes_or_no, "",
        "Start without --cluster-key though a --router is on another host: the network is guarded.",
        False, group="cluster", default_text="false",
    )  # fmt: skip
    node_name: str = option(
        "--node-name", _node_name, "NAME",
        "This node's name in logs and at the routers, for people: better no other node has it.",
        socket.gethostname, default_text="the host name", group="node",
    )  # fmt: skip
    latency_budget: BudgetRule = option(
        "--latency-budget", parse_budget, "MS|auto[:MS]",
        "Milliseconds a message may wait so that more go out in one write: less CPU for more delay. auto: "
        "none while a worker has time, up to 50 (or MS) as its load grows.",
        BudgetRule(MOST_MS, auto=True), default_text="auto", group="network",
    )  # fmt: skip
    audio_hold_ms: float = option(
        "--audio-hold", Decimal(0, 1000), "MS",
        "Milliseconds audio may wait for the next video frame, to go out with it: less CPU. 0: not at all.",
        40.0, group="network",
    )  # fmt: skip
    hls_segment_s: float = option(
        "--hls-segment", Decimal(0.5, 10), _SECONDS,
        "How long segments of streams published here are at least, for HTTP; they end at keyframes.",
        2.0, group="streams",
    )  # fmt: skip
    play_wait_s: float = option(
        "--play-wait", _any_s, _SECONDS, "How long a player waits for a stream nobody publishes yet.",
        30.0, group="streams",
    )  # fmt: skip
    publish_grace_s: float = option(
        "--publish-grace", _any_s, _SECONDS, "How long players are kept after their publisher left.",
        15.0, group="streams",
    )  # fmt: skip
    keyframe_wait_s: float = option(
        "--keyframe-wait", _any_s, _SECONDS,
        "How long video is held back for a keyframe to begin with; 0 begins anywhere.",
        10.0, group="streams",
    )  # fmt: skip
    publisher_timeout_s: float = option(
        "--publisher-timeout", _positive_s, _SECONDS,
        "A publisher that has sent nothing for this long may be taken over.", 10.0, group="streams",
    )  # fmt: skip
    on_duplicate: Literal["refuse", "replace"] = option(
        "--on-duplicate", one_of("refuse", "replace"), "refuse|replace",
        "What happens to a second publisher of a live stream key: it is refused, or takes over.",
        "refuse", group="streams",
    )  # fmt: skip
    publish_idle_s: float = option(
        "--publish-idle", _any_s, _SECONDS,
        "A publish that has brought no media for this long ends; 0 is never.", 30.0, group="streams",
    )  # fmt: skip
    drain_timeout_s: float = option(
        "--drain-timeout", _any_s, _SECONDS, "How long sessions may go on after SIGTERM or Ctrl-C.",
        10.0, group="node",
    )  # fmt: skip
    max_connections: int = option(
        "--max-connections", Whole(1, 1_000_000), "N",
        "Connections per worker; never more than its limit on open files allows.", 10_000, group="limits",
    )  # fmt: skip
    publisher_reserve: int = option(
        "--publisher-reserve", Whole(0, 90), "PERCENT",
        "How much of --max-connections and of the bandwidth is for those who publish: players are refused "
        "before.",
        5, group="limits",
    )  # fmt: skip
    max_half_open: int = option(
        "--max-half-open", Whole(2, 1_000_000), "N",
        "Connections per worker that have not published or played yet, half as many from one address. "
        "Beyond it the oldest is closed.",
        4_000, group="limits",
    )  # fmt: skip
    max_from_address: int = option(
        "--max-from-address", Whole(0, 1_000_000), "N",
        "Connections from one IPv4 address, or one /64 of IPv6, to all workers; 0 is any number.",
        0, group="limits",
    )  # fmt: skip
    new_from_address: int = option(
        "--new-from-address", Whole(0, 100_000), "N",
        "New ones of these a second, ten times as many at once; 0 is any number.", 0, group="limits",
    )  # fmt: skip
    max_bandwidth: int = option(
        "--max-bandwidth", Whole(0, 2**50), "BYTES_PER_S",
        "What all workers may send to players together: beyond it newcomers are refused, players "
        "--publisher-reserve earlier. 0 is any number.",
        0, group="limits",
    )  # fmt: skip
    max_message_bytes: int = option(
        "--max-message-bytes", Whole(65_536, _LARGEST_MESSAGE_BYTES), "BYTES",
        "The largest RTMP message a peer may send.", _LIMITS.max_message_bytes, group="limits",
    )  # fmt: skip
    handshake_timeout_s: float = option(
        "--handshake-timeout", _positive_s, _SECONDS,
        "From accepting a connection to the end of its handshake.",
        _LIMITS.handshake_timeout_s, group="limits",
    )  # fmt: skip
    idle_timeout_s: float = option(
        "--idle-timeout", _positive_s, _SECONDS,
        "How long a connection may neither publish nor play.", _LIMITS.idle_timeout_s, group="limits",
    )  # fmt: skip
    log_bytes: int = option(
        "--log-bytes", Whole(MIB, 1024 * MIB), "BYTES",
        "The most one worker keeps of one stream, for joining and slow players.", 32 * MIB, group="streams",
    )  # fmt: skip
    worker_bytes: int | None = option(
        "--worker-bytes", Whole(64 * MIB, 1024 * 1024 * MIB), "BYTES",
        "Memory that all streams of one worker may take. Beyond it the largest are cut, and then ended.",
        None, default_text="half of the machine's memory, shared by the workers", group="streams",
    )  # fmt: skip
    log_seconds: float = option(
        "--log-seconds", Decimal(1, 600), _SECONDS, "The same bound in media time.",
        30.0, group="streams",
    )  # fmt: skip
    slow_skip_s: float = option(
        "--slow-skip", _positive_s, _SECONDS,
        "Media time a player may lag before it is moved to the newest keyframe.", 5.0, group="streams",
    )  # fmt: skip
    slow_close_s: float = option(
        "--slow-close", _positive_s, _SECONDS,
        "How long a player may fail to catch up before it is closed.", 30.0, group="streams",
    )  # fmt: skip
    metrics: BindAddress | None = option(
        "--metrics", parse_bind, "ADDRESS", "Serve Prometheus metrics over HTTP here.",
        None, default_text="off", group="network",
    )  # fmt: skip
    events_queue: Path | None = option(
        "--events-queue", file_name, "FILE",
        "Keep events that wait to be delivered in this file, so that they survive the node.",
        None, default_text="none: they survive any process of the node, not the node", group="events",
    )  # fmt: skip
    events_kept: int = option(
        "--events-kept", Whole(100, 10_000_000), "N",
        "Events that may wait to be delivered; beyond it the oldest are dropped.", 100_000, group="events",
    )  # fmt: skip
    publish_key: str | None = option(
        "--publish-key", secret, "SECRET",
        "What publishers have to show, as ?key=SECRET behind the name; better given by its variable.",
        None, default_text="none", group="access", is_secret=True,
    )  # fmt: skip
    api: BindAddress | None = option(
        "--api", parse_bind, "ADDRESS",
        "Serve the API for operators and the health checks over HTTP here, such as 127.0.0.1:9997.",
        None, default_text="off", group="network",
    )  # fmt: skip
    api_token: Path | None = option(
        "--api-token", file_name, "FILE",
        "Tokens that may do all over the API, one a line; without any, only this host may ask.",
        None, default_text="none", group="network",
    )  # fmt: skip
    api_read_token: Path | None = option(
        "--api-read-token", file_name, "FILE", "Tokens that may only look.",
        None, default_text="none", group="network",
    )  # fmt: skip
    log_format: LogFormat = option(
        "--log-format", one_of("text", "json"), "text|json",
        "One line, or one JSON object, per event.", "text", group="logging",
    )  # fmt: skip
    log_level: str = option(
        "--log-level", one_of(*LEVELS), "|".join(LEVELS), "The least that is logged.",
        "info", group="logging",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, declared in OPTIONS.items():
            value = getattr(self, name)
            if value is not None:
                _check(name, declared, value)
        for contradiction in self._contradictions():
            raise contradiction

    def _contradictions(self) -> Iterator[ConfigError]:
        if self.slow_skip_s > self.log_seconds:
            yield ConfigError(
                "--slow-skip must not exceed --log-seconds: the log keeps no more than that",
                ("slow_skip_s", "log_seconds"),
            )
        if self.worker_bytes is not None and self.log_bytes > self.worker_bytes:
            yield ConfigError(
                "--worker-bytes must be at least --log-bytes: it holds the logs of all streams",
                ("worker_bytes", "log_bytes"),
            )
        if self.max_message_bytes > self.log_bytes:
            yield ConfigError(
                "--log-bytes must be at least --max-message-bytes: it holds whole messages",
                ("log_bytes", "max_message_bytes"),
            )
        yield from self._contradictory_addresses()

    @property
    def unacknowledged_s(self) -> float:
        """After how long TCP gives a connection up that takes nothing: later than we give up a slow player,
        so that it is told why."""
        return max(UNACKNOWLEDGED_S, 2 * self.slow_close_s)

    def place_bounds(self) -> PlaceBounds:
        """The bounds on the connections of a worker that follow from the options."""
        return PlaceBounds(
            connections=self.max_connections,
            players=self.max_connections - self.max_connections * self.publisher_reserve // 100,
            half_open=self.max_half_open,
            from_one_network=self.max_from_address,
            new_per_s=self.new_from_address,
            proxies=self.proxies,
        )

    def limits(self) -> Limits:
        """The bounds on one RTMP connection that follow from the options."""
        return Limits(
            max_message_bytes=self.max_message_bytes,
            max_work_at_once=WORK_PER_TURN,
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
            contest=YieldRule(self.publisher_timeout_s, self.on_duplicate == "replace"),
            publish_grace_s=self.publish_grace_s,
            play_wait_s=self.play_wait_s,
            audio_hold_s=self.audio_hold_ms / 1000,
            worker_bytes=self.worker_bytes or max(64 * MIB, available_bytes() // 2 // self.workers),
            segment_s=self.hls_segment_s,
        )

    def to_texts(self) -> dict[str, str | list[str]]:
        """Every set option by field name, as the text its declaration reads."""
        texts: dict[str, str | list[str]] = {}
        for name, declared in OPTIONS.items():
            value = getattr(self, name)
            if declared.repeatable:
                texts[name] = [declared.text_of(each) for each in value]
            elif value is not None:
                texts[name] = declared.text_of(value)
        return texts

    @classmethod
    def from_texts(cls, texts: Mapping[str, str | list[str]]) -> EdgeConfig:
        """The inverse of ``to_texts``; ConfigError on an unknown name or a bad value."""
        values: dict[str, Any] = {}
        for name, text in texts.items():
            declared = OPTIONS.get(name)
            if declared is None:
                raise ConfigError(f"unknown option {name!r}")
            try:
                if isinstance(text, str):
                    values[name] = declared.parse(text)
                else:
                    values[name] = tuple(map(declared.parse, text))
            except ValueError as error:
                raise ConfigError(f"{declared.flag}: {error}") from None
        return cls(**values)


def _check(name: str, declared: Option, value: Any) -> None:
    values = value if declared.repeatable else (value,)
    for each in values:
        try:
            same = declared.parse(declared.text_of(each)) == each
        except ValueError as error:
            raise ConfigError(f"{declared.flag}: {error}", (name,)) from None
        if not same:
            raise ConfigError(f"{declared.flag}: {each!r} is not in its plain form", (name,))
    for each in values:
        # Port 0 is another free port each time; anything else cannot be had twice.
        if values.count(each) > 1 and not (isinstance(each, BindAddress) and each.port == 0):
            raise ConfigError(f"{declared.flag} {each} is given twice", (name,))


#: Every option by the name of its field.
OPTIONS: Mapping[str, Option] = declared_in(EdgeConfig)
