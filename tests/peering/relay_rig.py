"""Appointments at relays without a network: a relay, streams that are none, and turns and time that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.meeting import Meeting
from spaceswarm_proxy.peering.mux_protocol import MuxProtocol
from spaceswarm_proxy.peering.noise_payload import RelayThrough
from spaceswarm_proxy.peering.relay_server import RelayServer
from spaceswarm_proxy.peering.relays import Relays
from spaceswarm_proxy.peering.schedule import Schedule
from tests.peering.muxes import End
from tests.peering.relays import Streams

OUR_KEY = bytes([1]) * 32
RELAY_KEY = bytes([2]) * 32
#: Where the relay is, and the socket that leads there.
SOCKET, ADDRESS = 7, address_of("55.1.2.3", 5555)


class Carrier:
    """The transport of a connection with a relay; what is written waits in ``records``."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.reading = True
        self.producer: Any = None
        #: What it was aborted with, and whether it is to end in good order.
        self.problem: Exception | None = None
        self.ending = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write_record(self, data: bytes) -> None:
        self.records.append(data)

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def abort(self, problem: Exception) -> None:
        self.problem = problem

    def loseConnection(self) -> None:
        assert self.producer is None, "it would wait for that"
        self.ending = True


class Raw:
    """Our end of a stream."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.watcher: Any = None
        self.watched = False
        self.messages: list[bytes] = []
        self.problem: SpaceswarmError | None = None

    def send_message(self, message: bytes) -> None:
        self.messages.append(message)

    def watch_path(self, wanted: bool) -> None:
        self.watched = wanted

    def fail(self, problem: SpaceswarmError) -> None:
        self.problem = problem
        watcher, self.watcher = self.watcher, None
        watcher.stream_over()


class Way:
    """What is known of a connection with a relay before that is heard."""

    socket, address = SOCKET, ADDRESS


class Call:
    """One attempt to connect to a relay."""

    def __init__(self, rig: Rig, key: bytes, protocol: MuxProtocol) -> None:
        self.key = key
        self.protocol = protocol
        self.result: Deferred[Any] = Deferred(self._cancelled)
        self.is_cancelled = False
        self.connection: Any = None
        self.carrier = Carrier()
        #: The relay's end.
        self.far = End()
        self._rig = rig

    def _cancelled(self, result: Deferred[Any]) -> None:
        self.is_cancelled = True

    def succeed(self, serves: bool = True) -> None:
        """
        The relay is there.

        :param serves: is it one at all?
        """
        self.connection = Way()
        self.protocol.makeConnection(self.carrier)  # type: ignore[arg-type]
        if serves:
            self.session = self._rig.server.accept(self.far.mux, OUR_KEY, self._rig.time)
        self.result.callback(self.protocol)

    def fail(self, problem: Exception) -> None:
        """It is not to be had."""
        self.result.errback(problem)

    def lose(self, problem: Exception) -> None:
        """The connection is lost."""
        self.protocol.connectionLost(Failure(problem))
        self.far.mux.close(None, self._rig.time)

    def settle(self) -> bool:
        """What is under way arrives.  :returns: whether anything was."""
        ours, self.carrier.records = self.carrier.records, []
        theirs = list(self.far.sent)
        self.far.sent.clear()
        for record in ours:
            self.far.mux.receive(record, self._rig.time)
        for record in theirs:
            self.protocol.dataReceived(record)
        return bool(ours or theirs)


class Appointed:
    """An appointment, and what came of it."""

    def __init__(self, rig: Rig, place: RelayThrough, is_initiator: bool) -> None:
        self.told: list[Any] = []
        rig.streams_made += 1
        self.raw = Raw(rig.streams_made)
        raw: Any = self.raw
        self.meeting: Meeting = rig.relays.meet(place, is_initiator, raw, self._met, self._failed, rig.time)
        self.meeting.ended = lambda now: self.told.append("ended")
        assert not self.told

    def _met(self, socket: int, stream_id: int, address: bytes, now: float) -> None:
        self.told.append((socket, stream_id, address))

    def _failed(self, problem: SpaceswarmError, now: float) -> None:
        self.told.append(problem)

    @property
    def problem(self) -> Any:
        """Why it came to nothing."""
        [problem] = self.told
        return problem


class Rig:
    """It is the node's :class:`~spaceswarm_proxy.peering.meeting.Turns`, too."""

    def __init__(self) -> None:
        self.time = 0.0
        self.streams_made = 0
        self.calls: list[Call] = []
        self.schedule = Schedule()
        self.server = RelayServer(Streams())
        self.relays = Relays(self, self.schedule, OUR_KEY, self._dial)
        #: What dialling raises.
        self.dial_problem: Exception | None = None
        self._soon: list[Callable[[float], None]] = []

    def now(self) -> float:
        return self.time

    def soon(self, function: Callable[[float], None]) -> None:
        self._soon.append(function)

    def _dial(self, key: bytes, protocol: MuxProtocol) -> Call:
        if self.dial_problem is not None:
            raise self.dial_problem
        self.calls.append(Call(self, key, protocol))
        return self.calls[-1]

    def meet(self, number: int = 1, initiator: bool = True, relay: bytes = RELAY_KEY) -> Appointed:
        """Make an appointment, whose token has this number."""
        return Appointed(self, RelayThrough(relay, number.to_bytes(32, "little")), initiator)

    def settle(self) -> None:
        """All turns are done, and all that is under way arrives."""
        while self._turn() or any([call.settle() for call in self.calls]):
            pass

    def _turn(self) -> bool:
        soon, self._soon = self._soon, []
        for function in soon:
            function(self.time)
        return bool(soon)

    def connect(self) -> Call:
        """:returns: the latest attempt, which succeeds."""
        self.settle()
        self.calls[-1].succeed()
        self.settle()
        return self.calls[-1]

    def couple(self, number: int = 1) -> tuple[Appointed, Appointed]:
        """:returns: both sides of a stream, at the relay."""
        both = self.meet(number, True), self.meet(number, False)
        self.settle()
        for call in self.calls:
            if not call.result.called:
                call.succeed()
        self.settle()
        return both

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.time + seconds
        while (deadline := self.schedule.next_deadline()) is not None and deadline <= end:
            self.time = max(deadline, self.time)
            self.schedule.advance(self.time)
            self.settle()
        self.time = end
        self.settle()
