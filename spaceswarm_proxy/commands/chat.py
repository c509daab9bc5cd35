"""
``spaceswarm chat``: what somebody types goes to everybody under a topic.

On each connection both sides send lines of UTF-8 that end in a newline.  The first is the sender's name.
"""

from __future__ import annotations

import getpass
from argparse import ArgumentParser, Namespace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.narrator import Narrator, watch_link
from spaceswarm_proxy.commands.network_options import add_network_options, make_network
from spaceswarm_proxy.commands.options import add_timeout, add_topic, in_time
from spaceswarm_proxy.commands.stages import Stages
from spaceswarm_proxy.commands.standard_io import STDIN, STDOUT, attach, detach, flags_restored
from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.swarm import Swarm

#: Bytes of the longest line that is taken from a peer.
MAX_LINE = 16 * 1024
#: Characters of a name that are shown.
MAX_NAME = 40
#: Seconds that the user's terminal may take for the last lines.
FLUSHING = 1.0


def add_arguments(parser: ArgumentParser) -> None:
    """The topic, one's name, the network, and how long to wait."""
    add_topic(parser)
    parser.add_argument("--name", default="", help="what the others see you as; by default, the name of your account")
    add_timeout(parser, "the network cannot be reached")
    add_network_options(parser)


async def run(reactor: Any, options: Namespace, stdin: int = STDIN, stdout: int = STDOUT) -> int:
    """
    Chat until standard input ends, or the command is cancelled.

    :raises CommandError: the network could not be reached in time.
    :raises SpaceswarmError: the proxy server does not want us.
    """
    narrator = Narrator("chat", options.quiet)
    network, name = make_network(reactor, options, narrator)
    room = Room(printable(options.name or _account())[:MAX_NAME], narrator)
    watch_link(network, name, narrator, room.stages.fail)
    network.events.on("connected", room.stages.begin)
    swarm = Swarm(network, room, reactor=reactor)
    with flags_restored(stdin, stdout):
        attach(room.console, stdin, stdout, reactor)
        try:
            swarm.join(options.topic)
            await in_time(room.stages.begun, options, reactor, f"{name} could not be reached")
            await room.stages.finished
        except CancelledError:
            narrator.progress("interrupted")
        finally:
            room.close()
            await swarm.close()
            await room.console.close().addTimeout(FLUSHING, reactor, lambda *_: None)
            detach(room.console.transport)
    return 0


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "anonymous"


def printable(text: str) -> str:
    """A text without what would do something to the terminal."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


@implementer(IPushProducer)
class Room(Factory):
    """Who is there, and what is told to whom; while standard output is stuck, nobody is heard."""

    noisy = False

    def __init__(self, name: str, narrator: Narrator) -> None:
        """:param name: ours."""
        self.name = name
        self.narrator = narrator
        #: Begun when the network is reachable, finished when the user has had enough.
        self.stages = Stages()
        self.console = Console(self)
        self._talkers: dict[Talker, None] = {}
        self._paused = False

    def buildProtocol(self, address: Any) -> Talker:
        return Talker(self, address)

    def connected(self, talker: Talker) -> None:
        """Somebody is there, and about to say who they are."""
        self._talkers[talker] = None
        if self._paused:
            talker.transport.pauseProducing()

    def came(self, talker: Talker) -> None:
        """They have said so."""
        self.narrator.progress(f"{talker} is here")

    def went(self, talker: Talker) -> None:
        """Somebody is gone; who never said who they are, was never here."""
        if talker in self._talkers:
            del self._talkers[talker]
            if talker.name:
                self.narrator.progress(f"{talker} has left")

    def close(self) -> None:
        """We are about to go."""
        talkers, self._talkers = self._talkers, {}
        for talker in talkers:
            talker.transport.unregisterProducer()

    def heard(self, talker: Talker, text: str) -> None:
        """Somebody has said something."""
        self.console.show(f"{talker.name}: {text}")

    def say(self, line: bytes) -> None:
        """We have."""
        if not self._talkers:
            self.narrator.progress("nobody is here to read that")
        for talker in self._talkers:
            talker.say(line)

    def pauseProducing(self) -> None:
        self._paused = True
        for talker in self._talkers:
            talker.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        for talker in self._talkers:
            talker.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Standard output is closed: nothing that anybody says can be read."""
        self.stages.finish()


@implementer(IPushProducer)
class Talker(LineOnlyReceiver):
    """One of the others."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE
    transport: Any

    def __init__(self, room: Room, address: PeerAddress) -> None:
        self.name = ""
        self._room = room
        self._address = address
        self._full = False

    def __str__(self) -> str:
        return f"{self.name} ({self._address})"

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self._room.connected(self)
        self.say(self._room.name.encode())

    def lineReceived(self, line: bytes) -> None:
        text = printable(line.decode("utf-8", "replace"))
        if self.name:
            self._room.heard(self, text)
        else:
            self.name = text[:MAX_NAME] or "anonymous"
            self._room.came(self)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Whoever sends that does not chat."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._room.went(self)

    def say(self, line: bytes) -> None:
        """Tell them a line; while they do not read, they miss it."""
        if self._full:
            self._room.narrator.progress(f"{self} does not keep up, and misses that")
        else:
            self.sendLine(line)

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False

    def stopProducing(self) -> None:
        """Nothing comes from us by itself."""


@implementer(IHalfCloseableProtocol)
class Console(LineOnlyReceiver):
    """Standard input and output."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE
    transport: Any

    def __init__(self, room: Room) -> None:
        self._room = room
        self._closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self._room, True)

    def lineReceived(self, line: bytes) -> None:
        if line.strip():
            self._room.say(line.rstrip(b"\r"))

    def lineLengthExceeded(self, line: bytes) -> None:
        """Nobody would take it from us."""
        self._room.stages.fail(CommandError(f"a line may have {self.MAX_LENGTH} bytes"))

    def show(self, text: str) -> None:
        """Write a line for the user."""
        self.sendLine(text.encode())

    def close(self) -> Deferred[None]:
        """:returns: a Deferred that fires when what was shown is written; nothing more is read."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        return self._closed

    def readConnectionLost(self) -> None:
        """Ctrl-D."""
        self._room.stages.finish()

    def writeConnectionLost(self) -> None:
        """Standard output is closed."""
        self._closed.callback(None)
        self._room.stages.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed.callback(None)


COMMAND = Command(
    name="chat",
    summary="talk to everybody under a topic",
    add_arguments=add_arguments,
    run=run,
    description="""\
Send the lines that you type to everybody who is under the topic, and show theirs. Ctrl-D or Ctrl-C ends it.
Names are what people call themselves; the digits after a name are those of their public key.

  spaceswarm chat 'my room'
  spaceswarm chat 'my room' --profile hyperswarm
  spaceswarm chat 'my room' --proxy tcp:127.0.0.1:4978""",
)
