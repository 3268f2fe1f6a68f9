"""What each HTTP request means for the worker's streams."""

from __future__ import annotations

from functools import partial
from importlib import resources

from cluster.edge.http.answer import Answer, Waiting
from cluster.edge.http.compression import fitted
from cluster.edge.http.encodings import Encodings
from cluster.edge.http.entrance import Entrance
from cluster.edge.http.hls_request import fields_of
from cluster.edge.http.hls_service import HlsService
from cluster.edge.http.interfaces import Exchange
from cluster.edge.http.opening import Media, Openings
from cluster.edge.http.player import Form, Player
from cluster.edge.http.replies import Replies, refusal
from cluster.edge.http.request import BadRequest, Request
from cluster.edge.http.routes import Kind, NoRoute, Route, route_of
from cluster.edge.http.tickets import Tickets, ticket_in, with_ticket
from cluster.edge.peers.access_control import AccessControl
from cluster.edge.peers.join_rates import JoinRates
from cluster.edge.peers.log_facts import MAX_AGENT_CHARACTERS
from cluster.edge.peers.places import Places
from cluster.edge.streams.streams import Streams

_NO_ROOM = refusal(503, "this server has no room for more players; try again later")
_OTHER_SITE = refusal(403, "pages of this site may not play here (--http-origin)")
_TYPES = {Kind.FLV: "video/x-flv", Kind.MP4: "video/mp4"}

#: How long a browser may keep the page: it changes with the version of the server alone.
_PAGE_KEPT_S = 300


class HttpRequests:
    """Answers requests, and starts players."""

    def __init__(
        self, streams: Streams, places: Places, replies: Replies, hls_bytes: int,
        control: AccessControl, secret: bytes,
    ) -> None:  # fmt: skip
        self.draining = False
        self._streams = streams
        self._places = places
        self._replies = replies
        self._rates = JoinRates()
        self._encodings = Encodings()
        self._openings = Openings(streams)
        self._hls = HlsService(streams, hls_bytes)
        self._entrance = Entrance(control, Tickets(secret), streams.turn, self._serve)
        page = resources.files(__package__).joinpath("page.html").read_bytes()
        self._page = Answer(200, "text/html; charset=utf-8", f"public, max-age={_PAGE_KEPT_S}", [page])

    @property
    def now(self) -> float:
        """The time of this turn."""
        return self._streams.turn.now

    def tick(self) -> None:
        """A few times a second: what happens by time alone."""
        self._openings.tick()
        self._hls.tick()

    def close(self) -> None:
        """Follow no stream any more."""
        self._hls.close()

    def begin(self, connection: Exchange, request: Request) -> Waiting | None:
        """Answer ``request``, now or later; returns what waits if it is later and no player."""
        agent = request.headers.get(b"user-agent")
        if agent is not None and not connection.agent:
            connection.agent = agent[:MAX_AGENT_CHARACTERS].decode("latin-1")
        if request.method == "OPTIONS":
            connection.preflight(request)
            return None
        try:
            route = route_of(request.path)
        except NoRoute as error:
            connection.answer(request, refusal(404, str(error)))
            return None
        if route.kind is Kind.PAGE:
            connection.answer(request, self._page)
            return None
        connection.use = ("player", route.key)
        return self._entrance.enter(connection, request, route)

    def _serve(
        self, connection: Exchange, request: Request, route: Route, ticket: str
    ) -> Waiting | None:
        """Serve media to who may play. ``ticket``: what the addresses of its playlists have to carry."""
        if route.kind in _TYPES:
            return self._asked_to_play(connection, request, route)
        return self._asked_for_hls(connection, request, route, ticket)

    # ---- HLS ---------------------------------------------------------------------------------

    def _asked_for_hls(
        self, connection: Exchange, request: Request, route: Route, ticket: str
    ) -> Waiting | None:
        is_new = not connection.arrival.place.plays
        if is_new and (no_room := self._streams.room.for_viewer()) is not None:
            connection.answer(request, refusal(503, no_room.text))
            return None
        if not self._has_place(connection):
            connection.answer(request, _NO_ROOM)
            return None
        if is_new and (wait_s := self._join_wait_s(connection)):
            return self._streams.turn.loop.call_later(
                wait_s, partial(self._answer_hls_late, connection, request, route, ticket)
            )
        return self._answer_hls(connection, request, route, ticket)

    def _answer_hls_late(
        self, connection: Exchange, request: Request, route: Route, ticket: str
    ) -> None:
        self._streams.turn.begin()
        connection.waits_no_more()
        waiting = self._answer_hls(connection, request, route, ticket)
        if waiting is not None:
            connection.waits_for(waiting)
        else:
            connection.answered()

    def _answer_hls(
        self, connection: Exchange, request: Request, route: Route, ticket: str
    ) -> Waiting | None:
        is_late = False

        def then(answer: Answer) -> None:
            if ticket:
                answer = with_ticket(answer, ticket, is_new=ticket_in(request.query) != ticket)
            connection.answer(request, fitted(answer, request))
            if is_late:
                connection.answered()

        waiting = self._hls.answer(route.key, route.name, fields_of(request.query), then)
        is_late = True
        return waiting

    def _has_place(self, connection: Exchange) -> bool:
        """Whether it may play; it is a viewer from here on."""
        place = connection.arrival.place
        if not place.plays:
            if not self._places.may_play(place):
                return False
            connection.update_pace()
        return True

    def _join_wait_s(self, connection: Exchange) -> float:
        """How long one more viewer of its address has to wait."""
        wait_s = self._rates.wait_s(connection.arrival.peer, self.now)
        if wait_s:
            self._streams.counters.joins_paced += 1
        return wait_s

    # ---- playing -----------------------------------------------------------------------------

    def _asked_to_play(
        self, connection: Exchange, request: Request, route: Route
    ) -> Waiting | None:
        connection.use = ("player", route.key)  # which may be another than was asked for
        origin, host = request.headers.get(b"origin"), request.headers.get(b"host", b"")
        if request.wants_websocket and origin is not None and not self._replies.may_play(origin, host):
            connection.answer(request, _OTHER_SITE)
        elif self.draining:
            connection.answer(request, refusal(503, "this node is shutting down; try again"))
        elif not request.wants_body:
            connection.answer_head(request, _TYPES[route.kind])
        elif not connection.has_room or not self._has_place(connection):
            connection.answer(request, _NO_ROOM)
        elif wait_s := self._join_wait_s(connection):
            return self._streams.turn.loop.call_later(
                wait_s, partial(self._play_late, connection, request, route)
            )
        else:
            self._play(connection, request, route)
        return None

    def _play_late(self, connection: Exchange, request: Request, route: Route) -> None:
        self._streams.turn.begin()
        connection.waits_no_more()
        if connection.has_room:  # as it had, for others of its connection that have waited too
            self._play(connection, request, route)
        else:
            connection.answer(request, _NO_ROOM)
        connection.answered()

    def _play(self, connection: Exchange, request: Request, route: Route) -> None:
        if (no_room := self._streams.room.for_player(route.key)) is not None:
            connection.answer(request, refusal(503, no_room.text))
            return
        over = "http"
        if request.wants_websocket:
            try:
                connection.speak_websocket(request)
            except BadRequest as error:
                connection.answer(request, refusal(error.status, error.text))
                return
            if connection.close_reason is not None:
                return
            over = "ws"
        raw = route.kind is Kind.FLV and "raw=1" in request.query.split("&")
        form = Form(route.kind, over, raw)
        encoding = self._encodings.take(route.key, form)
        player = Player(connection, request, form, encoding)
        self._count_player(form, 1)
        reader = self._streams.play(route.key, player, encoding)
        connection.update_pace()
        if connection.player is player:
            if reader.stream.offline_since is None:
                reader.pause()  # else it begins with the publisher's first message, whenever it opens
            self._openings.add(reader.stream, player)

    def play_opens(self, player: Player, media: Media, since_seq: int) -> None:
        """The stream of ``player`` has ``media``: the player's first bytes go out. What stands in the log
        before ``since_seq`` is of another publisher."""
        form, headers = player.form, player.reader.stream.log.headers()
        begins_with = player.encoding.begin(headers, audio=media.audio, video=media.video)
        if form.over == "http":
            begins_with = [*player.connection.begin_endless(_TYPES[form.kind]), *begins_with]
        player.open(begins_with, since_seq)

    def play_ended(self, player: Player) -> None:
        """``player`` plays no more, or has never begun to."""
        key = player.reader.stream.key
        self._openings.discard(key, player)
        player.leave()
        self._encodings.give_back(key, player.form)
        self._count_player(player.form, -1)

    def _count_player(self, form: Form, step: int) -> None:
        players = self._streams.counters.http_players
        players[form.name] = players.get(form.name, 0) + step
