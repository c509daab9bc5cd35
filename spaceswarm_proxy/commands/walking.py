"""What people are told while the network is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.task import LoopingCall

from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.peering.node import DHTNode

#: Seconds between two lines.
INTERVAL = 1.0


@contextmanager
def walking(reactor: Any, narrator: Narrator, node: DHTNode, what: str) -> Iterator[None]:
    """
    Tell now and then how far the node has come, until the body ends.

    :param what: what it is doing.
    """
    before = node.stats

    def tell() -> None:
        now = node.stats
        answered = now.requests_answered - before.requests_answered
        asked = now.requests_under_way
        silent = now.requests_timed_out - before.requests_timed_out
        narrator.progress(f"{what}: {answered} answers, {silent} without one, {asked} still asked")

    ticking = LoopingCall(tell)
    ticking.clock = reactor
    ticking.start(INTERVAL, now=False)
    try:
        yield
    finally:
        ticking.stop()
