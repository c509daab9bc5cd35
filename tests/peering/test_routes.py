"""What is remembered of peers: :mod:`spaceswarm_proxy.peering.routes`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.peering.routes import MAX_ROUTES, Latest, Route, Routes

ADDRESS = address_of("10.0.0.1", 1)


class LatestTests(SynchronousTestCase):
    """A mapping that keeps what was used last."""

    def test_bounded(self) -> None:
        """Whatever was not used for longest goes; to look it up is to use it."""
        latest: Latest[int] = Latest(2)
        latest.put(b"a", 1)
        latest.put(b"b", 2)
        self.assertEqual(1, latest.get(b"a"))
        latest.put(b"c", 3)
        self.assertEqual([(b"a", 1), (b"c", 3)], list(latest.items()))
        self.assertIsNone(latest.get(b"b"))

    def test_replaced(self) -> None:
        """A newer entry takes the place of the older one, and is forgotten once."""
        latest: Latest[int] = Latest(2)
        latest.put(b"a", 1)
        latest.put(b"a", 2)
        self.assertEqual((1, 2, None), (len(latest), latest.pop(b"a"), latest.pop(b"a")))

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("put get pop".split()), st.integers(0, 9))))
    def test_like_a_list(self, steps: list[tuple[str, int]]) -> None:
        """It is what a list would be from which the first goes, and to whose end goes what is used."""
        latest: Latest[int] = Latest(3)
        model: list[int] = []
        for step, number in steps:
            getattr(latest, step)(*((bytes([number]), number) if step == "put" else (bytes([number]),)))
            used = step == "put" or (step == "get" and number in model)
            model = ([other for other in model if other != number] + [number] * used)[-3:]
            self.assertEqual(model, [value for _, value in latest.items()])


class RoutesTests(SynchronousTestCase):
    """Ways to peers."""

    def test_taken(self) -> None:
        """A way is known until it is taken out; the latest one counts."""
        routes = Routes()
        routes.add(b"key", 2, ADDRESS)
        routes.add(b"key", 3, ADDRESS)
        self.assertEqual(Route(3, ADDRESS), routes.pop(b"key"))
        self.assertIsNone(routes.pop(b"key"))

    def test_socket_closed(self) -> None:
        """With a socket go all ways over it, and no others."""
        routes = Routes()
        for number in range(4):
            routes.add(bytes([number]), number % 2, ADDRESS)
        routes.socket_closed(0)
        self.assertEqual(2, len(routes))
        self.assertIsNone(routes.get(b"\x00"))
        self.assertEqual(Route(1, ADDRESS), routes.get(b"\x01"))

    def test_bounded(self) -> None:
        """There are never more than so many."""
        routes = Routes()
        for number in range(2 * MAX_ROUTES):
            routes.add(number.to_bytes(2, "big"), 1, ADDRESS)
        self.assertEqual(MAX_ROUTES, len(routes))
