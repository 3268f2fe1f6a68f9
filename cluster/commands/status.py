"""``rtmp-cluster status``: what the routers know, of a cluster or of what runs on this host."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus import cluster_key
from cluster.bus.cluster_key import ClusterKey, KeyFault
from cluster.bus.reach import EVENTS, Reach, Reached
from cluster.commands.status_table import Answer, as_dict, summary, table
from cluster.core.bus import control, control_coding
from cluster.core.bus.cluster_status import LOST
from cluster.core.bus.control_coding import ControlError
from cluster.core.bus.endpoints import EndpointError, Endpoints, at_address, endpoints
from cluster.core.errors import EnvironmentFault
from cluster.process import running
from cluster.process.running import Note
from cluster.process.words import printable, reason_of
from cluster.router.config import DEFAULT_ROUTER_BIND

#: Routers are asked all at once, and waited for this long.
ANSWER_TIMEOUT_S = 2.0
#: One that does not let us in is not waited for longer than this: its refusals are all the same.
_REFUSED_AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """A router to ask, and the key for it."""

    router: Endpoints
    key: ClusterKey | None = None


def status(routers: Sequence[str], key_file: Path | None, as_json: bool) -> int:
    """Print what ``routers`` know, or with none what runs on this host; exit code 1 if nobody answers."""
    answers = ask(targets(routers, key_file))
    is_answered = any(answer.status is not None for answer in answers)
    if not routers and not is_answered and not running.found():
        click.echo(f"rtmp-cluster: {printable(nothing_found())}", err=True)
        return 1
    http = [] if routers else sorted({url for note in running.found() for url in note.http})
    if as_json:
        click.echo(json.dumps(as_dict(answers) | {"http": http}))
    else:
        click.echo(f"{summary(answers)}\n\n{table(answers)}")
        if http:
            click.echo(f"\nHTTP on this host: {printable(', '.join(http))}")
    return 0 if is_answered else 1


def targets(routers: Sequence[str], key_file: Path | None) -> list[Target]:
    """What to ask: ``routers``, or with none what is known to run on this host. EnvironmentFault if a name
    is unknown or a key cannot be read."""
    key = None if key_file is None else cluster_key.load(key_file)
    if routers:
        return [Target(each, key) for each in resolved(routers)]
    notes = running.found()
    found: dict[str, Target] = {}
    # A router knows its own key best; an edge's may be the wrong one.
    for note in sorted(notes, key=lambda note: note.command != "router"):
        note_key = key or _key_of(note)
        for router in _noted(note.routers):
            for each in _addresses(router) or [router]:
                found.setdefault(each.base, Target(each, note_key))
    for note in notes:
        for router in _noted([] if note.own_router is None else [note.own_router]):
            found.setdefault(router.base, Target(router))
    return list(found.values()) or [Target(endpoints(DEFAULT_ROUTER_BIND), key)]


def _noted(routers: Sequence[str]) -> Iterator[Endpoints]:
    """The routers of a note that are addresses: root reads what others left, and it may be anything."""
    for router in routers:
        with contextlib.suppress(EndpointError):
            yield endpoints(router)


def _key_of(note: Note) -> ClusterKey | None:
    """The key that goes with it. Without it, the answer will be that one is wanted."""
    if note.cluster_key is None:
        return None
    with contextlib.suppress(KeyFault):
        return cluster_key.load(Path(note.cluster_key))
    return None


def _addresses(router: Endpoints) -> list[Endpoints]:
    """The routers that it stands for; none if it has a name that nobody knows."""
    with contextlib.suppress(EnvironmentFault):
        return resolved([router.base])
    return []


def nothing_found() -> str:
    """What was looked for in vain."""
    where = ", ".join(map(str, running.places()))
    return (
        f"no edge or router of this user is known to run on this host (looked in {where}), and no router "
        f"answers at {DEFAULT_ROUTER_BIND}: start one (rtmp-cluster edge), or name a router of the cluster "
        "with --router tcp://HOST:1936, and --cluster-key FILE if it has one"
    )


def resolved(routers: Sequence[str]) -> list[Endpoints]:
    """Each router by its address: a name may stand for several. EnvironmentFault if nobody knows it."""
    found: dict[str, Endpoints] = {}
    for each in map(endpoints, routers):
        bases = [each.base]
        if each.is_name:
            try:
                infos = socket.getaddrinfo(each.host, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:  # the latter: no name at all, as a..b
                raise EnvironmentFault(f"{each.base}: {reason_of(error)}") from None
            families = [info for info in infos if info[0] == socket.AF_INET] or infos
            bases = [at_address(each, str(info[4][0])) for info in families]
        found |= {base: endpoints(base) for base in bases}
    return list(found.values())


@dataclass(slots=True)
class _Question:
    """A router that has not answered yet."""

    dealer: zmq.Socket[bytes]
    monitor: zmq.Socket[bytes]
    reached: Reached

    def close(self) -> None:
        self.dealer.disable_monitor()
        self.monitor.close(0)
        self.dealer.close(0)


def ask(asked: Sequence[Target]) -> list[Answer]:
    """One answer for each router, in their order."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
    poller = zmq.Poller()
    answers: dict[str, Answer] = {}
    waiting: dict[str, _Question] = {}
    began_at = time.monotonic()
    try:
        for target in asked:
            base = target.router.base
            if target.router.is_name:
                answers[base] = Answer(base, None, 0.0, Reach.NO_NAME)
            else:
                waiting[base] = _question(context, target, poller)
        while waiting and (left_s := _left_s(waiting, time.monotonic() - began_at)) > 0:
            ready = dict(poller.poll(int(left_s * 1000) + 1))
            now = time.monotonic()
            for base, question in list(waiting.items()):
                if question.monitor in ready:
                    event = parse_monitor_message(question.monitor.recv_multipart())
                    question.reached.event(event["event"], event["value"], now)
                if question.dealer in ready:
                    known = _decoded(question.dealer.recv_multipart())
                    if known is not None:
                        answers[base] = Answer(base, known, (now - began_at) * 1000)
                        poller.unregister(question.dealer)
                        poller.unregister(question.monitor)
                        waiting.pop(base).close()
    finally:
        for question in waiting.values():
            question.close()
        context.term()
    unanswered = {base: Answer(base, None, 0.0, each.reached.reach) for base, each in waiting.items()}
    return [(answers | unanswered)[target.router.base] for target in asked]


def _question(context: zmq.Context[zmq.Socket[bytes]], target: Target, poller: zmq.Poller) -> _Question:
    """Ask a router."""
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.ipv6 = target.router.is_ipv6
    has_key = target.key is not None and not target.router.is_local
    if target.key is not None and has_key:
        target.key.secure_worker(dealer)
    monitor = dealer.get_monitor_socket(EVENTS)
    dealer.connect(target.router.control)
    dealer.send_multipart(control_coding.encode(control.StatusRequest()))
    poller.register(dealer, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    return _Question(dealer, monitor, Reached(has_key))


def _left_s(waiting: dict[str, _Question], elapsed_s: float) -> float:
    """How long there is still something to wait for."""
    is_hopeless = all(question.reached.reach.is_refusal for question in waiting.values())
    return (_REFUSED_AFTER_S if is_hopeless else ANSWER_TIMEOUT_S) - elapsed_s


def _decoded(frames: list[bytes]) -> control.ClusterStatus | None:
    try:
        message = control_coding.decode(frames)
    except ControlError:
        return None
    if not isinstance(message, control.ClusterStatus):
        return None
    here = [worker for worker in message.workers if LOST not in worker.load]
    return control.ClusterStatus(here, message.streams)
