"""
Channels: several protocols in one stream of messages, each spoken by whoever knows it.

Both sides open a channel with the same protocol and id, each under a number of its own; the two opens find each other
in whatever order they come.  The first open that comes without a counterpart is an *offer*: whoever has registered the
protocol accepts or refuses it, at once or later.

What a remote sends to a channel that is still an offer waits.  When that is more than ``max_waiting``, the mux is
*paused*: it reads nothing further, and nothing more is to be fed to it until the offer is decided.

Whoever feeds the mux has one more thing to do, whenever it is woken: send what there is in :meth:`Mux.data_to_send`,
feed or do not feed according to :attr:`Mux.paused`, and end the stream when there is a :attr:`Mux.violation`.

:source: npm ``protomux`` 3; spec/connect.md, section 9.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from spaceswarm_proxy.codec.compact import encode_uint, read_uint
from spaceswarm_proxy.errors import (
    ChannelError,
    ChannelRefusedError,
    ClosedError,
    LimitError,
    ProtocolError,
    SpaceswarmError,
)
from spaceswarm_proxy.peering.protomux_output import MuxOutput
from spaceswarm_proxy.peering.protomux_wire import CONTROL, ControlType, Message, Open, read_messages

#: Channels that either side may open.
MAX_CHANNELS = 64
#: Bytes that wait for offers to be decided, before the mux is paused; each message counts for some more.
MAX_WAITING = 32 * 1024
WAITING_OVERHEAD = 512
#: Bytes of a message of the stream.  The reference takes what the stream below it takes, 16 MB.
MAX_MESSAGE = 64 * 1024


class ChannelOwner(Protocol):
    """Who wants to know what happens in a channel."""

    def opened(self, channel: Channel, handshake: bytes, now: float) -> None:
        """Both sides have opened it."""

    def received(self, channel: Channel, type: int, body: bytes, now: float) -> None:
        """
        The remote says something.

        :raises ProtocolError: it may not say that; the whole stream ends.
        """

    def closed(self, channel: Channel, problem: SpaceswarmError | None, now: float) -> None:
        """
        It is over, and its owner has not closed it.

        :param problem: ``None`` when the remote has closed it.
        """


class Channel:
    """One channel, as one side sees it."""

    __slots__ = ("_local", "_mux", "_remote", "closed", "id", "owner", "protocol")

    def __init__(self, mux: Mux, owner: ChannelOwner, local: int, protocol: str, id: bytes) -> None:
        self.owner = owner
        self.protocol = protocol
        self.id = id
        #: Nothing is sent any more, and nothing comes.
        self.closed = False
        self._mux = mux
        self._local = local
        self._remote: int | None = None

    @property
    def opened(self) -> bool:
        """Has the remote opened it too?"""
        return self._remote is not None

    def send(self, type: int, body: bytes) -> None:
        """Say something, before the remote has opened the channel too if need be; in a closed one, nothing."""
        if not self.closed:
            self._mux._output.write(Message(self._local, type, body))

    def close(self) -> None:
        """Close it; its owner is told nothing more."""
        if not self.closed:
            self.closed = True
            self._mux._close_channel(self)


class Offer:
    """A channel that the remote has opened, and nobody here yet."""

    __slots__ = ("_messages", "_mux", "_remote", "_size", "decided", "handshake", "id", "protocol")

    def __init__(self, mux: Mux, open: Open) -> None:
        self.protocol = open.protocol
        self.id = open.id
        self.handshake = open.handshake
        #: It was accepted, refused, or taken back.
        self.decided = False
        self._mux = mux
        self._remote = open.channel
        self._size = 0
        self._messages: list[Message] = []

    def accept(self, owner: ChannelOwner, now: float, handshake: bytes = b"") -> Channel | None:
        """
        Open the channel here too; its owner is told of that, and of what has waited, before this returns.

        :returns: ``None`` if the offer was taken back, or is decided already.
        """
        return None if self.decided else self._mux._accept(self, owner, handshake, now)

    def reject(self, now: float) -> None:
        """Refuse it."""
        if not self.decided:
            self._mux._reject(self, now)


class Mux:
    """One end of the stream."""

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        max_channels: int = MAX_CHANNELS,
        max_waiting: int = MAX_WAITING,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        """
        :param wake: called when there may be something to do for whoever feeds this; see above.
        :param max_channels: what either side may open; more of the remote's are refused.
        :param max_waiting: bytes that wait for offers to be decided, before the mux is paused.
        :param max_message: bytes of a message of the stream.
        """
        self.closed = False
        #: What the remote did that it may not; the mux is closed then.
        self.violation: ProtocolError | None = None
        self._wake = wake
        self._max_channels = max_channels
        self._max_waiting = max_waiting
        self._max_message = max_message
        self._registered: dict[str, Callable[[Offer, float], None]] = {}
        #: By our number: those that are open, and closed ones whose open the remote has not answered.  Oldest first.
        self._locals: dict[int, Channel] = {}
        self._free: list[int] = []
        #: By the remote's number; and those of them that are not decided, by protocol and id.
        self._remotes: dict[int, Channel | Offer] = {}
        self._offers: dict[tuple[str, bytes], Offer] = {}
        self._highest_remote = 0
        self._waiting = 0
        #: Messages of the stream that have come, and are not read to their ends.
        self._input: deque[Iterator[Message]] = deque()
        self._reading = False
        self._output = MuxOutput(wake)

    # What a user of channels does.

    def register(self, protocol: str, offered: Callable[[Offer, float], None]) -> None:
        """
        Say who decides about channels of this protocol that the remote opens first; those of others are refused.

        :param offered: told of each offer, to be decided then or later.
        """
        self._registered[protocol] = offered

    def open(self, protocol: str, id: bytes, owner: ChannelOwner, now: float, handshake: bytes = b"") -> Channel:
        """
        Open a channel; where the remote has offered it, this accepts that.

        :raises LimitError: there are ``max_channels``.
        :raises ClosedError: the mux is closed.
        """
        if self.closed:
            raise ClosedError("the stream is closed")
        if (offer := self._offers.get((protocol, id))) is not None:
            return self._accept(offer, owner, handshake, now)
        if len(self._locals) >= self._max_channels:
            raise LimitError("max_channels", self._max_channels)
        return self._new_channel(owner, Open(0, protocol, id, handshake))

    def batch(self) -> AbstractContextManager[None]:
        """:returns: a context; what is said in it goes out as one message of the stream."""
        return self._output.batch()

    # What whoever feeds it does.

    @property
    def paused(self) -> bool:
        """Is nothing to be fed, until somebody decides about an offer?"""
        return self._waiting > self._max_waiting

    def receive(self, message: bytes, now: float) -> None:
        """
        A message of the stream has come.

        :raises ProtocolError: the remote may not say that; all is closed, and the stream is to be ended.
        """
        if self.closed or not message:
            return
        with self._confined(now):
            if len(message) > self._max_message:
                raise ChannelError("message-too-long", str(len(message)))
            self._input.append(read_messages(message))
        self._read(now)
        if self.violation is not None:
            raise self.violation

    def data_to_send(self) -> list[bytes]:
        """:returns: what goes to the remote, each a message of the stream, in order; each once."""
        return self._output.fetch()

    def close(self, problem: SpaceswarmError | None, now: float) -> None:
        """
        The stream is over; the owners of all channels are told.

        :param problem: why, if it did not end in good order.
        """
        if self.closed:
            return
        self.closed = True
        channels = [channel for channel in self._locals.values() if not channel.closed]
        for channel in channels:
            channel.closed = True
        for offer in self._offers.values():
            offer.decided = True
        self._locals.clear()
        self._remotes.clear()
        self._offers.clear()
        self._input.clear()
        self._output.close()
        self._waiting = 0
        for channel in channels:
            channel.owner.closed(channel, problem, now)

    # Reading.

    def _read(self, now: float) -> None:
        """Read what has come, until there is no more of it, or until it must wait."""
        if self._reading:
            return
        self._reading = True
        try:
            with self._confined(now), self.batch():
                while self._input and not self.paused:
                    message = next(self._input[0], None)
                    if message is None:
                        self._input.popleft()
                    else:
                        self._take(message, now)
        finally:
            self._reading = False

    @contextmanager
    def _confined(self, now: float) -> Iterator[None]:
        """What a remote may not do ends its stream, and nothing else."""
        try:
            yield
        except ProtocolError as problem:
            self.violation = self.violation or problem
            self.close(problem, now)
            self._wake()

    def _take(self, message: Message, now: float) -> None:
        if message.channel == CONTROL:
            self._control(message, now)
            return
        receiver = self._remotes.get(message.channel)
        if isinstance(receiver, Channel):
            receiver.owner.received(receiver, message.type, message.body, now)
        elif receiver is not None:
            receiver._messages.append(message)
            self._hold(receiver, len(message.body))

    def _hold(self, offer: Offer, size: int) -> None:
        offer._size += size + WAITING_OVERHEAD
        self._waiting += size + WAITING_OVERHEAD

    def _control(self, message: Message, now: float) -> None:
        if message.type == ControlType.OPEN:
            self._remote_opens(message.body, now)
        elif message.type == ControlType.REJECT:
            self._remote_rejects(read_uint(message.body, 0)[0], now)
        elif message.type == ControlType.CLOSE:
            self._remote_closes(read_uint(message.body, 0)[0], now)

    def _remote_opens(self, body: bytes, now: float) -> None:
        open = Open.parse(body)
        number = open.channel
        if number == CONTROL or number in self._remotes or number > self._highest_remote + 1:
            raise ChannelError("bad-open", str(number))
        self._highest_remote = max(self._highest_remote, number)
        channel = self._unanswered(open.protocol, open.id)
        if channel is not None:
            self._pair(channel, open, now)
        elif self._may_offer(open):
            offer = self._remotes[number] = self._offers[open.protocol, open.id] = Offer(self, open)
            self._hold(offer, len(body))
            self._registered[open.protocol](offer, now)
        else:
            self._say(ControlType.REJECT, number)

    def _may_offer(self, open: Open) -> bool:
        """One at a time under one name: to the remote, what we open is the answer to the oldest of its opens."""
        if open.protocol not in self._registered or len(self._remotes) >= self._max_channels:
            return False
        return (open.protocol, open.id) not in self._offers

    def _unanswered(self, protocol: str, id: bytes) -> Channel | None:
        """:returns: the oldest of ours that an open of the remote's is the answer to."""
        for channel in self._locals.values():
            if not channel.opened and (channel.protocol, channel.id) == (protocol, id):
                return channel
        return None

    def _pair(self, channel: Channel, open: Open, now: float) -> None:
        if channel.closed:
            # The reference does not listen to a close while it decides about an offer, so it is said again.
            self._release(channel)
            self._say(ControlType.CLOSE, channel._local)
            return
        channel._remote = open.channel
        self._remotes[open.channel] = channel
        channel.owner.opened(channel, open.handshake, now)

    def _remote_rejects(self, number: int, now: float) -> None:
        channel = self._locals.get(number)
        if channel is None or channel.opened:
            raise ChannelError("bad-reject", str(number))
        self._release(channel)
        if not channel.closed:
            self._tell_closed(channel, ChannelRefusedError(), now)

    def _remote_closes(self, number: int, now: float) -> None:
        receiver = self._remotes.get(number)
        if isinstance(receiver, Channel):
            del self._remotes[number]
            self._release(receiver)
            self._tell_closed(receiver, None, now)
        elif receiver is not None:
            # Its number is free for the remote again once its open is answered.
            self._decide(receiver)
            self._say(ControlType.REJECT, number)

    def _tell_closed(self, channel: Channel, problem: SpaceswarmError | None, now: float) -> None:
        channel.closed = True
        channel.owner.closed(channel, problem, now)

    # What is done to offers and channels from here.

    def _accept(self, offer: Offer, owner: ChannelOwner, handshake: bytes, now: float) -> Channel:
        messages = self._decide(offer)
        with self._confined(now), self.batch():
            channel = self._new_channel(owner, Open(0, offer.protocol, offer.id, handshake))
            self._pair(channel, Open(offer._remote, offer.protocol, offer.id, offer.handshake), now)
            for message in messages:
                self._take(message, now)
        self._read(now)
        return channel

    def _reject(self, offer: Offer, now: float) -> None:
        self._decide(offer)
        self._say(ControlType.REJECT, offer._remote)
        self._read(now)

    def _decide(self, offer: Offer) -> list[Message]:
        """:returns: what has waited for it; the mux may go on."""
        offer.decided = True
        del self._offers[offer.protocol, offer.id]
        del self._remotes[offer._remote]
        self._waiting -= offer._size
        return offer._messages

    def _new_channel(self, owner: ChannelOwner, open: Open) -> Channel:
        # Numbers in use and free ones are together all that there ever were.
        number = self._free.pop() if self._free else len(self._locals) + 1
        channel = self._locals[number] = Channel(self, owner, number, open.protocol, open.id)
        self._output.write(Message(CONTROL, ControlType.OPEN, open._replace(channel=number).encode()))
        return channel

    def _close_channel(self, channel: Channel) -> None:
        # Until the remote has answered our open, its number stays in use.
        if channel._remote is not None:
            del self._remotes[channel._remote]
            self._release(channel)
        self._say(ControlType.CLOSE, channel._local)

    def _release(self, channel: Channel) -> None:
        """Its number can be used again."""
        del self._locals[channel._local]
        self._free.append(channel._local)

    def _say(self, type: ControlType, number: int) -> None:
        self._output.write(Message(CONTROL, type, encode_uint(number)))
