"""
Whose word on our address is taken, and how often.

Only answers to our own requests count: what unasked requests say of it costs nothing, and where they come from may be
forged.  A host is not believed more than twice in a while, as it has as many ports, and so ids, as it likes; two
are enough to see that an address translation gives us another port for each of them.
"""

from __future__ import annotations

from spaceswarm_proxy.dht.contact import HOST_LENGTH, is_shunned

#: Seconds after which a node's, or a host's, word is news again.
STALE = 1800.0
#: How often a host is believed in that time.
MOST_OF_HOST = 2
#: Hosts that are remembered; then the one that was heard least recently is forgotten.
MOST_HOSTS = 64


class Witnesses:
    """Remembers whom we have believed."""

    def __init__(self, unnamed: int) -> None:
        """:param unnamed: how many nodes are believed that do not tell their id: the first ones may be such."""
        self._unnamed = max(1, unnamed)
        self._believed: set[bytes] = set()
        # How often, and until when that counts; by host, the latest last.
        self._hosts: dict[bytes, tuple[int, float]] = {}

    def __len__(self) -> int:
        """How many hosts are remembered."""
        return len(self._hosts)

    def believes(self, address: bytes, now: float) -> bool:
        """:returns: whether a persistent node's word is taken now; then it counts."""
        host = address[:HOST_LENGTH]
        times, until = self._hosts.pop(host, (0, now + STALE))
        if now >= until:
            times, until = 0, now + STALE
        believed = times < MOST_OF_HOST
        self._hosts[host] = times + believed, until
        if len(self._hosts) > MOST_HOSTS:
            del self._hosts[next(iter(self._hosts))]
        return believed

    def believes_unnamed(self, address: bytes) -> bool:
        """:returns: whether the word of a node is taken that does not tell its id; then it counts."""
        if address in self._believed or len(self._believed) >= self._unnamed or is_shunned(address):
            return False
        self._believed.add(address)
        return True

    def forget_hosts(self) -> None:
        """Everybody's word is news again."""
        self._hosts.clear()

    def forget(self) -> None:
        """So is that of those who do not tell their id."""
        self._hosts.clear()
        self._believed.clear()
