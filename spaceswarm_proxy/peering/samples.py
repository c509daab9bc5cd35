"""
What kind of address translation a socket is behind, from what a few nodes say that its address is.

Three samples are the least that something follows from, since one node may be mistaken, or lie::

    the same address three times              CONSISTENT
    another one every time                    RANDOM
    the same address twice, of one host       RANDOM, if there are four samples or more
    two addresses twice, of different hosts   CONSISTENT: two ways to the Internet
    anything else                             RANDOM from five samples on, undecided before

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.peering.noise_payload import Firewall

#: Samples that a verdict needs, and with which one is expected.
FEWEST = 3
ENOUGH = 4
#: More than these say nothing new.
MOST = 32
#: How often an address must have been seen to be published, unless there are few.
_TWICE = 2
_NO_PORT = b"\x00\x00"


class NatSamples:
    """The samples of one socket."""

    def __init__(self, firewalled: Callable[[], bool]) -> None:
        """:param firewalled: does the node believe that nobody can reach it unasked?"""
        self.firewall = Firewall.UNKNOWN if firewalled() else Firewall.OPEN
        #: What the other side is told; port 0 stands for any.
        self.addresses: tuple[bytes, ...] | None = None
        #: Has the verdict been told to the other side, so that it must stay?
        self.frozen = False
        self._firewalled = firewalled
        self._responders: set[bytes] = set()
        # In the order of their first sample, which decides between those that are equally frequent.
        self._seen: Counter[bytes] = Counter()
        self._hosts: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """:returns: how many there are."""
        return len(self._responders)

    @property
    def analysed(self) -> bool:
        """Is it pointless to wait for more?"""
        return self.firewall in (Firewall.CONSISTENT, Firewall.OPEN) or len(self) >= ENOUGH

    def add(self, address: bytes, responder: bytes) -> None:
        """
        Somebody says what our address is; the first time counts.

        :param address: ours, six bytes.
        :param responder: who says so.
        """
        if responder in self._responders or len(self) >= MOST:
            return
        self._responders.add(responder)
        self._seen[address] += 1
        self._hosts[address[:HOST_LENGTH]] += 1
        if not self.frozen:
            self._judge()

    def freeze(self) -> None:
        """The other side counts on what it is told: samples that still come change nothing."""
        self.frozen = True

    def _judge(self) -> None:
        if not self._firewalled():
            self.firewall = Firewall.OPEN
        elif len(self) >= FEWEST:
            self.firewall = self._verdict()
        else:
            self.firewall = Firewall.UNKNOWN
        self.addresses = self._published()

    def _verdict(self) -> Firewall:
        hits = [count for _, count in self._seen.most_common(2)]
        if hits[0] >= FEWEST:
            return Firewall.CONSISTENT
        if hits[0] == 1 or (len(self._hosts) == 1 and len(self) >= ENOUGH):
            return Firewall.RANDOM
        if len(self._hosts) > 1 and hits[1] >= _TWICE:
            return Firewall.CONSISTENT
        if len(self) > ENOUGH:
            return Firewall.RANDOM
        return Firewall.UNKNOWN if self.firewall == Firewall.OPEN else self.firewall

    def _published(self) -> tuple[bytes, ...] | None:
        if self.firewall == Firewall.UNKNOWN:
            return None
        if self.firewall == Firewall.RANDOM:
            host = self._hosts.most_common(1)[0][0]
            return (host + _NO_PORT,)
        # The reference publishes nothing where it is OPEN, so that nobody can punch to it.
        ranked = self._seen.most_common()
        return tuple(address for place, (address, hits) in enumerate(ranked) if hits >= _TWICE or place < _TWICE)
