"""Bad input has a name and a file: what a peer sent, and the one reason its session ends with.

``NAME.REASON.bin`` holds what follows the handshake; with ``raw_`` in front, what stands in its place;
with ``_after_connect`` behind the reason, the connect in it is accepted. Every bug of this kind adds one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from session_support import fresh_server, handshaken

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.rtmp.events import ConnectRequested
from cluster.core.rtmp.server_session import ServerSession

FILES = sorted((Path(__file__).parent / "bad_inputs").glob("*.bin"))


def session_for(file: Path) -> ServerSession:
    if file.name.startswith("raw_"):
        return fresh_server()
    session = handshaken().session
    assert isinstance(session, ServerSession)
    return session


def ends_with(file: Path, pieces: list[bytes]) -> CloseReason | None:
    """The reason, whenever it comes; None if the session takes it all."""
    session = session_for(file)
    try:
        for piece in pieces:
            for event in session.receive(piece, 0.0):
                if isinstance(event, ConnectRequested):
                    session.accept_connect()
                    session.receive(b"", 0.0)
        session.tick(1.0)
    except PeerViolation as violation:
        return violation.reason
    return None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_ends_with_its_reason_however_it_is_cut(file: Path) -> None:
    data = file.read_bytes()
    reason = CloseReason(file.stem.rpartition(".")[2].removesuffix("_after_connect"))
    assert ends_with(file, [data]) is reason
    assert ends_with(file, [bytes((byte,)) for byte in data]) is reason
    for at in range(1, len(data), max(1, len(data) // 64)):
        assert ends_with(file, [data[:at], data[at:]]) is reason


def test_the_corpus_is_there() -> None:
    assert len(FILES) >= 20
