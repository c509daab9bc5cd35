"""
A file for whoever knows the topic, and how to fetch it.

With ``./serve`` running, in two terminals::

    python examples/filedrop.py drop some.file "my file"
    python examples/filedrop.py fetch "my file"

The last argument may also be the text of an endpoint, and so say anything else about the way there, for example that
there is to be no proxy: ``spaceswarm:topic=my file:network=dht``.

On the wire: a line with the SHA-256 of the file in hex, its size and its name, then its bytes.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from twisted.protocols.basic import FileSender, LineReceiver


class Dropped(Protocol):
    """Sends the file, as fast as the other side takes it, and no faster: that is what ``FileSender`` sees to."""

    def connectionMade(self):
        path = self.factory.path
        self.file = path.open("rb")
        digest = hashlib.file_digest(self.file, "sha256").hexdigest()
        self.file.seek(0)
        self.transport.write(f"{digest} {path.stat().st_size} {path.name}\r\n".encode())
        sending = FileSender().beginFileTransfer(self.file, self.transport)
        sending.addCallbacks(lambda _: self.transport.loseConnection(), lambda failure: None)

    def connectionLost(self, reason):
        self.file.close()


class Fetching(LineReceiver):
    """Writes what comes to ``NAME.part``; ``done`` fires with the path when all of it has come."""

    def __init__(self):
        self.done = Deferred()
        self.part = None

    def lineReceived(self, line):
        digest, size, name = line.decode().split(" ", 2)
        self.expected, self.missing = digest, int(size)
        self.path = Path(Path(name).name)  # here, whatever the other side says
        self.part = self.path.with_name(self.path.name + ".part").open("wb")
        self.hash = hashlib.sha256()
        self.setRawMode()

    def rawDataReceived(self, data):
        self.part.write(data)
        self.hash.update(data)
        self.missing -= len(data)
        if self.missing < 0:
            self.transport.abortConnection()

    def connectionLost(self, reason):
        if self.part is None:
            self.done.errback(reason)
            return
        self.part.close()
        if self.missing or self.hash.hexdigest() != self.expected:
            self.done.errback(ValueError(f"{self.part.name} is not what was announced"))
        else:
            Path(self.part.name).replace(self.path)
            self.done.callback(self.path)


async def drop(reactor, path, endpoint):
    factory = Factory.forProtocol(Dropped)
    factory.path = Path(path)
    await serverFromString(reactor, endpoint).listen(factory)
    print("ready:", path, "is at", endpoint)
    await Deferred()  # until Ctrl-C


async def fetch(reactor, endpoint):
    fetching = await connectProtocol(clientFromString(reactor, endpoint), Fetching())
    print("received:", await fetching.done)


async def main(reactor, role, *arguments):
    *path, where = arguments
    endpoint = where if where.startswith("spaceswarm:") else f"spaceswarm:topic={where}"
    await {"drop": drop, "fetch": fetch}[role](reactor, *path, endpoint)


if __name__ == "__main__":
    react(main, sys.argv[1:])
