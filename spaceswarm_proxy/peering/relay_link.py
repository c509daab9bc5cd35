"""A connection with a blind relay, which all appointments there share, and which ends with the last of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import RelayAbortedError, SpaceswarmError
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.meeting import Meeting, Turns
from spaceswarm_proxy.peering.mux_protocol import MuxProtocol
from spaceswarm_proxy.peering.relay_client import RelayClient
from spaceswarm_proxy.peering.schedule import Delayed, Schedule

#: Appointments that one connection is for: relays of ours take no more of one.
MAX_MEETINGS = 64
#: Seconds that a place is kept when its stream is over: the other peer may not have heard our last word.
LINGER = 5.0


class Dialling(Protocol):
    """An attempt to connect to a relay."""

    #: Fires when the relay was heard.
    result: Deferred[Any]
    #: The way to it, as soon as there is one.
    connection: Connection | None


#: Begins one: the relay's public key, and what is to be connected.
Dial = Callable[[bytes, MuxProtocol], Dialling]


class RelayLink:
    """The connection, and who needs it: their :class:`~spaceswarm_proxy.peering.meeting.Host`."""

    def __init__(
        self,
        turns: Turns,
        schedule: Schedule,
        public_key: bytes,
        closed: Callable[[RelayLink], None],
        is_own: bool,
        now: float,
    ) -> None:
        """
        :param public_key: who we are.
        :param closed: told once when it takes no more appointments, for ever.
        :param is_own: is the relay one that we have chosen?
        """
        self.is_own = is_own
        #: By their tokens.
        self.meetings: dict[bytes, Meeting] = {}
        self._turns = turns
        self._schedule = schedule
        self._closed: Callable[[RelayLink], None] | None = closed
        self._protocol = MuxProtocol(turns.now, self._fed, self._lost)
        self._client = RelayClient(self._protocol.mux, public_key, now)
        self._dialling: Dialling | None = None
        self._timer: Delayed | None = None

    @property
    def way(self) -> tuple[int, bytes] | None:
        """Our socket and the relay's address, when they are known."""
        connection = None if self._dialling is None else self._dialling.connection
        return None if connection is None else (connection.socket, connection.address)

    # Its beginning.

    def connect(self, dial: Dial, public_key: bytes, now: float) -> None:
        """:param public_key: the relay's."""
        if self._closed is None:
            return
        try:
            self._dialling = dial(public_key, self._protocol)
        except (SpaceswarmError, ValueError) as problem:
            self._not_connected(problem, now)
        else:
            self._dialling.result.addErrback(self._dialling_failed)

    def _dialling_failed(self, failure: Failure) -> None:
        if self._closed is not None:
            self._turns.soon(partial(self._not_connected, failure.value))

    def _not_connected(self, problem: Exception, now: float) -> None:
        self._protocol.mux.close(RelayAbortedError(f"it cannot be reached: {problem}"), now)
        self._lost()

    # Appointments.

    def has_room(self, token: bytes) -> bool:
        """:returns: whether one more can take place here."""
        return len(self.meetings) < MAX_MEETINGS and token not in self.meetings and not self._client.is_closed

    def add(self, meeting: Meeting, now: float) -> None:
        """Take a place for it; see :meth:`has_room`."""
        meeting.host = self
        self.meetings[meeting.token] = meeting
        paired = partial(self._paired, meeting)
        self._client.pair(meeting.token, meeting.is_initiator, meeting.stream_id, paired, now)
        self._plan()

    def _paired(self, meeting: Meeting, answer: int | SpaceswarmError, now: float) -> None:
        """Told by the client, perhaps while it is at it with others."""
        tell = meeting.fail if isinstance(answer, SpaceswarmError) else meeting.meet
        self._turns.soon(partial(tell, answer))  # type: ignore[arg-type]

    def _plan(self) -> None:
        deadline = self._client.next_deadline()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if deadline is None else self._schedule.call_at(deadline, self._advance)

    def _advance(self, now: float) -> None:
        self._client.advance(now)
        self._plan()

    def leave(self, meeting: Meeting, now: float) -> None:
        """See :class:`~spaceswarm_proxy.peering.meeting.Host`."""
        if self.meetings.get(meeting.token) is meeting:
            del self.meetings[meeting.token]
            meeting.host = None
            self._client.unpair(meeting.token)
            self._plan()
            if not self.meetings:
                self._end()

    def linger(self, meeting: Meeting, now: float) -> None:
        """See :class:`~spaceswarm_proxy.peering.meeting.Host`."""
        self._schedule.call_at(now + LINGER, partial(self.leave, meeting))

    # Its end.

    def _end(self) -> None:
        """Nobody needs it any more."""
        self._retire()
        self._client.close()
        if self._protocol.transport is not None:
            self._protocol.finish()
        elif self._dialling is not None:
            self._dialling.result.cancel()

    def _fed(self) -> None:
        """The relay has said something; if it was that it serves us no more, the connection is of no use."""
        if self._client.is_closed and self._closed is not None:
            self._lost()
            self._protocol.finish()

    def _lost(self, reason: Failure | None = None) -> None:
        """The connection is gone, or never came about; those who wait for others know."""
        self._retire()
        meetings, self.meetings = self.meetings, {}
        for meeting in meetings.values():
            meeting.relay_lost()

    def _retire(self) -> None:
        closed, self._closed = self._closed, None
        if self._timer is not None:
            self._timer.cancel()
        if closed is not None:
            closed(self)
