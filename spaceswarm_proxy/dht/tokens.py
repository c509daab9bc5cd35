"""
Tokens: who wants to write must have asked before, from the same host, a moment ago.

A token needs no memory for each asker: it is a keyed hash of the asker's host.

:source: npm ``dht-rpc``; spec/dht.md, section 7.
"""

from __future__ import annotations

from spaceswarm_proxy.crypto.hashing import hash32, keyed_hash32
from spaceswarm_proxy.dht.contact import HOST_LENGTH, host_port
from spaceswarm_proxy.dht.turns import Turns

#: Seconds for which tokens are issued with one secret; they are accepted for as long again.
ROTATION = 7.5
#: Tokens that are remembered so as not to be computed again.
_CACHED = 4096


class Tokens:
    """Issues tokens with one secret, and accepts those of the one before too."""

    def __init__(self, accepted: bytes, issued: bytes, now: float) -> None:
        """
        :param accepted: the secret before the current one, 32 bytes.
        :param issued: the current one, 32 bytes.
        :param now: seconds.
        """
        self.secrets = accepted, issued
        self._turns = Turns(ROTATION, now)
        self._cache: dict[bytes, bytes] = {}

    def issue(self, address: bytes, now: float) -> bytes:
        """
        :param address: six bytes, of which the host counts.
        :returns: 32 bytes.
        """
        if now >= self._turns.due:
            self._catch_up(now)
        host = address[:HOST_LENGTH]
        token = self._cache.get(host)
        if token is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            token = self._cache[host] = _token(self.secrets[1], address)
        return token

    def accepts(self, token: bytes, address: bytes, now: float) -> bool:
        """:returns: whether the token is one of the last two that were issued to that host."""
        return token == self.issue(address, now) or token == _token(self.secrets[0], address)

    def rotate(self) -> None:
        """A new secret; tokens of the one before the last are void."""
        self.secrets = self.secrets[1], hash32(self.secrets[0])
        self._cache.clear()

    def _catch_up(self, now: float) -> None:
        # After two rotations everything issued before is void, however many were missed.
        for _ in range(min(self._turns.ended(now), 2)):
            self.rotate()


def _token(secret: bytes, address: bytes) -> bytes:
    return keyed_hash32(secret, host_port(address).host.encode())
