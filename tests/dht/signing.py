"""Announces that are signed by hand."""

from __future__ import annotations

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.dht.values import Announce, PeerRecord


def signed(
    profile: Profile,
    key_pair: KeyPair,
    target: bytes,
    node_id: bytes,
    token: bytes,
    relays: tuple[bytes, ...] = (),
    refresh: bytes | None = None,
    bump: int = 0,
    withdrawn: bool = False,
) -> Announce:
    """:returns: the value of ANNOUNCE, or of UNANNOUNCE, for one node."""
    announce = Announce(PeerRecord(key_pair.public_key, relays), refresh, None, bump)
    signable = announce.claim(target, node_id, token, withdrawn).signable(profile)
    return announce._replace(signature=key_pair.sign(signable))
