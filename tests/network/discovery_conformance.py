"""What every network promises of lookups and announcements."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup
from spaceswarm_proxy.topics import topic
from tests.network.support import Finder, NetworkTests

ROOM = topic("room")
HALL = topic("hall")


class DiscoveryConformance(NetworkTests):
    """Finding, and being found."""

    async def test_announced_before(self) -> None:
        """A lookup finds who was announced before it began."""
        one, two = await self.networks(2)
        await two.announce(ROOM).flushed()
        finder = Finder()
        one.lookup(ROOM, finder)
        await finder.finds(two)

    async def test_announced_later(self) -> None:
        """A lookup goes on: it finds who is announced while it lasts."""
        one, two = await self.networks(2)
        finder = Finder()
        await one.lookup(ROOM, finder).flushed()
        self.assertEqual(finder.found, [])
        two.announce(ROOM)
        await finder.finds(two)

    async def test_found_peer(self) -> None:
        """What is found has the peer's public key, and the topic that it was found under."""
        one, two = await self.networks(2)
        finder = Finder()
        one.lookup(ROOM, finder)
        two.announce(ROOM)
        await finder.finds(two)
        peer = finder.peer(two)
        self.assertEqual(peer.id, two.public_key.hex().encode())
        self.assertIn(ROOM, peer.topics)

    async def test_not_before_lookup_has_returned(self) -> None:
        """The receiver is never called from inside ``lookup``."""
        one, two = await self.networks(2)
        await two.announce(ROOM).flushed()
        finder = Finder()
        lookup = one.lookup(ROOM, finder)
        self.assertEqual((finder.found, finder.rounds), ([], 0))
        await lookup.flushed()

    async def test_not_oneself(self) -> None:
        """Nobody finds himself."""
        one, two = await self.networks(2)
        await one.announce(ROOM).flushed()
        finder = Finder()
        lookup = one.lookup(ROOM, finder)
        two.announce(ROOM)
        await finder.finds(two)
        lookup.update()
        await lookup.flushed()
        self.assertFalse(finder.knows(one))

    async def test_everybody(self) -> None:
        """A lookup finds everybody, and everybody finds the others."""
        networks = await self.networks(3)
        finders = [Finder() for _ in networks]
        for network, finder in zip(networks, finders, strict=True):
            network.announce(ROOM)
            network.lookup(ROOM, finder)
        for network, finder in zip(networks, finders, strict=True):
            for other in networks:
                if other is not network:
                    await finder.finds(other)

    async def test_many_topics(self) -> None:
        """One peer can be found under many topics."""
        one, two = await self.networks(2)
        for topic_ in (ROOM, HALL):
            two.announce(topic_)
        for topic_ in (ROOM, HALL):
            finder = Finder()
            one.lookup(topic_, finder)
            await finder.finds(two)
            self.assertIn(topic_, finder.peer(two).topics)

    async def test_topics_are_apart(self) -> None:
        """A lookup finds nobody of another topic."""
        one, two, three = await self.networks(3)
        in_room, in_hall = Finder(), Finder()
        one.lookup(ROOM, in_room)
        one.lookup(HALL, in_hall)
        two.announce(ROOM)
        three.announce(HALL)
        await in_room.finds(two)
        await in_hall.finds(three)
        self.assertFalse(in_room.knows(three) or in_hall.knows(two))

    async def test_every_lookup_is_told(self) -> None:
        """Each lookup of a topic hears of everybody, also one that begins when another knows already."""
        one, two = await self.networks(2)
        early, late = Finder(), Finder()
        one.lookup(ROOM, early)
        two.announce(ROOM)
        await early.finds(two)
        one.lookup(ROOM, late)
        await late.finds(two)

    async def test_rounds(self) -> None:
        """``lookup_updated`` follows when those who can be found have been reported; then ``flushed`` fires."""
        one, two = await self.networks(2)
        await two.announce(ROOM).flushed()
        finder = Finder()
        known_at_flush = one.lookup(ROOM, finder).flushed().addCallback(lambda _: finder.knows(two))
        await finder.when(lambda: finder.rounds)
        self.assertTrue(finder.knows(two))
        self.assertTrue(await known_at_flush)

    async def test_update(self) -> None:
        """After an update, ``flushed`` fires again, and peers are still known."""
        one, two = await self.networks(2)
        await two.announce(ROOM).flushed()
        finder = Finder()
        lookup = one.lookup(ROOM, finder)
        await lookup.flushed()
        lookup.update()
        await lookup.flushed()
        self.assertTrue(finder.knows(two))

    async def test_flushed_for_each_caller(self) -> None:
        """Every ``flushed`` is a Deferred of its own: one that is cancelled does not harm the other."""
        one, two = await self.networks(2)
        for begin in (lambda: one.lookup(ROOM, Finder()), lambda: two.announce(ROOM)):
            entry = begin()
            cancelled, kept = entry.flushed(), entry.flushed()
            cancelled.cancel()
            with self.assertRaises(CancelledError):
                await cancelled
            self.assertIsNone(await kept)

    async def test_lookup_closed(self) -> None:
        """A lookup that is closed is silent."""
        one, two = await self.networks(2)
        silent, open_ = Finder(), Finder()
        lookup = one.lookup(ROOM, silent)
        await lookup.flushed()
        rounds = silent.rounds
        await lookup.close()
        one.lookup(ROOM, open_)
        two.announce(ROOM)
        await open_.finds(two)
        self.assertEqual((silent.found, silent.rounds), ([], rounds))

    async def test_lookup_closed_at_once(self) -> None:
        """A lookup that is closed before its first round reports nothing."""
        one, two = await self.networks(2)
        await two.announce(ROOM).flushed()
        silent, open_ = Finder(), Finder()
        await one.lookup(ROOM, silent).close()
        one.lookup(ROOM, open_)
        await open_.finds(two)
        self.assertEqual((silent.found, silent.rounds), ([], 0))

    async def test_closed_by_the_receiver(self) -> None:
        """A receiver may close the lookup from inside its call, and hears no more."""
        one, *others = await self.networks(3)
        for other in others:
            await other.announce(ROOM).flushed()
        finder = Finder()
        lookup = one.lookup(ROOM, finder)
        first = finder.when(lambda: finder.found)
        first.addCallback(lambda _: lookup.close())
        await first
        last = Finder()
        await one.lookup(ROOM, last).flushed()
        self.assertEqual((len(finder.found), finder.rounds), (1, 0))

    async def test_flushed_fails_when_closed(self) -> None:
        """What waits for a lookup or an announcement that is closed fails, and so does what comes after."""
        (one,) = await self.networks(1)
        for begin in (lambda: one.lookup(ROOM, Finder()), lambda: one.announce(ROOM)):
            entry = begin()
            waiting = entry.flushed()
            await entry.close()
            with self.assertRaises(SpaceswarmError):
                await waiting
            with self.assertRaises(SpaceswarmError):
                await entry.flushed()

    async def test_close_twice(self) -> None:
        """Closing a lookup or an announcement a second time is harmless, and so is an update after it."""
        (one,) = await self.networks(1)
        for entry in (one.lookup(ROOM, Finder()), one.announce(ROOM)):
            await entry.close()
            await entry.close()
            entry.update()

    async def test_announcement_closed(self) -> None:
        """Who is announced no more is not found by a lookup that begins then."""
        one, two, three = await self.networks(3)
        announcement = two.announce(ROOM)
        await announcement.flushed()
        await three.announce(ROOM).flushed()
        await announcement.close()
        finder = Finder()
        await one.lookup(ROOM, finder).flushed()
        await finder.finds(three)
        self.assertFalse(finder.knows(two))

    async def test_announced_again(self) -> None:
        """Who was announced, and then not, can be announced again."""
        one, two = await self.networks(2)
        await two.announce(ROOM).close()
        await two.announce(ROOM).flushed()
        finder = Finder()
        one.lookup(ROOM, finder)
        await finder.finds(two)

    async def test_announcement_update(self) -> None:
        """An announcement can be repeated; ``flushed`` fires after it."""
        (one,) = await self.networks(1)
        announcement = one.announce(ROOM)
        await announcement.flushed()
        announcement.update()
        self.assertIsNone(await announcement.flushed())

    async def test_topic_length(self) -> None:
        """A topic that is not 32 bytes is a ValueError at once."""
        (one,) = await self.networks(1)
        for wrong in (b"", ROOM[:-1], ROOM + b"0"):
            with self.assertRaises(ValueError):
                one.lookup(wrong, Finder())
            with self.assertRaises(ValueError):
                one.announce(wrong)

    async def test_interfaces(self) -> None:
        """Lookups and announcements are what they say, and know their topic."""
        (one,) = await self.networks(1)
        lookup, announcement = one.lookup(ROOM, Finder()), one.announce(ROOM)
        self.assertTrue(ILookup.providedBy(lookup))
        self.assertTrue(IAnnouncement.providedBy(announcement))
        self.assertEqual((lookup.topic, announcement.topic), (ROOM, ROOM))

    async def test_receiver_fails(self) -> None:
        """A receiver that raises harms neither the lookup nor the others; the error is logged."""
        one, two = await self.networks(2)

        class Failing(Finder):
            def peer_found(self, peer):
                super().peer_found(peer)
                raise ZeroDivisionError

        failing, healthy = Failing(), Finder()
        one.lookup(ROOM, failing)
        one.lookup(ROOM, healthy)
        two.announce(ROOM)
        await failing.finds(two)
        await healthy.finds(two)
        await failing.when(lambda: failing.rounds)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    async def test_suspended_is_hidden(self) -> None:
        """Who is suspended is not found; when it is resumed, it is, without being announced again."""
        one, two, three = await self.networks(3)
        await two.announce(ROOM).flushed()
        await three.announce(ROOM).flushed()
        await two.suspend()
        finder = Finder()
        lookup = one.lookup(ROOM, finder)
        await lookup.flushed()
        await finder.finds(three)
        self.assertFalse(finder.knows(two))
        await two.resume()
        lookup.update()
        await finder.finds(two)

    async def test_suspended_hears_nothing(self) -> None:
        """A lookup of a suspended network is silent; when it is resumed, it reports who came meanwhile."""
        one, two, three = await self.networks(3)
        suspended, awake = Finder(), Finder()
        await one.lookup(ROOM, suspended).flushed()
        rounds = suspended.rounds
        await one.suspend()
        two.lookup(ROOM, awake)
        three.announce(ROOM)
        await awake.finds(three)
        self.assertEqual((suspended.found, suspended.rounds), ([], rounds))
        await one.resume()
        await suspended.finds(three)
