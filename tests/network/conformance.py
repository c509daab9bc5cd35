"""
The suite that every ``INetwork`` must pass.

Mix it into a trial test case and say how networks are made::

    class MyNetworkTests(NetworkConformance, TestCase):
        def make_networks(self, count):
            hub = MyHub()
            self.addCleanup(hub.close)
            return succeed([hub.network() for _ in range(count)])

It uses nothing but the public interface, so the same promises hold directly and through a proxy.
"""

from __future__ import annotations

from twisted.trial.unittest import SkipTest

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ClosedError, NotSupportedError
from spaceswarm_proxy.interfaces import INetwork, NetworkStatus, Peer
from tests.network.discovery_conformance import ROOM, DiscoveryConformance
from tests.network.stream_conformance import StreamConformance
from tests.network.support import Collector, Echo, Finder, NetworkTests


class LifeCycleConformance(NetworkTests):
    """What a network is, its identities, and its end."""

    async def test_network(self) -> None:
        """A network is an ``INetwork`` with a key, and reachable."""
        one, two = await self.networks(2)
        self.assertTrue(INetwork.providedBy(one))
        self.assertEqual(len(one.public_key), 32)
        self.assertNotEqual(one.public_key, two.public_key)
        status = one.status()
        self.assertIsInstance(status, NetworkStatus)
        self.assertTrue(status.online)

    async def test_events(self) -> None:
        """There are two events, each may be subscribed to and unsubscribed from; others are a KeyError."""
        (one,) = await self.networks(1)
        for name in ("connected", "disconnected"):
            one.events.on(name, lambda *_: None)()
        with self.assertRaises(KeyError):
            one.events.on("no such event", lambda: None)

    async def test_closing_is_told(self) -> None:
        """A network that is closed is not reachable any more, and says so once."""
        (one,) = await self.networks(1)
        told: list[object] = []
        one.events.on("disconnected", told.append)
        await one.close()
        self.assertFalse(one.status().online)
        self.assertEqual(len(told), 1)

    async def identity(self, network, key_pair=None):
        try:
            child = network.with_identity(key_pair)
        except NotSupportedError as refusal:
            raise SkipTest(str(refusal)) from None
        self.addCleanup(child.close)
        return child

    async def test_identity(self) -> None:
        """A network with a key pair of its own is another peer: found, listening and connecting apart."""
        one, two = await self.networks(2)
        key_pair = KeyPair.generate()
        other = await self.identity(two, key_pair)
        self.assertEqual(other.public_key, key_pair.public_key)
        await self.listening(two, Echo)
        listening = await self.listening(other)
        other.announce(ROOM)
        finder = Finder()
        one.lookup(ROOM, finder)
        await finder.finds(other)
        self.assertFalse(finder.knows(two))
        near = await one.connect(finder.peer(other), Collector())
        far = await listening.connected()
        near.transport.write(b"hello, other")
        await far.receives(b"hello, other")
        self.assertEqual(near.transport.getPeer().public_key, key_pair.public_key)

    async def test_fresh_identity(self) -> None:
        """Without a key pair each identity gets a fresh one, and connects as that."""
        one, two = await self.networks(2)
        first, second = await self.identity(one), await self.identity(one)
        self.assertEqual(len({one.public_key, first.public_key, second.public_key}), 3)
        listening = await self.listening(two)
        await first.connect(Peer.keyed(two.public_key), Collector())
        far = await listening.connected()
        self.assertEqual(far.transport.getPeer().public_key, first.public_key)

    async def test_identity_closed(self) -> None:
        """Closing an identity leaves the network that it came from alone; the other way round it goes with it."""
        one, two = await self.networks(2)
        first, second = await self.identity(one), await self.identity(one)
        await self.listening(two, Echo)
        await first.close()
        stream = await one.connect(Peer.keyed(two.public_key), Collector())
        stream.transport.write(b"unharmed")
        await stream.receives(b"unharmed")
        await one.close()
        with self.assertRaises(ClosedError):
            second.announce(ROOM)

    async def test_close_twice(self) -> None:
        """A network may be closed again, at the same time and later."""
        (one,) = await self.networks(1)
        first, second = one.close(), one.close()
        self.assertIsNone(await first)
        self.assertIsNone(await second)
        self.assertIsNone(await one.close())

    async def test_closed(self) -> None:
        """A closed network does nothing more: ``ClosedError``."""
        one, two = await self.networks(2)
        await one.close()
        with self.assertRaises(ClosedError):
            one.lookup(ROOM, Finder())
        with self.assertRaises(ClosedError):
            one.announce(ROOM)
        with self.assertRaises(ClosedError):
            await one.connect(Peer.keyed(two.public_key), Collector())
        with self.assertRaises(ClosedError):
            await one.listen(Collector())

    async def test_close_fails_what_is_in_flight(self) -> None:
        """What waits for a network that is closed fails with ``ClosedError``."""
        one, two = await self.networks(2)
        await self.listening(two)
        collector = Collector()
        in_flight = [
            one.connect(Peer.keyed(two.public_key), collector),
            one.lookup(ROOM, Finder()).flushed(),
            one.announce(ROOM).flushed(),
        ]
        await one.close()
        for waiting in in_flight:
            with self.assertRaises(ClosedError):
                await waiting
        self.assertEqual(collector.built, [])

    async def test_close_ends_streams(self) -> None:
        """When the close is done, the streams of the network are lost; those at their far ends learn of it."""
        one, two = await self.networks(2)
        listening = await self.listening(two)
        opened = await one.connect(Peer.keyed(two.public_key), Collector())
        far = await listening.connected()
        await one.close()
        self.assertIsNotNone(opened.lost)
        await far.loses()

    async def test_close_ends_the_listener(self) -> None:
        """A network that is closed lets nobody in, and is not found."""
        one, two = await self.networks(2)
        await self.listening(two)
        await two.announce(ROOM).flushed()
        public_key = two.public_key
        await two.close()
        await self.turned_away(one, Peer.keyed(public_key))
        finder = Finder()
        await one.lookup(ROOM, finder).flushed()
        self.assertEqual(finder.found, [])

    async def test_close_silences(self) -> None:
        """A closed network reports nobody any more."""
        one, two, three = await self.networks(3)
        silent, awake = Finder(), Finder()
        one.lookup(ROOM, silent)
        await one.close()
        rounds = silent.rounds
        two.lookup(ROOM, awake)
        three.announce(ROOM)
        await awake.finds(three)
        self.assertEqual((silent.found, silent.rounds), ([], rounds))

    async def test_resumed(self) -> None:
        """A network that was suspended and resumed is as before: it opens streams and takes them."""
        one, two = await self.networks(2)
        await self.listening(two, Echo)
        for network in (one, two):
            await network.suspend()
            await network.resume()
        stream = await one.connect(Peer.keyed(two.public_key), Collector())
        stream.transport.write(b"back again")
        await stream.receives(b"back again")


class NetworkConformance(DiscoveryConformance, StreamConformance, LifeCycleConformance):
    """All of it: mix this into a test case."""
