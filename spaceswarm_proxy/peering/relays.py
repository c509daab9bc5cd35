"""
Blind relays, as their peers use them.

::

    Relays         makes appointments, and has a link with each relay
    RelayLink      a connection with one relay, as long as anybody needs it       relay_link.py
    Meeting        one stream's appointment                                       meeting.py
    MuxProtocol    channels over an encrypted connection                          mux_protocol.py

Which relay it is, the other peer may have said, and that may be a stranger: the links that others make us have are
counted.

:source: npm ``hyperdht`` 6; spec/connect.md, sections 7.4 and 9.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from spaceswarm_proxy.errors import RelayAbortedError, SpaceswarmError
from spaceswarm_proxy.peering.meeting import Meeting, Turns
from spaceswarm_proxy.peering.noise_payload import RelayThrough
from spaceswarm_proxy.peering.raw import RawStream
from spaceswarm_proxy.peering.relay_link import Dial, RelayLink
from spaceswarm_proxy.peering.relaying import Met
from spaceswarm_proxy.peering.schedule import Schedule

#: Links with relays that others have named.
MAX_FOREIGN_LINKS = 64


class Relays:
    """A node's appointments at relays: the :class:`~spaceswarm_proxy.peering.relaying.Relaying` of its connections."""

    def __init__(self, turns: Turns, schedule: Schedule, public_key: bytes, dial: Dial) -> None:
        """
        :param schedule: when something is due.
        :param public_key: who we are to relays.
        :param dial: connects to them.
        """
        self._turns = turns
        self._schedule = schedule
        self._public_key = public_key
        self._dial = dial
        # By the relays' keys; several where one connection takes no more appointments.
        self._links: dict[bytes, list[RelayLink]] = {}

    @property
    def links(self) -> list[RelayLink]:
        """Those that there are."""
        return [link for links in self._links.values() for link in links]

    def meet(
        self,
        place: RelayThrough,
        is_initiator: bool,
        raw: RawStream,
        met: Met,
        failed: Callable[[SpaceswarmError, float], None],
        now: float,
    ) -> Meeting:
        """See :class:`~spaceswarm_proxy.peering.relaying.Relaying`."""
        meeting = Meeting(self._turns, place.token, is_initiator, raw, met, failed)
        link = self._link(place.public_key, place.token, is_initiator, now)
        if link is not None:
            link.add(meeting, now)
        else:
            problem = RelayAbortedError("there are too many connections with relays")
            self._turns.soon(partial(meeting.fail, problem))
        return meeting

    def _link(self, public_key: bytes, token: bytes, is_own: bool, now: float) -> RelayLink | None:
        """:returns: one with room for an appointment; ``None`` where others make us have too many."""
        links = self._links.get(public_key, ())
        link = next((link for link in links if link.has_room(token)), None)
        if link is None and (is_own or sum(not link.is_own for link in self.links) < MAX_FOREIGN_LINKS):
            link = RelayLink(
                self._turns, self._schedule, self._public_key, partial(self._forget, public_key), is_own, now
            )
            self._links.setdefault(public_key, []).append(link)
            self._turns.soon(partial(link.connect, self._dial, public_key))
        return link

    def _forget(self, public_key: bytes, link: RelayLink) -> None:
        links = self._links[public_key]
        links.remove(link)
        if not links:
            del self._links[public_key]
