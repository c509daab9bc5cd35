"""
One of our nodes in a process of its own, which listens, connects and talks as it is told: the counterpart of
``connection_peer.js``, with the same commands and events; that file describes them.

::

    python -m tests.interop.our_peer --bootstrap HOST:PORT[,...] [--host HOST] [--profile NAME] ...

What differs: ``options`` are those of :meth:`DHTNode.connect` and :meth:`DHTNode.listen`, and what fails is told with
the code that JavaScript peers have for it, if they have one, else with ours.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import IMessageProtocol, IRecordProtocol
from spaceswarm_proxy.peering.node import DHTNode

#: Bytes: what is longer is counted, not shown.
SHOWN = 200
CHUNK = 65536


def pattern(count: int) -> bytes:
    """:returns: what both kinds of peers send: byte ``i`` is ``31 i + 7``."""
    block = bytes((31 * index + 7) % 256 for index in range(256))
    return (block * (count // 256 + 1))[:count]


def say(event: str, **fields: Any) -> None:
    """Print a line."""
    print(json.dumps({"event": event, **fields}), flush=True)


def code_of(failure: Failure) -> str | None:
    """:returns: the reference's code for it where it has one, else ours; ``None`` for an end in good order."""
    if failure.check(ConnectionDone):
        return None
    problem: Any = failure.value
    return getattr(problem, "reference_code", None) or getattr(problem, "code", type(problem).__name__)


def key_pair(seed: str | None) -> KeyPair | None:
    """:param seed: hex; without one, the key is the node's own."""
    return KeyPair.from_seed(bytes.fromhex(seed)) if seed else None


@implementer(IHalfCloseableProtocol, IRecordProtocol, IMessageProtocol)
class End(Protocol):
    """One end of a connection, which says what happens to it."""

    def __init__(self, number: int, echo: bool) -> None:
        self.number = number
        self._echo = echo
        self._left = memoryview(b"")
        self._ending = False
        self._bytes = 0
        self._hash = sha256()

    def say(self, event: str, **fields: Any) -> None:
        """Say something of this connection."""
        say(event, connection=self.number, **fields)

    @property
    def where(self) -> dict[str, Any]:
        """Whom it leads to, and how."""
        stream = self.transport._connection._carrier.stream
        return {"remoteKey": self.transport.remote_public_key.hex(), "socket": stream.socket}

    @property
    def _sum(self) -> dict[str, Any]:
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    # What it is told to do.

    def blob(self, count: int) -> None:
        """Send so many bytes, as fast as they are taken."""
        self._left = memoryview(pattern(count))
        self.transport.registerProducer(self, False)

    def end(self) -> None:
        """End our direction, when all is sent."""
        self._ending = True
        if not self._left:
            self.transport.loseWriteConnection()

    # IPullProducer.

    def resumeProducing(self) -> None:
        chunk, self._left = self._left[:CHUNK], self._left[CHUNK:]
        self.transport.write(bytes(chunk))
        if not self._left:
            self.transport.unregisterProducer()
            if self._ending:
                self.transport.loseWriteConnection()

    def stopProducing(self) -> None:
        self._left = memoryview(b"")

    # What the connection tells.

    def dataReceived(self, data: bytes) -> None:
        self._bytes += len(data)
        self._hash.update(data)
        if len(data) <= SHOWN:
            self.say("data", text=data.decode("utf-8", "replace"))
        if self._echo:
            self.transport.write(data)

    def message_received(self, data: bytes) -> None:
        self.say("message", text=data.decode("utf-8", "replace"))
        if self._echo:
            self.transport.send_message(data)

    def readConnectionLost(self) -> None:
        self.say("end", **self._sum)
        if self._echo:
            self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """What was written has arrived."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.say("close", **self._sum, code=code_of(reason))


class Commands(LineOnlyReceiver):
    """What the node is told on standard input."""

    delimiter = b"\n"

    def __init__(self, reactor: Any, node: DHTNode) -> None:
        self._reactor = reactor
        self._node = node
        self._ends: list[End | None] = []
        #: Fires when standard input ends.
        self.ended: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        command = json.loads(line)
        getattr(self, "do_" + command["cmd"])(command)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)

    def _factory(self, echo: bool, told: Callable[[End], None], number: int | None = None) -> Factory:
        def build(address: Any) -> End:
            end = End(self._number() if number is None else number, echo)
            self._ends[end.number] = end
            self._reactor.callLater(0, told, end)
            return end

        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        return factory

    def _number(self) -> int:
        self._ends.append(None)
        return len(self._ends) - 1

    def _end(self, command: dict[str, Any]) -> Any:
        return self._ends[command["connection"]]

    def do_listen(self, command: dict[str, Any]) -> None:
        """Listen."""
        factory = self._factory(command.get("echo", False), lambda end: end.say("connection", **end.where))
        firewall = (lambda address: True) if command.get("reject") else None
        options = {**command.get("options", {}), **relay(command)}
        listening = self._node.listen(key_pair(command.get("seed")), factory, firewall=firewall, **options)
        listening.addCallback(lambda port: say("listening", publicKey=port.getHost().public_key.hex()))

    def do_connect(self, command: dict[str, Any]) -> None:
        """Connect."""
        began = self._reactor.seconds()
        number = self._number()

        def opened(end: End) -> None:
            end.say("open", ms=1000 * (self._reactor.seconds() - began), **end.where)

        def failed(failure: Failure) -> None:
            say("close", connection=number, bytes=0, code=code_of(failure), message=failure.getErrorMessage())

        key, pair = bytes.fromhex(command["key"]), key_pair(command.get("seed"))
        options = {**command.get("options", {}), **relay(command)}
        connecting = self._node.connect(key, self._factory(False, opened, number), key_pair=pair, **options)
        connecting.addErrback(failed)

    def do_write(self, command: dict[str, Any]) -> None:
        """Write once."""
        self._end(command).transport.write(command["text"].encode())

    def do_blob(self, command: dict[str, Any]) -> None:
        """Write much."""
        self._end(command).blob(command["bytes"])

    def do_message(self, command: dict[str, Any]) -> None:
        """Send an unordered message."""
        self._end(command).transport.send_message(command["text"].encode())

    def do_end(self, command: dict[str, Any]) -> None:
        """End our direction."""
        self._end(command).end()

    def do_destroy(self, command: dict[str, Any]) -> None:
        """Destroy a connection."""
        self._end(command).transport.abortConnection()


def relay(command: dict[str, Any]) -> dict[str, Any]:
    """:returns: the option for the blind relay of a command, if that has one."""
    return {"relay_through": [bytes.fromhex(command["relay"])]} if "relay" in command else {}

    def do_pause(self, command: dict[str, Any]) -> None:
        """Read no more of it."""
        self._end(command).transport.pauseProducing()

    def do_resume(self, command: dict[str, Any]) -> None:
        """Read on."""
        self._end(command).transport.resumeProducing()

    def do_stats(self, command: dict[str, Any]) -> None:
        """Tell what has gone over it."""
        end = self._end(command)
        end.say("stats", read=end.transport.raw_bytes_read, written=end.transport.raw_bytes_written)


def truth(text: str) -> bool:
    """:param text: ``true`` or ``false``."""
    return text != "false"


def parse() -> argparse.Namespace:
    """:returns: the options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--profile", default="hyperswarm")
    parser.add_argument("--firewalled", type=truth, default=None)
    parser.add_argument("--ephemeral", type=truth, default=None)
    return parser.parse_args()


async def main(reactor: Any) -> None:
    """Run one node until standard input ends."""
    options = parse()
    chosen = {name: value for name in ("firewalled", "ephemeral") if (value := getattr(options, name)) is not None}
    bootstrap = [each for each in options.bootstrap.split(",") if each]
    node = DHTNode(reactor, profile=options.profile, bootstrap=bootstrap, host=options.host, port=0, **chosen)
    await node.ready()
    commands = Commands(reactor, node)
    StandardIO(commands, reactor=reactor)
    reactor.addSystemEventTrigger("before", "shutdown", node.close)
    say("ready", port=node.address.port, firewalled=node.firewalled)
    await commands.ended
    await node.close()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
