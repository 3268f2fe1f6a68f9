"""Answers that are known for a while, where a rule says so."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict

from cluster.edge.peers.access import Access, Verdict
from cluster.process.stranger_lines import host_of

#: Answers that a worker keeps. The one that was not used for longest makes room.
MAX_CACHED_ANSWERS = 10_000


class AnswerCache:
    """Answers to questions that are alike: the same credentials, key, action, protocol and address.

    What credentials somebody has shown is kept as a digest with a key of this process alone.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def place(self, access: Access, user: str) -> bytes:
        """Where the answer is kept; ``user``: who has been proven to ask."""
        parts = (
            access.action, access.key, host_of(access.peer), access.spoken, user,
            access.query, access.app_query, access.proven_user, access.authorization,
        )  # fmt: skip
        return hashlib.blake2b(json.dumps(parts).encode(), key=self._secret, digest_size=32).digest()

    def get(self, place: bytes, now_s: float) -> Verdict | None:
        """The answer, if it is known and still counts."""
        until, verdict = self._known.get(place, (now_s, None))
        if verdict is None:
            return None
        if until <= now_s:
            del self._known[place]
            return None
        self._known.move_to_end(place)
        return verdict

    def put(self, place: bytes, verdict: Verdict, until_s: float) -> None:
        """Keep an answer."""
        if len(self._known) >= MAX_CACHED_ANSWERS and place not in self._known:
            self._known.popitem(last=False)
        self._known[place] = (until_s, verdict)
        self._known.move_to_end(place)
