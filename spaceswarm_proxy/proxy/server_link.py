"""One client of the server: what its events mean."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import txaio
from twisted.internet.defer import DeferredList
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keys import SECRET_KEY_LENGTH, SEED_LENGTH, KeyPair
from spaceswarm_proxy.errors import (
    AuthenticationError,
    DrainingError,
    EventError,
    LimitError,
    LinkTimeoutError,
    NotSupportedError,
    to_code,
)
from spaceswarm_proxy.interfaces import IAnnouncement, Peer
from spaceswarm_proxy.proxy import features
from spaceswarm_proxy.proxy.client_port import ClientPort
from spaceswarm_proxy.proxy.features import Feature, Role
from spaceswarm_proxy.proxy.link import Link
from spaceswarm_proxy.proxy.membership import Membership
from spaceswarm_proxy.proxy.upstreams import Upstreams
from spaceswarm_proxy.proxy.wire import Event, EventType

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.server import ProxyServer

log = txaio.make_logger()

#: The request number of a REPLY that is about the link itself.
LINK = 0


class ServerLink(Link):
    """The server's end of a link: one for each client, made by :class:`~spaceswarm_proxy.proxy.server.ProxyServer`."""

    handlers = {
        **Link.handlers,
        EventType.READY: "_on_ready",
        EventType.JOIN: "_on_join",
        EventType.LEAVE: "_on_leave",
        EventType.CONNECT: "_on_connect",
        EventType.LISTEN: "_on_listen",
        EventType.UNLISTEN: "_on_unlisten",
    }

    def __init__(self, server: ProxyServer, address: object) -> None:
        super().__init__(server.clock, server.limits, client=False)
        self.server = server
        self.address = address
        self.memberships: dict[bytes, Membership] = {}
        self.key_pair: KeyPair | None = None
        self._network: Any = None
        self.port = ClientPort(self)
        self.upstreams = Upstreams(self)
        self._since = server.clock.seconds()

    # Beginning and end.

    def connectionMade(self) -> None:
        super().connectionMade()
        refusal = self.server.admit(self)
        if refusal is not None:
            self._refuse(refusal)

    def holds_more(self, growth: int) -> None:
        if not self.server.partial.change(growth):
            self._refuse(LimitError("max_partial_total", self.limits.max_partial_total))

    def _refuse(self, problem: Exception) -> None:
        """Say why, to who can read it, and close."""
        self.server.note(self, problem)
        if not self.ready:  # we can't know yet what it understands; a JavaScript client skips this
            self.features |= Feature.REPLIES
        self.reply(LINK, problem)
        self.close(problem)

    def violated(self, problem: Exception) -> None:
        self._refuse(problem)

    def link_lost(self, problem: Exception) -> None:
        self.server.partial.change(-self._held)
        self.upstreams.abandon()
        for membership in tuple(self.memberships.values()):
            self.server.settle(membership.leave())
        self.memberships.clear()
        self.port.close()
        if not self.upstreams.count:
            self.close_network()
        self.server.left(self)

    def close_network(self) -> None:
        """
        The link is lost, and nothing goes to a peer in the client's name any more.  Not before: closing its network
        would cut off what the client had sent, and the peers have not read yet.
        """
        if self._network is not None and self._network is not self.server.network:
            self.server.settle(self._network.close())

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._closing is not None:
            return
        if not self.ready:
            if now - self._since >= self.limits.ready_timeout:
                self._refuse(LinkTimeoutError(f"no READY in {self.limits.ready_timeout:g} s"))
            return
        if self.server.draining and Feature.REPLIES in self.features and not (self.upstreams.count or self.mux.streams):
            self._refuse(DrainingError())
        elif self.memberships or self.upstreams.count or self.port.wanted:
            self._since = now
        elif now - self._since >= self.limits.idle_timeout:
            self._refuse(LinkTimeoutError(f"no topic and no stream for {self.limits.idle_timeout:g} s"))
        self.upstreams.tick(now)

    # READY.

    def _on_ready(self, event: Event) -> None:
        if self.ready:
            return
        self.features = features.agreed(event.features)
        if not self.server.authorized(event.token):
            self._refuse(AuthenticationError())
            return
        answer = Event(EventType.READY)
        if self.features:
            self._negotiate(event, answer)
        self.ready = True
        self._since = self.clock.seconds()
        self.mux.control(answer)
        log.debug("client {address} is ready", address=self.address)

    def _negotiate(self, event: Event, answer: Event) -> None:
        answer.features = int(features.ALL)
        self.mux.replies = Feature.REPLIES in self.features
        if Feature.WINDOWS in self.features:
            self.mux.windows = True
            self.mux.remote_window = event.window or 0
            answer.window = self.limits.window
        if Feature.IDENTITY in self.features:
            self.key_pair = _identity(event.key)
            network = self.network()
            if network is self.server.network:
                self.key_pair = None
            answer.key = network.public_key

    def network(self) -> Any:
        """The network as this client is known in it: its own identity where there are such, else the server's."""
        if self._network is None:
            try:
                self._network = self.server.network.with_identity(self.key_pair)
            except NotSupportedError:
                self._network = self.server.network
        return self._network

    def reply(self, request: int | None, problem: BaseException | None = None) -> None:
        """Answer a request, if it is one that wants an answer."""
        if request is None or Feature.REPLIES not in self.features or self.lost:
            return
        event = Event(EventType.REPLY, request=request)
        if problem is not None:
            event.code, text = to_code(problem)
            event.data = text.encode()
        self.send(event)

    def _request(self, event: Event) -> int | None:
        return event.request if Feature.REPLIES in self.features else None

    # Topics.

    def _on_join(self, event: Event) -> None:
        if not self.ready:
            return
        request, topic = self._request(event), event.topic or b""
        try:
            membership = self._join(topic)
            fresh = self._set_roles(membership, self._roles(event))
            self._forget_empty(topic)
        except (LimitError, NotSupportedError, DrainingError) as problem:
            self.server.note(self, problem)
            self._forget_empty(topic)
            self.reply(request, problem)
            return
        if not fresh and membership.lookup is not None:
            membership.lookup.refresh()
        if request is not None:
            self._reply_when_flushed(request, membership)

    def _join(self, topic: bytes) -> Membership:
        membership = self.memberships.get(topic)
        if membership is None:
            if self.server.draining:
                raise DrainingError()
            if len(self.memberships) >= self.limits.max_topics:
                raise LimitError("max_topics", self.limits.max_topics)
            membership = self.memberships[topic] = Membership(self, topic)
        return membership

    def _forget_empty(self, topic: bytes) -> None:
        membership = self.memberships.get(topic)
        if membership is not None and not membership.roles:
            del self.memberships[topic]

    def _roles(self, event: Event) -> Role:
        if Feature.ROLES in self.features and event.roles is not None:
            return Role(event.roles & 3)
        return Role.LOOKUP | Role.ANNOUNCE if self.server.announce else Role.LOOKUP

    def _set_roles(self, membership: Membership, roles: Role) -> bool:
        """:returns: whether anything is done now that was not done before."""
        added = roles & ~membership.roles
        if Role.LOOKUP in added:
            membership.start_lookup(self.server.lookups.join(membership.topic))
        elif Role.LOOKUP not in roles:
            self.server.settle(membership.stop_lookup())
        if Role.ANNOUNCE in added:
            membership.announcement = self._announce(membership.topic)
        elif Role.ANNOUNCE not in roles:
            self.server.settle(membership.stop_announcement())
        return bool(added)

    def _announce(self, topic: bytes) -> IAnnouncement:
        self.server.settle(self.port.open())
        announcement: IAnnouncement = self.network().announce(topic)
        return announcement

    def _reply_when_flushed(self, request: int, membership: Membership) -> None:
        parts = [part.flushed() for part in (membership.lookup, membership.announcement) if part is not None]

        def failed(failure: Failure) -> None:
            self.reply(request, failure.value.subFailure.value)

        done = DeferredList(parts, fireOnOneErrback=True, consumeErrors=True)
        done.addCallbacks(lambda _: self.reply(request), failed)

    def _on_leave(self, event: Event) -> None:
        if not self.ready:
            return
        request = self._request(event)
        membership = self.memberships.pop(event.topic or b"", None)
        if membership is None:
            self.reply(request)
            return
        left = membership.leave()
        left.addCallback(lambda _: self.reply(request))
        self.server.settle(left)

    # Being connected to.

    def _on_listen(self, event: Event) -> None:
        if not self.ready:
            return
        request = self._request(event)
        try:
            opened = self.port.open()
        except NotSupportedError as problem:
            self.reply(request, problem)
            return
        self.port.wanted = True
        opened.addCallbacks(lambda _: self.reply(request), lambda failure: self.reply(request, failure.value))

    def _on_unlisten(self, event: Event) -> None:
        self.port.wanted = False
        self.reply(self._request(event))

    def announced(self) -> list[bytes]:
        """The topics under which peers find this client."""
        return [topic for topic, membership in self.memberships.items() if membership.announcement is not None]

    # Peers.

    def peer_found(self, topic: bytes, peer: Peer) -> None:
        """A lookup's news: tell the client, unless it is itself."""
        if self._network is not None and peer.public_key is not None and peer.public_key == self._network.public_key:
            return
        self.send(Event(EventType.ON_PEER, topic=topic, peer=self.upstreams.found(topic, peer)))

    def lookup_updated(self, topic: bytes) -> None:
        """A round of a lookup is complete."""
        self.send(Event(EventType.ON_UPDATED, topic=topic))

    def _on_connect(self, event: Event) -> None:
        if self.ready:
            self.upstreams.connect(event.peer or b"", self._request(event))


def _identity(key: bytes | None) -> KeyPair | None:
    """
    The identity that a READY asks for.

    :param key: nothing (a fresh one), a seed of 32 bytes or a secret key of 64.
    :raises EventError: another length.
    """
    if not key:
        return None
    if len(key) not in (SEED_LENGTH, SECRET_KEY_LENGTH):
        raise EventError("bad-key", f"{len(key)} bytes")
    return KeyPair.from_seed(key[:SEED_LENGTH])


def token_matches(token: bytes | None, accepted: tuple[bytes, ...]) -> bool:
    """Is it one of those?  Takes as long for every wrong one."""
    return any([hmac.compare_digest(token or b"", each) for each in accepted])

