"""
``spaceswarm demo``: all of it at once, in one process.

::

    Alice --- TCP ------- proxy server ~~~ a network of its own ~~~ Carol
    Bob ----- WebSocket --'

Each of the three says a sentence to each of the others.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import AsyncExitStack
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import INetwork, Peer, PeerAddress
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.joint import node_network
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.testing import TestNet
from spaceswarm_proxy.topics import topic

ROOM = "the demo"
ALICE, BOB, CAROL = NAMES = ("Alice", "Bob", "Carol")
#: Nodes of the network, without those of the proxy server and of Carol.
NODES = 3
#: Seconds in which all must have heard the others.
TIMEOUT = 10.0


def add_arguments(parser: ArgumentParser) -> None:
    """None."""


async def run(reactor: Any, options: Namespace) -> int:
    """
    Two clients of a proxy server and a peer on the network meet under a topic, and exchange a text each.

    :raises CommandError: not all texts have come in time.
    """
    narrator = Narrator("demo", options.quiet, sys.stdout)
    # What is begun last ends first.
    async with AsyncExitStack() as stack:
        await _play(Stage(reactor, narrator, stack))
    narrator.progress("All have left, the server and the network have stopped: nothing is left over.")
    return 0


async def _play(stage: Stage) -> None:
    net = await stage.network()
    by_tcp, by_websocket = await stage.proxy_server(net)
    people = [
        stage.client(ALICE, by_tcp, "TCP"),
        stage.client(BOB, by_websocket, "WebSocket"),
        stage.peer(CAROL, net),
    ]
    try:
        await _meet(stage.narrator, *people).addTimeout(TIMEOUT, stage.reactor)
    except TimeoutError as problem:
        raise CommandError(f"not everybody has heard the others in {TIMEOUT:g} s") from problem


def _meet(narrator: Narrator, alice: Person, bob: Person, carol: Person) -> Deferred[None]:
    """:returns: a Deferred that fires when each of them has heard the others."""
    room = topic(ROOM)

    async def meet() -> None:
        narrator.progress(f"The topic {ROOM!r} is {room.hex()[:16]}..., the first 8 of its 32 bytes.")
        await alice.swarm.join(room, client=False).flushed()
        narrator.progress("Alice is announced under the topic: she can be found now.")
        narrator.progress("Carol looks for whoever is there, and is to be found too.")
        await carol.swarm.join(room).flushed()
        bob.swarm.join(room, server=False)
        narrator.progress("Bob looks for whoever is there.")
        await gatherResults([person.heard for person in (alice, bob, carol)])

    return Deferred.fromCoroutine(meet())


class Stage:
    """Sets up what is needed, and has it put away in the end."""

    def __init__(self, reactor: Any, narrator: Narrator, stack: AsyncExitStack) -> None:
        self.reactor = reactor
        self.narrator = narrator
        self._stack = stack

    async def network(self) -> TestNet:
        """:returns: a network of its own, which works."""
        net = TestNet(self.reactor, NODES)
        self._stack.push_async_callback(net.close)
        await net.ready()
        self.narrator.progress(
            f"A network of its own works in this process: {NODES} nodes, the first at {net.bootstrap[0]}."
        )
        return net

    async def proxy_server(self, net: TestNet) -> list[str]:
        """:returns: client endpoints of a server that is a node of a network: by TCP, and by WebSocket."""
        node = net.node()
        hub = LocalHub(self.reactor, profile=node.profile)
        self._stack.push_async_callback(hub.close)
        server = ProxyServer(node_network(node, hub), reactor=self.reactor)
        self._stack.push_async_callback(server.close)
        await node.ready()
        places = [await self._listen(kind, server) for kind in ("tcp", "ws")]
        self.narrator.progress(f"A proxy server, which is a node of it, listens on {' and '.join(places)}.")
        return places

    async def _listen(self, kind: str, server: ProxyServer) -> str:
        port = await serverFromString(self.reactor, f"{kind}:0:interface=127.0.0.1").listen(server)
        self._stack.push_async_callback(port.stopListening)
        return f"{kind}:127.0.0.1:{port.getHost().port}"

    def client(self, name: str, place: str, carrier: str) -> Person:
        """Somebody who is on the network through the proxy server."""
        pair, endpoint = KeyPair.generate(), clientFromString(self.reactor, place)
        network = ProxyNetwork(endpoint, key_pair=pair, reactor=self.reactor)
        return self._person(name, pair, network, f"is connected to the proxy server, by {carrier}")

    def peer(self, name: str, net: TestNet) -> Person:
        """Somebody who is a node of the network."""
        pair = KeyPair.generate()
        network = DHTNetwork(net.node(), pair, owns_node=True)
        return self._person(name, pair, network, "is a node of the network, and needs no server")

    def _person(self, name: str, pair: KeyPair, network: INetwork, connected: str) -> Person:
        who = PeerAddress(Peer.keyed(pair.public_key))
        network.events.on("connected", lambda: self.narrator.progress(f"{name}, who is {who}, {connected}."))
        person = Person(name, self.narrator)
        person.swarm = Swarm(network, person, reactor=self.reactor)
        self._stack.push_async_callback(person.swarm.close)
        return person


def greeting(name: str) -> str:
    """:returns: what somebody says to each of the others."""
    return f"Hello, I am {name}!"


class Person(Factory):
    """One of the three: what they have heard, and who they are."""

    noisy = False

    def __init__(self, name: str, narrator: Narrator) -> None:
        self.name = name
        self.narrator = narrator
        self.swarm: Swarm
        #: Fires when all the others' texts have come.
        self.heard: Deferred[None] = Deferred()
        self._missing = {greeting(other) for other in NAMES if other != name}

    def buildProtocol(self, address: Any) -> Talk:
        if address.initiator:
            self.narrator.progress(f"{self.name} has found {address}, and is connected to it.")
        return Talk(self)

    def hear(self, text: str) -> None:
        """Somebody has said something."""
        self.narrator.progress(f"{self.name} hears: {text}")
        self._missing.discard(text)
        if not self._missing and not self.heard.called:
            self.heard.callback(None)


class Talk(LineOnlyReceiver):
    """One end of a conversation."""

    delimiter = b"\n"

    def __init__(self, person: Person) -> None:
        self._person = person

    def connectionMade(self) -> None:
        self.sendLine(greeting(self._person.name).encode())

    def lineReceived(self, line: bytes) -> None:
        self._person.hear(line.decode("utf-8", "replace"))


COMMAND = Command(
    name="demo",
    summary="see a network, a server, two clients and a peer at work",
    add_arguments=add_arguments,
    run=run,
    description="""\
Start a network of nodes, a proxy server that is one of them, two clients of it and a peer that needs none, all in this
process; let them find each other under a topic and exchange a text each, and stop. Nothing leaves this machine.""",
)
