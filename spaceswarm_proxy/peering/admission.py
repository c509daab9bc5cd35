"""
How many strangers a server has to do with at a time, and how fast they may come.

The first message of a handshake costs whoever sends it next to nothing, and us four Diffie-Hellman operations, a
socket and half a minute's attention.  So before anything is computed it is counted: against its host, and against all
together.  Whoever turns out to be there, since it uses what only the answer tells, has that given back for its host:
many clients behind one address, or a proxy, do not stand in each other's way.

The reference has no such limits.
"""

from __future__ import annotations

from dataclasses import dataclass

from spaceswarm_proxy.peering.routes import Latest

#: Hosts that are told apart; those that were not heard for longest begin anew.
MAX_HOSTS = 4096


@dataclass(frozen=True)
class AdmissionLimits:
    """What a server puts up with; a handshake costs about a millisecond, and one that is refused next to nothing."""

    #: Handshakes whose client was not heard yet: of everybody, and of one host.
    max_pending: int = 512
    max_pending_of_host: int = 256
    #: New handshakes in a second, in the long run and at once: of one host that was not heard, and of everybody.
    rate_of_host: float = 32.0
    burst_of_host: int = 256
    rate: float = 256.0
    burst: int = 1024


class Bucket:
    """So many at once, and so many a second in the long run."""

    __slots__ = ("_filled", "_level")

    def __init__(self, burst: float, now: float) -> None:
        self._level = float(burst)
        self._filled = now

    def has_one(self, rate: float, burst: float, now: float) -> bool:
        """:returns: whether one may be taken."""
        self._level = min(burst, self._level + (now - self._filled) * rate)
        self._filled = now
        return self._level >= 1

    def take(self) -> None:
        """Take one."""
        self._level -= 1

    def give_back(self) -> None:
        """One was not needed; there is room for it, or there will be none."""
        self._level += 1


class Admission:
    """Counts the handshakes of one server."""

    def __init__(self, limits: AdmissionLimits, now: float) -> None:
        self.limits = limits
        #: Handshakes whose client was not heard yet.
        self.pending = 0
        #: Handshakes that were refused.
        self.refused = 0
        self._all = Bucket(limits.burst, now)
        self._hosts: Latest[Bucket] = Latest(MAX_HOSTS)
        self._pending_of_host: dict[bytes, int] = {}

    def admit(self, host: bytes, now: float) -> bool:
        """
        Somebody wants to begin a handshake.

        :param host: four bytes: whoever answers for it.
        :returns: whether it may; it is pending then, until :meth:`settled`.
        """
        limits = self.limits
        bucket = self._hosts.get(host)
        if bucket is None:
            bucket = Bucket(limits.burst_of_host, now)
            self._hosts.put(host, bucket)
        if not (
            self.pending < limits.max_pending
            and self._pending_of_host.get(host, 0) < limits.max_pending_of_host
            and bucket.has_one(limits.rate_of_host, limits.burst_of_host, now)
            and self._all.has_one(limits.rate, limits.burst, now)
        ):
            self.refused += 1
            return False
        bucket.take()
        self._all.take()
        self.pending += 1
        self._pending_of_host[host] = self._pending_of_host.get(host, 0) + 1
        return True

    def settled(self, host: bytes, heard: bool = False) -> None:
        """
        A handshake is pending no more.

        :param heard: was the client heard, and not only come to nothing?
        """
        self.pending -= 1
        self._pending_of_host[host] -= 1
        if not self._pending_of_host[host]:
            del self._pending_of_host[host]
        bucket = self._hosts.get(host)
        if heard and bucket is not None:
            bucket.give_back()
