"""A judge of all protocols, as the admission of RTMP: what its commands say becomes one question."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from cluster.core.keys import MAX_KEY_BYTES, clean_name
from cluster.core.rtmp.events import ConnectRequested, PlayRequested, PublishRequested
from cluster.core.rtmp.status import field
from cluster.edge.peers.access import Access, Action, Allow, Deny, Judge, Refused, Verdict
from cluster.edge.peers.access_control import AccessControl
from cluster.edge.rtmp.connection import Connection

#: What encoders say in ``connect`` who are going to publish: FFmpeg and librtmp, and so OBS.
_PUBLISHES: Final = "nonprivate"

#: The end of a dialogue that has failed (``core.rtmp.adobe_auth``).
_FAILED: Final = "reason=authfailed"


class Introduction(NamedTuple):
    """What a peer has said of itself in ``connect``, without what it is to publish or play.

    ``publishes``: it has said that it is going to. ``proven_to``: who has been shown the password of
    ``proven_user``, if anybody has.
    """

    app: str = ""
    publishes: bool = False
    app_query: str = ""
    proven_user: str = ""
    tc_url: str = ""
    page_url: str = ""
    swf_url: str = ""
    proven_to: Judge | None = None


class JudgedAdmission:
    """See ``Admission``. ``clock``: seconds since 1970."""

    def __init__(self, control: AccessControl, clock: Callable[[], float] = time.time) -> None:
        self._control = control
        self._clock = clock

    async def connect(self, connection: Connection, request: ConnectRequested) -> Verdict:
        """Let everybody connect, but for whom the rules want to be shown who it is first."""
        fields = request.command_object
        tc_url, tc_query = clean_name(request.tc_url)
        query, proven = request.query or tc_query, ""
        judge = self._control.judge
        publishes = field(fields, "type") == _PUBLISHES
        if judge is not None:
            reject, proven = judge.challenge(
                request.app, query, publishes=publishes, now_s=self._clock()
            )
            if reject:
                if _FAILED in reject:
                    action: Action = "publish" if publishes else "play"
                    app = request.app[:MAX_KEY_BYTES]  # it may be longer, and stands in a line
                    access = self._access(connection, action, app, "", {})
                    self._control.denied(access, Refused.BAD_CREDENTIALS, connection.who())
                    await self._control.hold()
                return Deny(reject, why=Refused.NO_CREDENTIALS)
        page_url, swf_url = (clean_name(field(fields, name))[0] for name in ("pageUrl", "swfUrl"))
        connection.introduction = Introduction(
            request.app, publishes, query, proven, tc_url, page_url, swf_url, judge if proven else None
        )
        return Allow()

    async def publish(self, connection: Connection, key: str, request: PublishRequested) -> Verdict:
        details = {"type": request.publish_type}
        return await self._decide(
            connection, self._access(connection, "publish", key, request.query, details)
        )

    async def play(self, connection: Connection, key: str, request: PlayRequested) -> Verdict:
        details = {"start": request.start, "duration": request.duration, "reset": request.reset}
        return await self._decide(connection, self._access(connection, "play", key, request.query, details))

    async def _decide(self, connection: Connection, access: Access) -> Verdict:
        answer = self._control.decide(access, connection.who())
        return answer if isinstance(answer, Allow | Deny) else await answer

    def _access(
        self, connection: Connection, action: Action, key: str, query: str, details: Mapping[str, object]
    ) -> Access:
        said = connection.introduction or Introduction()
        return Access(
            action, key, connection.peer, "rtmps" if connection.is_secure else "rtmp",
            str(connection.who()["id"]), query=query, app_query=said.app_query,
            proven_user=self._proven_user(said), agent=connection.session.flash_ver, tc_url=said.tc_url,
            page_url=said.page_url, swf_url=said.swf_url, details=details,
        )  # fmt: skip

    def _proven_user(self, said: Introduction) -> str:
        judge = self._control.judge
        if judge is None or not said.proven_user or said.proven_to is judge:
            return said.proven_user
        # Since it has connected the rules have been reloaded: whoever decides by now may know of another
        # password, or of no such user. It looks at the same answer, which is good for a minute.
        _, proven = judge.challenge(
            said.app, said.app_query, publishes=said.publishes, now_s=self._clock()
        )
        return proven
