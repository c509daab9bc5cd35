"""Many streams at once, each with a connection of its own: to a service here, or from somebody who connects here."""

from __future__ import annotations

import os
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.commands.options import in_time
from spaceswarm_proxy.commands.output import Field
from spaceswarm_proxy.commands.peer_session import PeerSession, listening
from spaceswarm_proxy.commands.splice import Dial, End, Splice
from spaceswarm_proxy.commands.stages import Stages
from spaceswarm_proxy.interfaces import Peer, PeerAddress

#: What is not in time, for the user.
NOBODY = "nobody has connected"


def _nobody_minds(peer: Peer) -> None:
    """That it was silent makes no difference."""


async def serve(session: PeerSession, dial: Dial, topic: bytes | None = None) -> None:
    """
    Give each stream that a peer opens to a service, for ever.

    :param dial: connects to that.
    :param topic: what peers find us under, if not by our key alone.
    :raises CommandError: nobody has come within ``--timeout``.
    :raises SpaceswarmError: nobody could find us.
    """
    forwarding = Forwarding(session, dial, attrgetter("came"))
    await session.be_found(forwarding, topic)
    try:
        await in_time(forwarding.stages.begun, session.options, session.reactor, NOBODY)
        await forwarding.stages.finished
    finally:
        await forwarding.close()


async def take(
    session: PeerSession, endpoint: IStreamServerEndpoint, dial: Dial, silent: Callable[[Peer], None] = _nobody_minds
) -> None:
    """
    Open a stream for each connection that comes in here, for ever.

    :param endpoint: where they come.
    :param dial: opens a stream.
    :param silent: told of a peer that has ended a stream with an error, and had not said anything.
    :raises CommandError: nobody can connect there.
    """
    forwarding = Forwarding(session, dial, attrgetter("made"), silent)
    port = await listening(endpoint, forwarding)
    try:
        _tell_listening(session, port.getHost())
        await forwarding.stages.begun
        await forwarding.stages.finished
    finally:
        await maybeDeferred(port.stopListening)
        await forwarding.close()


def _tell_listening(session: PeerSession, address: Any) -> None:
    key = session.network.public_key
    where: dict[str, Field] = {}
    if isinstance(address, IPv4Address | IPv6Address):
        text = f"{address.host}:{address.port}"
        where = {"host": address.host, "port": address.port}
    elif isinstance(address, UNIXAddress) and address.name:
        text = os.fsdecode(address.name)
        where = {"path": text}
    else:
        text = str(address)
    known = None if key is None else key.hex()
    session.output.news("listening", f"listening on {text}", **where, public_key=known)


class Forwarding(Factory):
    """
    The factory of the connections that come: for each, another one is made.

    What happens to them is told at once; that nobody reads it ends the command.
    """

    noisy = False

    def __init__(
        self,
        session: PeerSession,
        dial: Dial,
        peer_end: Callable[[Splice], End],
        silent: Callable[[Peer], None] = _nobody_minds,
    ) -> None:
        """
        :param session: ``max_streams`` of its options are carried at once.
        :param dial: makes the other connection.
        :param peer_end: which of the two ends is the peer's.
        :param silent: as for :func:`take`.
        """
        #: Begun with the first stream; never finished, it can only fail.
        self.stages = Stages()
        self._output = session.output
        self._limit: int = session.options.max_streams
        self._dial = dial
        self._peer_end = peer_end
        self._silent = silent
        # Those that are under way, with their numbers, and how many there have been.
        self._streams: dict[Splice, int] = {}
        self._count = 0
        self._emptied: Waiters[None] = Waiters()
        self._closed = False

    def buildProtocol(self, address: IAddress | None) -> End | None:
        """:returns: the protocol of a connection that has come; ``None`` when there are too many."""
        if self._closed or len(self._streams) >= self._limit:
            self._tell("refused", f"one more is refused: there are {self._limit} streams", max_streams=self._limit)
            return None
        self._count += 1
        splice = Splice(self._dial, self._opened, self._over)
        self._streams[splice] = self._count
        return splice.came

    def close(self) -> Deferred[None]:
        """End all streams.  :returns: a Deferred that fires when none is left."""
        self._closed = True
        for splice in list(self._streams):
            splice.abort()
        emptied = self._emptied.wait() if self._streams else succeed(None)
        return emptied.addCallback(self._tell_finished)

    # What happens to a stream.

    def _opened(self, splice: Splice, end: End) -> None:
        self.stages.begin()
        if end is self._peer_end(splice):
            number, key = self._streams[splice], _key(end)
            self._tell("connection", f"{number}: connected with {key}", remote_public_key=key, stream=number)

    def _over(self, splice: Splice) -> None:
        number, end = self._streams.pop(splice), self._peer_end(splice)
        if end.transport is not None:
            self._tell_closed(number, end)
        if splice.problem is not None and not self._closed:
            self._tell_problem(number, splice.problem)
            if end.transport is not None and not end.transport.bytes_read:
                self._silent(end.transport.getPeer().peer)
        if not self._streams:
            self._emptied.fire(None)

    # Telling.

    def _tell_closed(self, number: int, end: End) -> None:
        sent, received = end.transport.bytes_written, end.transport.bytes_read
        text = f"{number}: closed; bytes sent: {sent}, received: {received}"
        self._tell("closed", text, remote_public_key=_key(end), stream=number, sent=sent, received=received)

    def _tell_problem(self, number: int, problem: BaseException) -> None:
        self._output.narrator.say(f"{number}: {problem}")
        self._telling(lambda: self._output.failed(problem, stream=number))

    def _tell_finished(self, _: None) -> None:
        self._tell("finished", f"streams: {self._count}", streams=self._count)

    def _tell(self, event: str, text: str, **fields: Field) -> None:
        self._telling(lambda: self._output.news(event, text, **fields))

    def _telling(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except OSError as problem:
            if not self._closed:
                self.stages.fail(problem)


def _key(end: End) -> str:
    """:returns: the peer's public key, in hex; or what else it is known by: behind a proxy server it may have none."""
    address: PeerAddress = end.transport.getPeer()
    return address.peer.id.decode("utf-8", "replace")
