"""
A chat room without a server of its own: whoever is under the topic, hears everybody else.

With ``./serve`` running, in as many terminals as you like::

    python examples/chat.py "my room" --name alice

It understands ``spaceswarm chat`` and the JavaScript program of ``docs/from-javascript.md``, and they it: on each
connection both sides send lines, the first of which is the sender's name.
"""

from __future__ import annotations

from argparse import ArgumentParser

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from spaceswarm_proxy import ProxyNetwork, Swarm, topic


class Guest(LineOnlyReceiver):
    """One of the others."""

    delimiter = b"\n"
    name = ""

    def connectionMade(self):
        self.sendLine(self.factory.name.encode())
        self.factory.guests.add(self)

    def lineReceived(self, line):
        text = line.decode(errors="replace")
        if self.name:
            print(f"{self.name}: {text}")
        else:
            self.name = text or "anonymous"
            print(f"* {self.name} is here, as {self.transport.getPeer()}")

    def connectionLost(self, reason):
        self.factory.guests.discard(self)
        if self.name:
            print(f"* {self.name} has left")


class Room(Factory):
    protocol = Guest

    def __init__(self, name):
        self.name = name
        self.guests = set()


class Keyboard(LineOnlyReceiver):
    """What is typed goes to everybody; the end of it is the end."""

    delimiter = b"\n"

    def __init__(self, room):
        self.room = room
        self.closed = Deferred()

    def lineReceived(self, line):
        for guest in self.room.guests:
            guest.sendLine(line)

    def connectionLost(self, reason):
        self.closed.callback(None)


async def main(reactor):
    parser = ArgumentParser()
    parser.add_argument("room")
    parser.add_argument("--name", default="anonymous")
    parser.add_argument("--proxy", default="tcp:127.0.0.1:4978")
    options = parser.parse_args()
    room, network = Room(options.name), ProxyNetwork(clientFromString(reactor, options.proxy))
    swarm = Swarm(network, room)
    reactor.addSystemEventTrigger("before", "shutdown", swarm.close)
    swarm.join(topic(options.room))
    keyboard = Keyboard(room)
    StandardIO(keyboard)
    await keyboard.closed


if __name__ == "__main__":
    react(main)
