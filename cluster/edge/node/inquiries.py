"""What a worker answers when it is asked through a router, and does when it is told to.

An answer is made between two turns of the media: a page ends when its time is over, however many rows it
has then. Who wants the rest asks again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from cluster import __version__
from cluster.core.bus import questions
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.questions import Answer, Done, Fault, QuestionError
from cluster.core.bus.trace import TraceRow
from cluster.core.errors import MisuseError
from cluster.edge.node.serving import Serving
from cluster.edge.node.status_pipe import Asked
from cluster.edge.node.stream_rows import StreamRows
from cluster.process import usage

#: The rows of a page are made for no longer than this; to put them into words takes as long again.
PAGE_S = 0.0005
#: Sessions looked at for one page, whether they pass its filters or not.
MAX_LOOKED_AT = 2_000
#: Orders that are remembered, so that one that comes twice is carried out once.
MAX_ORDERS = 1_024
#: An operator's word for it, in logs and to peers, is cut here.
_WHY_CHARACTERS = 200


class Routers(Protocol):
    """What the link knows of the routers."""

    def router_troubles(self) -> dict[str, str | None]: ...


class Inquiries:
    """The answers of one worker. ``ask_node`` passes on what is the business of its supervisor; ``trace``
    says what there is to say of the way of a stream."""

    def __init__(
        self, serving: Serving, identity: WorkerIdentity, routers: Routers,
        ask_node: Callable[[Asked], None], clock: Callable[[], float] = time.monotonic,
        trace: Callable[[str], TraceRow] = lambda key: TraceRow(),
    ) -> None:  # fmt: skip
        self._serving = serving
        self._identity = identity
        self._routers = routers
        self._ask_node = ask_node
        self._clock = clock
        self._began_at = clock()
        self._rows = StreamRows(serving.streams)
        self._orders: OrderedDict[Any, Done] = OrderedDict()
        self._answers: dict[type, Callable[[Any], Answer]] = {
            questions.AskSummary: self._summary,
            questions.AskSessions: self._sessions,
            questions.AskStreams: self._streams,
            questions.AskTrace: lambda asked: trace(asked.key),
        }
        self._actions: dict[type, Callable[[Any], Done]] = {
            questions.Kick: self._kick,
            questions.EndStream: self._end_stream,
            questions.Drain: lambda order: self._pass_on(Asked("drain", order.deadline_s)),
            questions.Undrain: lambda _: self._pass_on(Asked("undrain")),
            questions.Reload: lambda _: self._pass_on(Asked("reload")),
        }

    def answer(self, text: bytes) -> bytes:
        """The answer to the question in ``text``, whoever has asked it."""
        try:
            question = questions.decode_question(text)
            self._serving.turn.begin()
            make = self._answers.get(type(question), self._carry_out)
            return questions.encode_answer(make(question))
        except (QuestionError, MisuseError) as error:
            return questions.encode_answer(Fault(str(error)))

    # ---- questions ---------------------------------------------------------------------------

    def _summary(self, _: questions.AskSummary) -> questions.Summary:
        counters = self._serving.streams.counters
        return questions.Summary(
            __version__, round((self._clock() - self._began_at) * 1000), self._serving.is_draining,
            self._serving.connections, counters.publishers, counters.players, counters.streams,
            counters.bytes_received, counters.bytes_sent, usage.memory_bytes(), usage.cpu_seconds(),
            self._routers.router_troubles(), self._serving.http_urls,
        )  # fmt: skip

    def _sessions(self, asked: questions.AskSessions) -> questions.SessionPage:
        until = self._clock() + PAGE_S
        limit = max(1, min(asked.limit, questions.MAX_PAGE_ROWS))
        rows: list[questions.SessionRow] = []
        if asked.number:
            session = self._serving.roster.get(asked.number)
            return questions.SessionPage(() if session is None else (session.row(),), None)
        for looked_at, (number, session) in enumerate(self._serving.roster.above(asked.after), 1):
            role, key = session.use
            if (
                (not asked.role or asked.role == role)
                and (not asked.key or _matches(asked.key, key))
                and (not asked.kind or asked.kind == session.kind)
            ):
                rows.append(session.row())
                is_over = len(rows) >= limit or self._clock() >= until
            else:
                is_over = looked_at >= MAX_LOOKED_AT
            if is_over:
                return questions.SessionPage(tuple(rows), number)
        return questions.SessionPage(tuple(rows), None)

    def _streams(self, asked: questions.AskStreams) -> questions.StreamRows:
        until = self._clock() + PAGE_S
        rows: list[questions.StreamRow] = []
        looked_at = 0
        for key in asked.keys[: questions.MAX_PAGE_STREAMS]:
            row = self._rows.row(key)
            if row is not None:
                rows.append(row)
            looked_at += 1
            if self._clock() >= until:
                break
        return questions.StreamRows(tuple(rows), looked_at)

    # ---- orders ------------------------------------------------------------------------------

    def _carry_out(self, order: Any) -> Done:
        done = self._orders.get(order)
        if done is None:
            done = self._orders[order] = self._actions[type(order)](order)
            while len(self._orders) > MAX_ORDERS:
                self._orders.popitem(last=False)
        return done

    def _kick(self, order: questions.Kick) -> Done:
        session = self._serving.roster.get(order.number)
        if session is None:
            return Done(is_found=False)
        session.kick(_why(order.why))
        return Done(is_found=True)

    def _end_stream(self, order: questions.EndStream) -> Done:
        why = _why(order.why)
        is_found = self._serving.streams.publishing.end_by_operator(order.key, why)
        return Done(is_found)

    def _pass_on(self, asked: Asked) -> Done:
        self._ask_node(asked)
        return Done(is_found=True)


def _why(said: str) -> str:
    shown = "".join(each if each.isprintable() else " " for each in said[:_WHY_CHARACTERS]).strip()
    return f"ended by an operator: {shown}" if shown else "ended by an operator"


def _matches(wanted: str, key: str) -> bool:
    return key.startswith(wanted[:-1]) if wanted.endswith("*") else key == wanted
