"""Topics on the real network: :mod:`spaceswarm_proxy.network.dht_topics`."""

from __future__ import annotations

from twisted.internet.protocol import Factory

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import ClosedError, NetworkUnreachableError, SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort, Peer
from tests.network.dht_world import ROOM, TIMES, DHTNetworkTestCase
from tests.network.support import Collector, Finder

#: Addresses as they are announced; nobody ever asks there.
HERE, THERE = HostPort("192.0.2.1", 1001), HostPort("192.0.2.2", 1002)


class LookupTests(DHTNetworkTestCase):
    """Who is found, and when."""

    def test_rounds(self) -> None:
        """Who comes later is found in the next round; so is everybody who was there before, once in each."""
        one, two = self.pair()
        finder = Finder()
        self.wait(one.lookup(ROOM, finder).flushed())
        self.wait(two.announce(ROOM).flushed())
        self.reactor.elapse(TIMES.interval - 20)
        self.assertEqual((1, []), (finder.rounds, finder.found))
        self.reactor.elapse(25)
        self.assertEqual((2, [two.peer]), (finder.rounds, finder.found))
        self.reactor.elapse(TIMES.interval)
        self.assertEqual((3, [two.peer] * 2), (finder.rounds, finder.found))

    def test_relays(self) -> None:
        """Who is found comes with the nodes that know the way, and the topic; news of it comes again."""
        one, two = self.pair()
        key_pair = two.key_pair
        nodes = self.opened[0].nodes
        self.wait(two.node.announce(ROOM, key_pair, [HERE], nodes=[nodes[0].address]).finished())
        finder = Finder()
        lookup = one.lookup(ROOM, finder)
        self.wait(lookup.flushed())
        (peer,) = finder.found
        self.assertEqual(((HERE,), frozenset({ROOM})), (peer.relay_addresses, peer.topics))
        self.wait(two.node.announce(ROOM, key_pair, [THERE], clear=True).finished())
        self.reactor.elapse(TIMES.pause)
        lookup.update()
        self.wait(lookup.flushed())
        self.assertEqual([(HERE,), (THERE,)], [peer.relay_addresses for peer in finder.found])

    def test_seeds(self) -> None:
        """A round begins at the nodes that were nearest in the last one."""
        one, _ = self.pair()
        begun: list[object] = []
        lookup = one.node.lookup

        def watched(topic: bytes, *, nodes: object = ()) -> object:
            begun.append(nodes)
            return lookup(topic, nodes=nodes)  # type: ignore[arg-type]

        self.patch(one.node, "lookup", watched)
        search = one.lookup(ROOM, Finder())
        self.wait(search.flushed())
        self.reactor.elapse(TIMES.pause)
        search.update()
        self.wait(search.flushed())
        first, second = begun
        self.assertEqual(((), {node.address for node in self.opened[0].nodes}), (first, set(second)))  # type: ignore

    def test_nobody_answers(self) -> None:
        """While nobody answers rounds fail, and are tried again."""
        alone = self.network(bootstrap=[self.silent().getsockname()])
        finder = Finder()
        lookup = alone.lookup(ROOM, finder)
        for _ in range(2):
            self.fails(lookup.flushed(), NetworkUnreachableError)
            self.assertEqual(0, finder.rounds)
            self.reactor.elapse(TIMES.retry)

    def test_closed_by_the_receiver(self) -> None:
        """When the receiver closes it, nothing of it is left on the node."""
        one, two = self.pair()
        self.wait(two.announce(ROOM).flushed())

        class Closing(Finder):
            def peer_found(self, peer: Peer) -> None:
                super().peer_found(peer)
                lookup.close()

        finder = Closing()
        lookup = one.lookup(ROOM, finder)
        self.until(finder.when(lambda: finder.found), 5)
        self.assertEqual(([two.peer], 0), (finder.found, one.node.stats.queries))

    def test_suspended_by_the_receiver(self) -> None:
        """When the receiver suspends the network, it hears no more."""
        one, two = self.pair()
        self.wait(two.announce(ROOM).flushed())

        class Suspending(Finder):
            def peer_found(self, peer: Peer) -> None:
                super().peer_found(peer)
                one.suspend()

        finder = Suspending()
        one.lookup(ROOM, finder)
        self.reactor.elapse(5)
        self.assertEqual(([two.peer], 0), (finder.found, finder.rounds))

    def test_network_update(self) -> None:
        """When the network has changed, it is asked again."""
        one, _ = self.pair()
        finder = Finder()
        self.wait(one.lookup(ROOM, finder).flushed())
        self.reactor.elapse(10)
        one.node.events.emit("network_update")
        self.reactor.elapse(1)
        self.assertEqual(2, finder.rounds)


class AnnouncementTests(DHTNetworkTestCase):
    """What others are told of us."""

    def test_without_listener(self) -> None:
        """Who does not listen is found all the same, and no way is named that leads to it."""
        one, _ = self.pair()
        self.wait(one.announce(ROOM).flushed())
        self.assertEqual({()}, self.relays(one))

    def test_relays_of_the_listener(self) -> None:
        """Who listens is announced with the nodes that lead to it, whichever of the two was first."""
        one, two = self.pair()
        self.wait(one.announce(ROOM).flushed())
        for network in (one, two):
            port = self.wait(network.listen(Collector()))
            self.assertEqual(3, len(port.relay_addresses))  # type: ignore[attr-defined]
        self.wait(two.announce(ROOM).flushed())
        self.reactor.elapse(TIMES.pause + 1)
        for network in (one, two):
            expected = tuple(network.listener.relay_addresses)  # type: ignore[union-attr]
            self.assertEqual({expected}, self.relays(network))

    def test_listener_being_opened(self) -> None:
        """An announcement waits for a listener that is being opened: one round tells the nodes that lead to it."""
        one, _ = self.pair()
        listening, announced = one.listen(Collector()), one.announce(ROOM).flushed()
        self.reactor.elapse(TIMES.pause / 2)
        port = self.successResultOf(listening)
        self.successResultOf(announced)
        self.assertEqual({tuple(port.relay_addresses)}, self.relays(one))  # type: ignore[attr-defined]

    def test_listener_that_does_not_open(self) -> None:
        """If that comes to nothing, it is announced without."""
        one, _ = self.pair()
        listening, announced = one.listen(Collector()), one.announce(ROOM).flushed()
        listening.addErrback(lambda _: None)
        listening.cancel()
        self.reactor.elapse(TIMES.pause / 2)
        self.successResultOf(announced)
        self.assertEqual({()}, self.relays(one))

    def test_relays_change(self) -> None:
        """When other nodes lead to it, it is announced again after a while; so it is when nothing listens."""
        one, _ = self.pair()
        port = self.wait(one.listen(Collector()))
        self.wait(one.announce(ROOM).flushed())
        inner = one.listener._port  # type: ignore[union-attr]
        assert inner is not None
        announcer = inner._listener.announcer  # type: ignore[union-attr]
        before = self.relays(one)
        announcer._publish([address_of(*HERE)])
        after = {tuple(port.relay_addresses)}  # type: ignore[attr-defined]
        self.reactor.elapse(TIMES.settle - 5)
        self.assertEqual(before, self.relays(one))
        self.reactor.elapse(10)
        self.assertEqual(after, self.relays(one))
        self.assertNotEqual(before, after)
        self.wait(port.stopListening())  # type: ignore[arg-type]
        self.reactor.elapse(TIMES.settle)
        self.assertEqual({()}, self.relays(one))

    def test_lasts(self) -> None:
        """An announcement lasts: nodes are reminded of it before they forget it."""
        one, _ = self.pair()
        self.wait(one.announce(ROOM).flushed())
        for node in self.opened[0].nodes:
            node._core.store.unannounce(ROOM, one.public_key)
        self.assertEqual([], self.records(one))
        self.reactor.elapse(TIMES.interval + 5)
        self.assertEqual(3, len(self.records(one)))

    def test_left_behind(self) -> None:
        """What was announced before with the same key, and other relays, is replaced."""
        one, _ = self.pair()
        self.wait(one.node.announce(ROOM, one.key_pair, [HERE]).finished())
        self.wait(one.announce(ROOM).flushed())
        self.assertEqual({()}, self.relays(one))

    def test_closed(self) -> None:
        """When it is closed nobody knows of it; who waits for that is told."""
        one, _ = self.pair()
        announcement = one.announce(ROOM)
        self.wait(announcement.flushed())
        self.assertEqual(3, len(self.records(one)))
        closed = [announcement.close() for _ in range(2)]
        for each in closed:
            self.assertNoResult(each)
        for each in closed:
            self.wait(each)
        self.assertEqual([], self.records(one))
        self.wait(announcement.close())

    def test_closed_while_announcing(self) -> None:
        """It may be closed in the middle of a round."""
        one, _ = self.pair()
        announcement = one.announce(ROOM)
        waiting = announcement.flushed()
        self.reactor.advance(0)
        self.wait(announcement.close())
        self.failureResultOf(waiting, ClosedError)
        self.assertEqual([], self.records(one))

    def test_two_of_one_topic(self) -> None:
        """As long as one of two is open, the network is found; whichever of them was closed first."""
        one, _ = self.pair()
        for keep in (0, 1):
            both = [one.announce(ROOM) for _ in range(2)]
            self.wait(both[0].flushed())
            self.wait(both[1 - keep].close())
            self.assertEqual(3, len(self.records(one)))
            self.wait(both[keep].close())
            self.assertEqual([], self.records(one))

    def test_again_at_once(self) -> None:
        """A new one may begin while the last is being taken back: it comes after that."""
        one, _ = self.pair()
        announcement = one.announce(ROOM)
        self.wait(announcement.flushed())
        closed = announcement.close()
        self.wait(one.announce(ROOM).flushed())
        self.successResultOf(closed)
        self.assertEqual(3, len(self.records(one)))

    def test_nobody_answers(self) -> None:
        """While nobody answers it fails, and is tried again; to close it takes no longer than others may need."""
        world = self.world()
        one = self.network(world)
        announcement = one.announce(ROOM)
        self.wait(announcement.flushed())
        for node in world.nodes:
            self.wait(node.suspend())
        closed = announcement.close()
        self.wait(closed, seconds=3.1)
        announcement = one.announce(ROOM)
        self.fails(announcement.flushed(), SpaceswarmError)
        for node in world.nodes:
            self.wait(node.resume())
        self.reactor.elapse(TIMES.retry + 5)
        self.wait(announcement.flushed())

    def test_two_identities(self) -> None:
        """Identities of one network are found apart, and by each other."""
        one, _ = self.pair()
        children = [one.with_identity(KeyPair.generate()) for _ in range(2)]
        for child in children:
            self.wait(child.announce(ROOM).flushed())
        for child, other in (children, reversed(children)):
            finder = Finder()
            self.wait(child.lookup(ROOM, finder).flushed())
            self.assertEqual([other.peer], finder.found)

    def test_suspended(self) -> None:
        """What is announced while the network is suspended is found when it is resumed."""
        one, _ = self.pair()
        self.wait(one.suspend())
        self.wait(one.suspend())
        announcement = one.announce(ROOM)
        waiting = announcement.flushed()
        listening = one.listen(Factory())
        self.reactor.elapse(10)
        for each in (waiting, listening):
            self.assertNoResult(each)
        self.assertEqual([], self.records(one))
        self.wait(one.resume())
        self.wait(waiting)
        self.wait(listening)
        self.assertEqual(3, len(self.records(one)))
