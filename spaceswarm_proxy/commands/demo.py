"""``spaceswarm demo``: all of it at once, in one process."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from spaceswarm_proxy.commands.command import Command
from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.topics import topic

ROOM = "the demo"
QUESTION = b"Hello, is anybody there?"
ANSWER = b"I am. Hello!"
TIMEOUT = 10.0


def add_arguments(parser: ArgumentParser) -> None:
    """None."""


async def run(reactor: Any, options: Namespace) -> int:
    """Two clients of one server meet under a topic and exchange a text each."""
    narrator = Narrator("demo", options.quiet, sys.stdout)
    hub = LocalHub(reactor)
    server = ProxyServer(hub.network(), reactor=reactor)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server)
    number = port.getHost().port
    narrator.progress(f"A proxy server listens on 127.0.0.1:{number}. Its network is a small one, in this process.")
    alice = _client(reactor, number, "Alice", False, narrator)
    bob = _client(reactor, number, "Bob", True, narrator)
    try:
        await _meet(reactor, narrator, alice, bob)
    finally:
        await gatherResults([alice.swarm.close(), bob.swarm.close()])
        await port.stopListening()
        await server.close()
        await hub.close()
    narrator.progress("Both have left, the server has stopped: nothing is left over.")
    return 0


async def _meet(reactor: Any, narrator: Narrator, alice: Person, bob: Person) -> None:
    room = topic(ROOM)
    narrator.progress(f"The topic {ROOM!r} is {room.hex()[:16]}..., the first 8 of its 32 bytes.")
    await alice.swarm.join(room, client=False).flushed()
    narrator.progress("Alice is announced under the topic: she can be found now.")
    bob.swarm.join(room, server=False)
    narrator.progress("Bob looks for whoever is there.")
    await gatherResults([alice.heard, bob.heard]).addTimeout(TIMEOUT, reactor)


class Person(Factory):
    """One of the two: what it says, and who it is."""

    noisy = False

    def __init__(self, name: str, begins: bool, narrator: Narrator) -> None:
        self.name = name
        self.begins = begins
        self.says, self.expects = (QUESTION, ANSWER) if begins else (ANSWER, QUESTION)
        self.narrator = narrator
        self.swarm: Swarm
        #: Fires when the other's text has come.
        self.heard: Deferred[None] = Deferred()

    def buildProtocol(self, address: Any) -> Talk:
        if address.initiator:
            self.narrator.progress(f"{self.name} has found {address}, and is connected to it through the proxy server.")
        return Talk(self)


class Talk(Protocol):
    """One end of the conversation."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._text = b""

    def connectionMade(self) -> None:
        if self._person.begins:
            self._say()

    def dataReceived(self, data: bytes) -> None:
        self._text += data
        if self._text == self._person.expects:
            self._person.narrator.progress(f"{self._person.name} hears: {self._text.decode()}")
            if not self._person.begins:
                self._say()
            self._person.heard.callback(None)

    def _say(self) -> None:
        assert self.transport is not None
        self.transport.write(self._person.says)


def _client(reactor: Any, port: int, name: str, begins: bool, narrator: Narrator) -> Person:
    person = Person(name, begins, narrator)
    network = ProxyNetwork(TCP4ClientEndpoint(reactor, "127.0.0.1", port), reactor=reactor)
    network.events.on("connected", lambda: narrator.progress(f"{name} is connected to the proxy server, by TCP."))
    person.swarm = Swarm(network, person, reactor=reactor)
    return person


COMMAND = Command(
    name="demo",
    summary="see a server and two clients at work",
    add_arguments=add_arguments,
    run=run,
    description="""\
Start a proxy server and two clients of it in this process, let them find each other under a topic and
exchange a text each, and stop. Nothing leaves this machine.""",
)
