"""Whoever is announced under a target: what nodes are sent so that they believe it, signed by whoever has the key."""

from __future__ import annotations

from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.dht.commands import ANNOUNCE, UNANNOUNCE
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.values import Announce, PeerRecord
from spaceswarm_proxy.dht.writes import Decided
from spaceswarm_proxy.errors import SpaceswarmError


class Claimant:
    """One peer under one target; nodes are sent nothing before they have told their id and given a token."""

    def __init__(self, profile: Profile, keeper: Keeper, target: bytes) -> None:
        """
        :param keeper: signs.
        :param target: the topic, or the hash of the public key.
        """
        self.public_key = keeper.public_key
        self.target = target
        self._profile = profile
        self._keeper = keeper

    def announce(
        self, known: Response, decided: Decided, now: float, relays: tuple[bytes, ...] = (), bump: int = 0
    ) -> None:
        """
        Be found there.

        :param known: what the node has answered.
        :param decided: told of the command for it, at once or later.
        :param relays: addresses, six bytes each.
        """
        self._claim(Announce(PeerRecord(self.public_key, relays), bump=bump), False, known, decided, now)

    def unannounce(self, known: Response, decided: Decided, now: float) -> None:
        """Be found there no more."""
        self._claim(Announce(PeerRecord(self.public_key)), True, known, decided, now)

    def _claim(self, value: Announce, withdrawn: bool, known: Response, decided: Decided, now: float) -> None:
        if known.id is None or known.token is None:
            decided(None, now)
            return

        def signed(signature: bytes | SpaceswarmError, now: float) -> None:
            if isinstance(signature, SpaceswarmError):
                decided(signature, now)
            else:
                data = value._replace(signature=signature).encode()
                decided(Command.make(False, UNANNOUNCE if withdrawn else ANNOUNCE, self.target, data), now)

        self._keeper.sign(self._profile, value.claim(self.target, known.id, known.token, withdrawn), signed, now)
