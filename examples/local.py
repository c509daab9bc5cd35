"""
Two swarms that meet without a proxy and without a network, in this process::

    python examples/local.py

With a ``ProxyNetwork`` for each in place of the hub's, the same two meet across the world.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredQueue, gatherResults
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from spaceswarm_proxy import LocalHub, Swarm, topic

ROOM = topic("my room")


class Talk(LineOnlyReceiver):
    def connectionMade(self):
        self.sendLine(f"Hello, {self.transport.getPeer()}, I am {self.factory.name}.".encode())

    def lineReceived(self, line):
        self.factory.heard.put(line.decode())


class Person(Factory):
    """Builds a protocol for each connection, whoever opened it, as any factory does."""

    protocol = Talk

    def __init__(self, name, network):
        self.name = name
        self.heard = DeferredQueue()
        self.swarm = Swarm(network, self)


async def main(reactor):
    hub = LocalHub()
    people = [Person(name, hub.network()) for name in ("Alice", "Bob")]
    for person in people:
        person.swarm.join(ROOM)
    for person in people:
        print(f"{person.name} hears: {await person.heard.get()}")
    await gatherResults([person.swarm.close() for person in people])


if __name__ == "__main__":
    react(main)
