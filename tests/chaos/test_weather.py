"""Tests of tests.chaos.weather."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udp.port import UDPPort
from tests.chaos.weather import LOST, Weather, WetStreams, wet_port

DATAGRAMS = 2000
PORTION = LOST / 100


class Heard:
    """Streams that count."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def receive(self, data: memoryview, segment: int, stride: int, *others: Any) -> None:
        assert len(data) == segment == stride
        self.packets.append(bytes(data))


class WeatherTests(SynchronousTestCase):
    """What is lost, and when."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.weather = Weather(str(self.file), 7)

    def rain(self) -> None:
        self.file.touch()

    def assert_some(self, count: int) -> None:
        """About as many got through as should."""
        self.assertLess(abs(1 - PORTION - count / DATAGRAMS), 0.05)

    def test_dry(self) -> None:
        """Without the file nothing is lost."""
        self.assertFalse(any(self.weather.takes() for _ in range(DATAGRAMS)))

    def test_rain(self) -> None:
        """With it some are, until it is gone."""
        self.rain()
        self.assert_some(sum(not self.weather.takes() for _ in range(DATAGRAMS)))
        os.remove(self.file)
        self.test_dry()

    def test_trains(self) -> None:
        """Of a train each packet is lost for itself; the others arrive as they were, the shorter last one too."""
        self.rain()
        heard = Heard()
        data = memoryview(bytes(DATAGRAMS * 10 - 3))
        WetStreams(self.weather, heard).receive(data, 10, 10, b"", 0, 0.0)
        self.assert_some(len(heard.packets))
        self.assertLessEqual({len(packet) for packet in heard.packets}, {10, 7})

    def test_sends(self) -> None:
        """A port says of what is lost that it was sent, and sends the rest."""
        sent: list[int] = []
        self.patch(UDPPort, "send", lambda port, data, address, ttl=0: sent.append(1) or True)
        self.patch(UDPPort, "send_train", lambda port, parts, segment, address: sent.append(len(parts)) or True)
        port = wet_port(self.weather)(None, 0, lambda *_: None, Clock().seconds, lambda: None)
        self.addCleanup(port._socket.close)
        self.rain()
        self.assertTrue(all(port.send(b"x", b"") for _ in range(DATAGRAMS)))
        self.assert_some(len(sent))
        del sent[:]
        self.assertTrue(port.send_train([memoryview(b"header"), memoryview(b"rest")] * DATAGRAMS, 10, b""))
        self.assert_some(sent[0] // 2)
