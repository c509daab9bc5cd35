"""
Finding out what kind of address translation a socket is behind: a few nodes are asked what they see.

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.5.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import nlargest

from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.table import Entry
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.asking import Asking
from spaceswarm_proxy.peering.samples import ENOUGH, NatSamples

#: Nodes that were heard last come last, where there are others: whoever has just answered us is asked often enough.
POSTPONED = 5
#: Nodes in the table from which on there are others.
MANY = 8
#: How often nodes are looked for: again if the first have not answered.
ATTEMPTS = 2


class Sampling:
    """The samples of one socket, and the requests that they come from."""

    def __init__(self, node: NodeCore, socket: int, ended: Callable[[float], None]) -> None:
        """:param ended: called once, when the samples are as good as they get, at the latest after two seconds."""
        self.samples = NatSamples(lambda: node.firewalled)
        #: Are they as good as they get?
        self.done = False
        self._node = node
        self._socket = socket
        self._ended = ended
        self._asking = Asking(node)
        self._asked: set[bytes] = set()
        self._attempts = 0
        self._missing = 0

    def begin(self, now: float) -> None:
        """Ask."""
        self._attempts += 1
        addresses = self._candidates()[: ENOUGH - len(self.samples)]
        self._asked.update(addresses)
        # One more than are asked: what can't be sent is answered at once.
        self._missing = len(addresses) + 1
        for address in addresses:
            answered = partial(self._answered, address)
            self._asking.ask(address, Command.make(True, PING), answered, now, retries=0, socket=self._socket)
        self._one_less(now)

    def add(self, address: bytes, responder: bytes, now: float) -> None:
        """Somebody says what the socket's address is."""
        self.samples.add(address, responder)
        if self.samples.analysed:
            self._end(now)

    def stop(self) -> None:
        """Nobody wants to know any more; nobody is told."""
        self.done = True
        self._asking.forget()

    def _candidates(self) -> list[bytes]:
        """:returns: who can be asked, the likeliest to answer first."""
        latest = nlargest(POSTPONED + ENOUGH * ATTEMPTS, self._node.table, key=_heard)
        if len(latest) >= MANY:
            latest = latest[POSTPONED:] + latest[:POSTPONED]
        return [entry.contact.address for entry in latest if entry.contact.address not in self._asked]

    def _answered(self, address: bytes, answer: Response | SpaceswarmError, now: float) -> None:
        if isinstance(answer, Response):
            self.add(answer.to, address, now)
        self._one_less(now)

    def _one_less(self, now: float) -> None:
        self._missing -= 1
        if self._missing or self.done:
            return
        if len(self.samples) < ENOUGH and self._attempts < ATTEMPTS:
            self.begin(now)
        else:
            self._end(now)

    def _end(self, now: float) -> None:
        if not self.done:
            self.done = True
            self._ended(now)


def _heard(entry: Entry) -> float:
    return entry.heard
