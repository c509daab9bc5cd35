"""
Datagrams that are lost on their way, in both directions, while a file is there.

    python -m tests.chaos.weather FILE SEED MODULE ARGUMENTS...     runs a module under such a weather

``begin`` is for processes that are begun otherwise.  Only for nodes of ours; whatever they lose is lost for those of
others too that they talk with.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from spaceswarm_proxy.dht import ports
from spaceswarm_proxy.udp.port import UDPPort

#: How many of a hundred datagrams are lost while it rains, in each direction.
LOST = 20


class Weather:
    """Decides which datagrams are lost."""

    def __init__(self, path: str, seed: int) -> None:
        """:param path: of the file."""
        self._path = path
        self._random = Random(seed)

    def takes(self) -> bool:
        """Is this one lost?"""
        return self._random.random() * 100 < LOST and os.path.exists(self._path)


class WetStreams:
    """Streams that do not hear everything."""

    def __init__(self, weather: Weather, streams: Any) -> None:
        self._weather = weather
        self._streams = streams

    def receive(self, data: memoryview, segment: int, stride: int, source: bytes, socket: int, now: float) -> None:
        for start in range(0, len(data), stride or len(data)):
            if not self._weather.takes():
                one = data[start : start + segment]
                self._streams.receive(one, len(one), len(one), source, socket, now)


def begin(path: str, seed: int) -> None:
    """Let the nodes of this process be out in the weather."""
    ports.UDPPort = wet_port(Weather(path, seed))  # type: ignore[misc]


def wet_port(weather: Weather) -> type[UDPPort]:
    """:returns: a class of ports on which it rains."""

    class WetPort(UDPPort):
        """A port out in the weather."""

        def __init__(self, reactor: Any, number: int, receive: Any, *others: Any) -> None:
            super().__init__(reactor, number, _heard(weather, receive), *others)

        def carry(self, streams: Any) -> None:
            super().carry(WetStreams(weather, streams))

        def send(self, data: bytes, address: bytes, ttl: int = 0) -> bool:
            return weather.takes() or super().send(data, address, ttl)

        def send_train(self, parts: Sequence[memoryview], segment: int, address: bytes) -> bool:
            # Header and rest of each.
            kept = [parts[place : place + 2] for place in range(0, len(parts), 2) if not weather.takes()]
            return not kept or super().send_train([part for pair in kept for part in pair], segment, address)

    return WetPort


def _heard(weather: Weather, receive: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: None if weather.takes() else receive(*arguments)


if __name__ == "__main__":
    file, number, module, *rest = sys.argv[1:]
    from tests.chaos import weather as importable  # this module as others know it

    importable.begin(file, int(number))
    sys.argv[1:] = rest
    runpy.run_module(module, run_name="__main__", alter_sys=True)
