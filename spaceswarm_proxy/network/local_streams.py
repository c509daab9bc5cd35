"""Streams between two networks on one hub: a pipe, and a protocol at each end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.interfaces import IProtocol, IProtocolFactory

from spaceswarm_proxy.errors import ConnectCancelledError, StreamAbortedError
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network import pipe

if TYPE_CHECKING:
    from spaceswarm_proxy.network.listener import LocalListener
    from spaceswarm_proxy.network.local import LocalHub, LocalNetwork


class End(NamedTuple):
    """One of the two."""

    network: LocalNetwork
    #: The other one, as it is seen from here.
    sees: PeerAddress

    @property
    def host(self) -> PeerAddress:
        """What it is itself."""
        return PeerAddress(self.network.peer, self.sees.initiator, end_to_end=True)


def open_stream(
    hub: LocalHub, near: End, far: End, far_protocol: IProtocol, build: Callable[[PeerAddress], IProtocol | None]
) -> IProtocol:
    """
    Lay a pipe.

    :param near: who opens the stream.
    :param far_protocol: of the other end; it is connected first.
    :param build: makes the near one.
    :returns: that, connected.
    :raises ConnectCancelledError: there was none; then, or if ``build`` fails, the far end sees a reset.
    """
    one, other = pipe.pipe(
        hub.reactor,
        near.host,
        far.host,
        near_seen=far.sees,
        far_seen=near.sees,
        window=hub.window,
        latency=hub.latency,
        lost=(near.network.streams.lost, far.network.streams.lost),
    )
    far.network.streams.opened(other)
    other.attach(far_protocol)
    try:
        protocol = build(near.sees)
        if protocol is None:
            raise ConnectCancelledError("the factory built no protocol")
    except BaseException:
        one.abort(StreamAbortedError())
        raise
    near.network.streams.opened(one)
    one.attach(protocol)
    return protocol


def open_plain(
    hub: LocalHub, network: LocalNetwork, listener: LocalListener, peer: Peer, factory: IProtocolFactory
) -> IProtocol:
    """
    Open a stream between two whose keys are here: nobody is between them, so nothing is encrypted.

    :param network: who opens it.
    :param listener: the peer's.
    :returns: the factory's protocol, connected.
    :raises SpaceswarmError: either side did not want it.
    """
    far = End(listener.network, PeerAddress(network.peer, initiator=False, end_to_end=True))
    far_protocol = listener.build(far.sees)
    near = End(network, PeerAddress(peer, end_to_end=True))
    return open_stream(hub, near, far, far_protocol, factory.buildProtocol)
