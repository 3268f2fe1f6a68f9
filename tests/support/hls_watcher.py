"""A viewer of low-latency HLS that stays on one worker and keeps all that it was given."""

from __future__ import annotations

import threading
import time

from support.cluster_process import Edge
from support.hls_checker import Checker, Parsed
from support.http_workers import WorkerClient

_OK = 200
_AGAIN_S = 0.1


class HlsWatcher:
    """Follows ``key`` in a thread of its own: every list, and every file that a list names, once.

    Every list is checked as it comes; the first that breaks a rule ends the thread, and is in ``failure``.
    """

    def __init__(self, edge: Edge, worker: int, key: str) -> None:
        #: The lists, by the part that each of them says comes next.
        self.lists: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.parsed: list[Parsed] = []
        self.failure: BaseException | None = None
        self._key = key
        self._client = WorkerClient(edge, worker)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"{key} at {worker}", daemon=True)
        self._thread.start()

    @property
    def segments(self) -> list[int]:
        """The numbers of the whole segments that it has, in order."""
        stems = [name.removesuffix(".m4s") for name in self.files if name.endswith(".m4s")]
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def stop(self) -> None:
        """Raises what it failed with."""
        self._stopping = True
        self._thread.join(60)
        self._client.close()
        if self.failure is not None:
            raise AssertionError(f"{self._thread.name} after {len(self.parsed)} lists") from self.failure

    def _run(self) -> None:
        try:
            checker = Checker()
            query = ""
            while not self._stopping and self.failure is None:
                answer = self._client.get(f"/{self._key}/media.m3u8{query}")
                query = ""
                if answer.status != _OK:
                    time.sleep(_AGAIN_S)
                    continue
                text = answer.body.decode()
                parsed = checker.check(text)
                self._keep(text, parsed)
                if parsed.is_over:
                    return
                if parsed.hint:
                    number, part, _ = parsed.hint.split(".")
                    query = f"?_HLS_msn={number}&_HLS_part={part}"
                else:
                    time.sleep(_AGAIN_S)
        except BaseException as failure:
            self.failure = failure

    def _keep(self, text: str, parsed: Parsed) -> None:
        self.parsed.append(parsed)
        before = self.lists.setdefault(parsed.hint, text)
        assert before == text, f"two lists before {parsed.hint}:\n{before}\n{text}"
        partial = [parsed.partial] if parsed.partial is not None else []
        for listed in [*parsed.segments, *partial]:
            for name in (listed.init, *(part[0] for part in listed.parts), listed.uri):
                if name and name not in self.files:
                    answer = self._client.get(f"/{self._key}/{name}")
                    assert answer.status == _OK, f"{name}: {answer}"
                    self.files[name] = answer.body
