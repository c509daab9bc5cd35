"""
``spaceswarm pipe``: standard input and output to one peer.

Both sides of a pipe look for the other and can be found, so two connections may be under way at once; the swarm keeps
one.  Whoever *made* a connection cannot know at once whether the other side keeps it: that may have another (or another
peer, for good) and drop it a moment later.  So a connection comes to nothing that was lost before it is *settled*:

* one that a peer made to us is settled at once: the decision was ours;
* one that we made is when something comes from the peer, or nothing has happened for :data:`SETTLING` seconds.

Nothing of standard input is read before.  When a connection is settled, the topic is left; peers that still come are
turned away.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import txaio
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.commands.command import Command
from spaceswarm_proxy.commands.local_end import LocalEnd
from spaceswarm_proxy.commands.narrator import Narrator, watch_link
from spaceswarm_proxy.commands.network_options import add_network_options, make_network
from spaceswarm_proxy.commands.options import add_timeout, add_topic, in_time
from spaceswarm_proxy.commands.stages import Stages
from spaceswarm_proxy.commands.standard_io import STDIN, STDOUT, attach, detach, flags_restored
from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.swarm import Swarm

log = txaio.make_logger()

#: Seconds after which a connection that we made counts as kept by the peer.
SETTLING = 1.0


def add_arguments(parser: ArgumentParser) -> None:
    """The topic, the network, and how long to wait."""
    add_topic(parser)
    add_timeout(parser, "no peer is connected")
    add_network_options(parser)


async def run(reactor: Any, options: Namespace, stdin: int = STDIN, stdout: int = STDOUT) -> int:
    """
    Connect two file descriptors to the first peer under a topic, until both directions have ended.

    :raises CommandError: no peer in time, or what is to be written cannot be.
    :raises SpaceswarmError: the stream or the link failed.
    """
    narrator = Narrator("pipe", options.quiet)
    network, name = make_network(reactor, options, narrator)
    pipe = Pipe(reactor, stdin, stdout)
    watch_link(network, name, narrator, pipe.stages.fail)
    swarm = Swarm(network, pipe, reactor=reactor, max_peers=1)
    with flags_restored(stdin, stdout):
        try:
            swarm.join(options.topic)
            await in_time(pipe.stages.begun, options, reactor, "no peer was found and connected")
            narrator.progress(f"connected to {pipe.peer}")
            swarm.leave(options.topic).addErrback(_not_left)
            await pipe.stages.finished
        finally:
            await swarm.close(force=True)
            pipe.close()
    return 0


def _not_left(failure: Failure) -> None:
    log.debug("the network was not told that the topic is left: {reason}", reason=failure.value)


class Pipe(Factory):
    """Holds the two ends together; the factory of the peer's, of which there is one at a time."""

    noisy = False

    def __init__(self, reactor: Any, stdin: int, stdout: int) -> None:
        self.reactor = reactor
        #: Begun when there is a peer, finished when all is written in both directions.
        self.stages = Stages()
        self.peer: PeerEnd | None = None
        self.local: LocalEnd | None = None
        self._descriptors = stdin, stdout

    def buildProtocol(self, address: Any) -> PeerEnd | None:
        """The first peer's protocol; others are turned away."""
        if self.peer is not None:
            return None
        self.peer = PeerEnd(self, address)
        return self.peer

    def settle(self) -> LocalEnd:
        """The connection with the peer is one that stays: begin to read and write."""
        assert self.peer is not None
        local = LocalEnd(self.stages, self._descriptors[1])
        attach(local, *self._descriptors, self.reactor)
        self.local = local
        local.begin(self.peer.transport)
        self.stages.begin()
        return local

    def close(self) -> None:
        """Read and write nothing more."""
        if self.local is not None:
            detach(self.local.transport)

    def peer_lost(self, reason: Failure) -> None:
        """The connection with the peer is over; before it was settled, it was none."""
        if self.local is None:
            self.peer = None
        else:
            self.local.peer_lost(reason)


@implementer(IHalfCloseableProtocol)
class PeerEnd(Protocol):
    """The peer."""

    transport: Any

    def __init__(self, pipe: Pipe, address: PeerAddress) -> None:
        self._pipe = pipe
        self._address = address
        self._timer: IDelayedCall | None = None
        self._local: LocalEnd | None = None

    def __str__(self) -> str:
        return str(self._address)

    def connectionMade(self) -> None:
        if self._address.initiator:
            self._timer = self._pipe.reactor.callLater(SETTLING, self._settle)
        else:
            self._settle()

    def _settle(self) -> LocalEnd:
        self._stop_timer()
        if self._local is None:
            self._local = self._pipe.settle()
        return self._local

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def dataReceived(self, data: bytes) -> None:
        self._settle().write(data)

    def readConnectionLost(self) -> None:
        """The peer has sent everything."""
        self._settle().end_output()

    def writeConnectionLost(self) -> None:
        """So have we."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timer()
        self._pipe.peer_lost(reason)


COMMAND = Command(
    name="pipe",
    summary="connect standard input and output to a peer",
    add_arguments=add_arguments,
    run=run,
    description="""\
Connect standard input and output to the first peer found under a topic, until both sides have sent
everything. To send a file, on one machine and on another:

  spaceswarm pipe 'some secret topic' < big.iso
  spaceswarm pipe 'some secret topic' > big.iso < /dev/null

They are nodes of the network themselves, unless --proxy names a server that is one for them.""",
)
