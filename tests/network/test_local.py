"""A network inside one process."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.network.local import LocalHub
from tests.network.conformance import NetworkConformance


class LocalConformanceTests(NetworkConformance, TestCase):
    """Local networks keep every promise of a network."""

    def make_networks(self, count: int) -> Deferred[list]:
        hub = LocalHub()
        return succeed([hub.network() for _ in range(count)])


class LatencyConformanceTests(NetworkConformance, TestCase):
    """So they do when everything takes some time to arrive."""

    def make_networks(self, count: int) -> Deferred[list]:
        hub = LocalHub(latency=0.001, window=1024 * 1024)
        return succeed([hub.network() for _ in range(count)])
