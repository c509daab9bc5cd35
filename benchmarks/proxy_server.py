"""
The proxy server under the load generator: a :class:`ProxyServer` over a network in which one TCP service is found under
every topic.

    python benchmarks/proxy_server.py --tcp PORT --any-peer HOST:PORT

It prints ``ready`` when it listens.  Two of its settings follow from what the generator does, not from speed: it
opens more streams on one link than a client may by default, and it waits for the server's CLOSE after a peer's end
of data, as the JavaScript server sends it at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # what is measured is this checkout, whatever is installed

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from spaceswarm_proxy.errors import NotSupportedError
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import HostPort, ILookup, INetwork, NetworkStatus, Peer
from spaceswarm_proxy.network.tcp import dial
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.server import ProxyServer


@implementer(ILookup)
class OnePeerLookup:
    """Finds the one peer, at once and whenever it is asked."""

    def __init__(self, reactor, topic, peer, receiver):
        self.topic = topic
        self._reactor = reactor
        self._peer = peer
        self._receiver = receiver
        self.update()

    def update(self):
        self._reactor.callLater(0, self._report)

    def _report(self):
        if self._receiver is not None:
            self._receiver.peer_found(self._peer)

    def flushed(self):
        return succeed(None)

    def close(self):
        self._receiver = None
        return succeed(None)


@implementer(INetwork)
class OnePeerNetwork:
    """A network of one TCP service and no identities."""

    public_key = None

    def __init__(self, reactor, address):
        self.events = Events("connected", "disconnected")
        self._reactor = reactor
        self._peer = Peer.at(*address)

    def status(self):
        return NetworkStatus(True, False, False, "one TCP service")

    def lookup(self, topic, receiver):
        return OnePeerLookup(self._reactor, topic, self._peer, receiver)

    def announce(self, topic):
        raise NotSupportedError

    def connect(self, peer, factory) -> Deferred:
        return dial(self._reactor, peer.address, factory, timeout=None)

    def listen(self, factory):
        raise NotSupportedError

    def with_identity(self, key_pair):
        raise NotSupportedError

    def suspend(self):
        return succeed(None)

    def resume(self):
        return succeed(None)

    def close(self):
        return succeed(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tcp", type=int, required=True, help="port to listen on, at 127.0.0.1")
    parser.add_argument("--any-peer", type=HostPort.parse, required=True, help="HOST:PORT found under every topic")
    options = parser.parse_args()
    if sys.platform == "linux":
        from twisted.internet import epollreactor

        epollreactor.install()
    from twisted.internet import reactor

    limits = Limits(
        max_clients=8192, max_clients_per_address=8192, max_streams=8192, max_streams_total=65536, half_close_grace=0
    )
    server = ProxyServer(OnePeerNetwork(reactor, options.any_peer), limits=limits, reactor=reactor)
    reactor.listenTCP(options.tcp, server, backlog=1024, interface="127.0.0.1")
    reactor.callWhenRunning(lambda: print("ready", flush=True))
    reactor.run()


if __name__ == "__main__":
    main()
