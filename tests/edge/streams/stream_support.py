"""A stream with a fake owner, and players whose sockets take as much as a test says."""

from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.server_session import SAMPLE_ACCESS
from cluster.edge.rtmp.encoding import SHARED_CHUNK_SIZE, encoding_for
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.reader import Reader

AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f"
AAC_HEADER = bytes.fromhex("af001190")
KEY = bytes.fromhex("1701000000")
INTER = bytes.fromhex("2701000000")
AUDIO = bytes.fromhex("af01")


#: How a sink ended whose socket failed.
FAILED = "failed"


class FakeOwner:
    segment_ms = 2000

    def __init__(self):
        self.now = 1000.0
        self.counters = Counters()
        self.dirty_streams = []
        self.bus = []
        self.heard = []

    def arrived_at(self, stream):
        return self.now

    def clock(self):
        return self.now

    def audience_changed(self, stream):
        self.heard.append(stream.is_heard)

    def publish_to_bus(self, stream, first_seq, entries):
        self.bus.append((stream.key, first_seq, len(entries)))

    def reader_left(self, reader):
        pass

    def turn(self):
        dirty, self.dirty_streams = self.dirty_streams, []
        for stream in dirty:
            stream.flush()


class FakeConnection:
    """A sink whose socket takes ``room`` bytes, and a peer that parses what was taken."""

    def __init__(self):
        self.room = 1 << 40
        self.pending = []
        self.players = {}
        self.reader = ChunkReader(Limits())
        self.reader.chunk_size = SHARED_CHUNK_SIZE
        self.taken = []
        self.greetings = []  # behind how many messages |RtmpSampleAccess came
        self.ended = None
        self.broken = False

    def send(self, data):
        if self.broken:
            raise ConnectionResetError("gone")
        if not self.room:
            raise BlockingIOError
        size = min(self.room, len(data))
        self.room -= size
        for message in self.reader.feed(bytes(data[:size])):
            if message.payload == SAMPLE_ACCESS:
                self.greetings.append(len(self.taken))
            else:
                self.taken.append(message)
        return size

    @property
    def is_full(self):
        return bool(self.pending)

    def write(self, buffers):
        self.pending.extend(buffers)
        return self.write_pending()

    def keep(self, rest):
        self.pending.extend(rest)

    def write_pending(self):
        while self.pending:
            try:
                sent = self.send(self.pending[0])
            except BlockingIOError:
                break
            if sent < len(self.pending[0]):
                self.pending[0] = memoryview(self.pending[0])[sent:]
            else:
                del self.pending[0]
        if self.pending:
            for player in self.players.values():
                player.fell_behind()
        return not self.pending

    def writable(self, room):
        """The reader read: the socket takes ``room`` bytes more."""
        self.room += room
        if self.write_pending():
            for player in self.players.values():
                player.catch_up()

    def caught_up(self):
        pass

    def over(self, why, detail):
        self.ended = why
        return False

    def failed(self, error):
        self.ended = FAILED
        for player in list(self.players.values()):
            player.leave()

    def timestamps(self, type_id=MessageType.VIDEO):
        return [m.timestamp for m in self.taken if m.type_id == type_id and m.payload[1:2] == b"\x01"]


def join(stream, stream_id=1):
    connection = FakeConnection()
    player = Reader(stream, connection, encoding_for(stream_id), joined_at=0.0)
    connection.players[stream_id] = player
    stream.add(player)
    return connection, player


def video(ms, head=INTER, size=1000):
    return Message(MessageType.VIDEO, ms, head + bytes(size))


def publish(stream, *messages):
    for message in messages:
        stream.append(message)


def begin(stream, epoch=1):
    stream.begin(epoch, is_local=True)
    publish(stream, Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER))
