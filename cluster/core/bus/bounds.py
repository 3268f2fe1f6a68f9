"""How long both ends of the bus wait and how much they queue: what edge and router must agree on."""

from __future__ import annotations

from cluster.core.limits import MIB

# ---- time ------------------------------------------------------------------------------------

#: A worker tells every router that it lives, and with what load; the router answers each time.
HEARTBEAT_INTERVAL_S = 0.1
#: The heartbeat to a router on this host (ipc). The kernel says at once when it dies, and a node's own
#: router ends with the node, so a faster beat would only cost wake-ups.
LOCAL_HEARTBEAT_INTERVAL_S = 0.5
#: A router that leaves a heartbeat unanswered for this long is dead to the worker. A router that dies is
#: noticed by its connection at once; this is for one that hangs or is cut off, 0.28 to 0.4 s before.
ROUTER_TIMEOUT_S = 0.28
#: The timeout of a router on this host, which is not asked as often.
LOCAL_ROUTER_TIMEOUT_S = 0.75
#: A worker not heard of for this long is dead to the router: long enough for a stalled event loop.
WORKER_TIMEOUT_S = 1.5
#: How long a live origin may take to say whether it yields its stream key.
CONTEST_TIMEOUT_S = 1.0
#: A publisher is not kept waiting longer than this for a router that does not answer.
GRANT_TIMEOUT_S = 0.5
#: A router that has been away for this long is not waited for any more when a publisher wants a grant.
ROUTER_GONE_S = 1.0
#: An origin holds a snapshot back until the asking worker's subscription is seen, but not longer.
SNAPSHOT_HOLD_S = 0.25
#: What a stream begins with is kept for this long, for the snapshots of those who waited for it and whose
#: subscription may come a moment too late.
EARLY_S = 1.0
#: An unanswered request for a snapshot is repeated after this long.
SNAPSHOT_RETRY_S = 0.5
#: Requests for snapshots of one stream are at least this far apart, whatever the answers are like.
SNAPSHOT_INTERVAL_S = 0.1
#: Both routers are subscribed at for this long when a subscription moves from one to the other.
OVERLAP_S = 0.5
#: A stream that a router does not confirm for this long after a watch was set there has ended.
CONFIRM_TIMEOUT_S = 2.0

#: A worker that was lost is told of in the status for so long.
LOST_SHOWN_S = 600.0

#: After this long nobody waits for the answer to a question any more.
QUESTION_TIMEOUT_S = 5.0

#: An epoch is the wall clock of its grant, or a little more. One that is further ahead than this, which no
#: two clocks of a cluster are apart, would beat every real one for ever: it is refused wherever it comes
#: in.
MAX_EPOCH_AHEAD_S = 24 * 60 * 60

#: libzmq's own heartbeats, which close a connection whose peer vanished without a word.
ZMQ_HEARTBEAT_INTERVAL_MS = 250
#: The same on the control channel, which our own heartbeats cross ten times a second. With 1,000 workers
#: these are a good part of what a router does.
ZMQ_CONTROL_HEARTBEAT_INTERVAL_MS = 1_000
ZMQ_HEARTBEAT_TIMEOUT_MS = 1_000
#: Between attempts to reach a router that is away.
ZMQ_RECONNECT_MS = 100
#: A connection attempt into a black hole is given up and repeated after this long.
ZMQ_CONNECT_TIMEOUT_MS = 1_000
#: A router that has refused a worker is tried again after this long.
REFUSED_RETRY_S = 1.0
#: A peer that connects and does not shake hands is dropped after this long.
ZMQ_HANDSHAKE_TIMEOUT_MS = 5_000

#: A worker asks a router for its clock so often, and with each heartbeat at first: see ``clock_offset``.
CLOCK_INTERVAL_S = 1.0

#: While its media goes through a router, a worker sends a probe there so often: see ``probe``.
PROBE_INTERVAL_S = 2.0

#: How often the names of routers are looked up again, and how long one look-up may take.
RESOLVE_INTERVAL_S = 5.0
RESOLVE_TIMEOUT_S = 2.0

#: A worker reports of its streams so often, and a node of those of its workers.
REPORT_INTERVAL_S = 2.0
#: What workers report to their node's own router is passed on as long as it was fetched there so lately.
REPORTS_FETCHED_S = 4.5

# ---- memory ----------------------------------------------------------------------------------

#: Envelopes queued at each end of a connection: with both ends, half a second at the rate a saturated
#: router moves. libzmq counts no bytes: these are 32 MiB if they have 32 KiB each, as those of a stream of
#: 6 Mbit/s. A mark must not be changed in use: libzmq 4.3.5 then tells the other end of a connection that
#: has just been lost, which is freed memory, and crashes.
DATA_HIGH_WATER_MARK = 1_000
#: Control messages queued per connection.
CONTROL_HIGH_WATER_MARK = 2_000
#: Larger frames close the connection: a snapshot is a stream log (32 MiB) and its headers.
MAX_FRAME_BYTES = 64 * MIB
#: A control message, but for what follows the first frame of a snapshot; a router ignores larger ones: what
#: is made of one byte on the wire may take sixty. A Hello that would be larger has more parts.
MAX_CONTROL_BYTES = MIB
#: A question to a worker, and what one answer may take: a page of a list.
MAX_QUESTION_BYTES = 8 * 1024
MAX_ANSWER_BYTES = 512 * 1024
#: Questions that a router has passed on and that are not answered; of one who asks.
MAX_QUESTIONS = 4_096
MAX_QUESTIONS_OF_ONE = 2_048
#: Lost workers that a router remembers; the first is forgotten first.
MAX_LOST_WORKERS = 1_000
#: Stream keys that an operator may keep closed at once, and for how long one.
MAX_CLOSED_KEYS = 10_000
LONGEST_CLOSED_S = 7 * 24 * 60 * 60
#: Keys in one part of a Hello, by their bytes and what goes with each; a little room is left for the rest.
HELLO_PART_BYTES = 3 * MIB // 4
#: What a worker watches at a router, and a router lets it watch: more keys than 10,000 connections can wait
#: for with 16 message streams each, and 64,000 of them if they are as long as keys may be.
MAX_WATCHES = 200_000
MAX_WATCHED_BYTES = 64 * MIB
#: Streams of which a router takes one worker for the origin: twice as many as it has connections.
MAX_ORIGINS = 20_000
#: All frames of a snapshot together; a router passes on no larger one.
MAX_SNAPSHOT_BYTES = MAX_FRAME_BYTES
#: Messages in a snapshot, headers included: ten seconds of 6,000 a second. An origin whose log has more
#: gives none, and the stream is joined at the next keyframe; a worker ignores a snapshot that has more.
MAX_SNAPSHOT_MESSAGES = 65_536
#: Unanswered requests for snapshots that a router remembers of one worker; the oldest is forgotten first. A
#: worker asks for each stream that it plays, all at once when a router has died.
MAX_SNAPSHOTS_ASKED = 10_000
#: What a router passes to one worker in a second: more than a fast network carries. What is beyond is asked
#: for again, SNAPSHOT_RETRY_S later.
SNAPSHOT_BYTES_PER_S = 256 * MIB
#: What is kept of the beginning of a stream: a second of 8 Mbit/s, or some seconds of audio from a relay
#: that has looked at its source for a while.
EARLY_BYTES = MIB
#: Topics that a worker remembers as subscribed to, by all of the cluster. Beyond it the worker packs every
#: stream it publishes, and libzmq, which knows, sends what is wanted.
MAX_TOPICS = 100_000
#: A larger message closes a connection that only subscribes: a topic, and libzmq's own handshake. The trie
#: of the subscriptions has a node for each byte.
MAX_SUBSCRIPTION_BYTES = 1_024
#: Subscriptions of one connection that libzmq takes over in one go, while media wait. More wait there.
SUBSCRIPTIONS_AT_ONCE = 64
#: Publish requests waiting for one contested key; one more is refused as busy.
MAX_WAITING_PUBLISHERS = 8
#: Claims of stream keys whose answer a router waits for, if a store has its grants; one more is refused as
#: busy. With the publishers that wait behind them, and keys of the longest kind, these are 36 MB.
MAX_PENDING_CLAIMS = 1_000
#: Ended stream keys whose last epoch is remembered; the oldest is forgotten first.
MAX_ENDED_EPOCHS = 10_000
