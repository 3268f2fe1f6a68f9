"""What passes through a registry: requests for snapshots, questions to workers, and their answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from cluster.core.bus import control
from cluster.core.bus.control import RoutedMessage
from cluster.core.bus.leases import Lease
from cluster.router.questions import Questions
from cluster.router.records import Worker
from cluster.router.refusals import Refusals


class Passing:
    """``workers`` by id and ``streams`` by key are the registry's own; ``send`` gives one a message."""

    def __init__(
        self, workers: Mapping[str, Worker], streams: Mapping[str, Lease], refusals: Refusals,
        send: Callable[[str, RoutedMessage], None],
    ) -> None:  # fmt: skip
        self._workers = workers
        self._streams = streams
        self._refusals = refusals
        self._send = send
        self._questions = Questions()

    def snapshot_request(self, worker_id: str, request: control.SnapshotRequest, now: float) -> None:
        """To the origin of the stream."""
        stream = self._streams.get(request.key)
        if stream is None or stream.owner == worker_id:
            self._send(worker_id, control.NoStream(request.key, request.request_id, worker_id))
        else:
            forwarded = control.SnapshotRequest(request.key, request.request_id, worker_id)
            self._workers[worker_id].asked.note(request.request_id, stream.owner)
            self._send(stream.owner, forwarded)

    def snapshot(
        self, worker_id: str, reply: control.SealedSnapshot | control.NoStream, now: float
    ) -> None:
        """The answer of the worker that was asked, once; a snapshot only as fast as it may come."""
        requester = self._workers.get(reply.requester)
        if requester is None:
            return
        refusal = requester.asked.refusal(worker_id, reply, now)
        if refusal is None:
            self._send(reply.requester, reply)
        else:
            self._refusals.note(refusal, worker_id)

    def question(self, asker: str, question: control.Question, now: float) -> None:
        """To the worker that is asked. Who asks for too much at once is not answered."""
        worker_id = question.worker
        if worker_id not in self._workers:
            self._send(asker, control.Answer(question.request_id, b"", asker, is_known=False))
        elif self._questions.note(asker, question, now):
            self._send(worker_id, dataclasses.replace(question, asker=asker))
        else:
            self._refusals.note("question", asker)

    def answer(self, worker_id: str, answer: control.Answer, now: float) -> None:
        """To whoever has asked."""
        if self._questions.close(worker_id, answer, now):
            self._send(answer.asker, answer)
        else:
            self._refusals.note("answer_unasked", worker_id)
