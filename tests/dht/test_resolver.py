"""Tests of spaceswarm_proxy.dht.resolver."""

from __future__ import annotations

import gc

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.resolver import BootstrapResolver
from tests.dht.names import Names
from tests.dht.stepping import SteppedReactor

FIRST, SECOND, THIRD = (address_of(f"10.0.0.{number}", 80) for number in (1, 2, 3))


class ResolverTests(SynchronousTestCase):
    """What becomes of the list of bootstrap nodes."""

    def setUp(self) -> None:
        self.names = Names()
        self.found: list[tuple[bytes, ...]] = []

    def resolver(self, *texts: str) -> BootstrapResolver:
        reactor = SteppedReactor()
        reactor.installNameResolver(self.names)
        return BootstrapResolver(reactor, [BootstrapNode.parse(text) for text in texts], self.found.append)

    def test_addresses(self) -> None:
        """Addresses are there at once, each of them once and in order, and nobody is asked."""
        resolver = self.resolver("10.0.0.1:80", "10.0.0.2@two.example:80", "10.0.0.1:80")
        self.assertEqual((FIRST, SECOND), resolver.addresses)
        self.assertIsNone(self.successResultOf(resolver.start()))
        self.assertEqual(([], []), (self.names.asked, self.found))

    def test_none(self) -> None:
        """Of an empty list nothing comes, and nothing is waited for."""
        resolver = self.resolver()
        self.successResultOf(resolver.start())
        resolver.again()
        self.assertEqual(((), False, []), (resolver.addresses, resolver.busy, self.names.asked))

    def test_names(self) -> None:
        """Names without an address are resolved at the start, all at the same time, to IPv4 addresses."""
        resolver = self.resolver("one.example:80", "10.0.0.2:80", "three.example:80")
        starting = resolver.start()
        self.assertEqual(["one.example", "three.example"], self.names.names)
        self.assertEqual([[IPv4Address]] * 2, [question.types for question in self.names.asked])
        self.assertTrue(resolver.busy)
        self.names.asked[1].answer("10.0.0.3")
        self.assertNoResult(starting)
        self.assertEqual([(SECOND, THIRD)], self.found)
        self.names.asked[0].answer("10.0.0.1")
        self.successResultOf(starting)
        self.assertEqual([(SECOND, THIRD), (FIRST, SECOND, THIRD)], self.found)
        self.assertEqual(((FIRST, SECOND, THIRD), False), (resolver.addresses, resolver.busy))

    def test_answer_at_once(self) -> None:
        """A resolver that answers before it returns is one too."""
        self.names.known = {"one.example": ("10.0.0.1",)}
        resolver = self.resolver("one.example:80")
        self.successResultOf(resolver.start())
        self.assertEqual(((FIRST,), False), (resolver.addresses, resolver.busy))

    def test_first_of_several(self) -> None:
        """Of a name's addresses the first is taken."""
        resolver = self.resolver("one.example:80")
        resolver.start()
        self.names.asked[0].answer("10.0.0.1", "10.0.0.2")
        self.assertEqual([(FIRST,)], self.found)

    def test_no_such_name(self) -> None:
        """That a name has no address is no error; it is asked for again when that is wanted."""
        resolver = self.resolver("one.example:80")
        starting = resolver.start()
        self.names.asked[0].answer()
        self.successResultOf(starting)
        self.assertEqual(((), []), (resolver.addresses, self.found))
        resolver.again()
        self.assertEqual(["one.example"] * 2, self.names.names)
        self.names.asked[1].answer("10.0.0.1")
        self.assertEqual([(FIRST,)], self.found)

    def test_names_beside_addresses(self) -> None:
        """The name beside an address is resolved only when nobody answers, and its address comes second."""
        resolver = self.resolver("10.0.0.1@one.example:80", "10.0.0.3:80")
        resolver.start()
        resolver.again()
        self.assertEqual(["one.example"], self.names.names)
        self.names.asked[0].answer("10.0.0.2")
        self.assertEqual([(FIRST, SECOND, THIRD)], self.found)

    def test_one_at_a_time(self) -> None:
        """While names are being resolved, they are not asked for again."""
        resolver = self.resolver("one.example:80")
        resolver.start()
        resolver.again()
        resolver.again()
        self.assertEqual(["one.example"], self.names.names)

    def test_only_news(self) -> None:
        """An address is told when it is a new one; the name's old address is forgotten then."""
        self.names.known = {"one.example": ("10.0.0.1",)}
        resolver = self.resolver("one.example:80")
        resolver.start()
        resolver.again()
        self.assertEqual([(FIRST,)], self.found)
        self.names.known = {"one.example": ("10.0.0.2",)}
        resolver.again()
        self.assertEqual([(FIRST,), (SECOND,)], self.found)
        self.names.known = {"one.example": ()}
        resolver.again()
        self.assertEqual((SECOND,), resolver.addresses)

    def test_close(self) -> None:
        """Closing ends what is being resolved, and answers that come all the same lead to nothing."""
        resolver = self.resolver("one.example:80", "two.example:80")
        starting = resolver.start()
        self.names.asked[0].answer("10.0.0.1")
        self.found.clear()
        resolver.close()
        self.successResultOf(starting)
        self.assertFalse(resolver.busy)
        self.names.asked[1].answer("10.0.0.2")
        self.assertEqual([], self.found)
        del starting, resolver
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_close_when_nothing_is_resolved(self) -> None:
        """Closing is harmless at any other time, and a second time."""
        resolver = self.resolver("10.0.0.1:80")
        resolver.close()
        resolver.start()
        resolver.close()
        resolver.close()
        self.assertFalse(resolver.busy)
