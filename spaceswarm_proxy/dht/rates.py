"""How many requests a host may make."""

from __future__ import annotations

from spaceswarm_proxy.dht.contact import HOST_LENGTH

#: Requests of one host in a second that are looked at; many people may share a host's address.
MAX_REQUESTS_OF_HOST = 2000
#: Hosts that are counted apart; when there are more, the counting begins again.
_MOST_HOSTS = 65536


class RequestRates:
    """Counts the requests of each host, second by second."""

    __slots__ = ("_counts", "_due", "limit")

    def __init__(self, limit: int) -> None:
        """:param limit: requests in a second."""
        self.limit = limit
        self._counts: dict[bytes, int] = {}
        self._due = 0.0

    def allows(self, source: bytes, now: float) -> bool:
        """:returns: whether a request from that address is within its host's limit."""
        counts = self._counts
        if now >= self._due or len(counts) >= _MOST_HOSTS:
            counts.clear()
            self._due = now + 1.0
        host = source[:HOST_LENGTH]
        count = counts.get(host, 0)
        counts[host] = count + 1
        return count < self.limit
