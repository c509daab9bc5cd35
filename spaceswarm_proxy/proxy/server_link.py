"""One client of the server: what its events mean."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import txaio
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import (
    AuthenticationError,
    DrainingError,
    EventError,
    LimitError,
    LinkTimeoutError,
    NotSupportedError,
    ProtocolError,
    SpaceswarmError,
)
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy import features
from spaceswarm_proxy.proxy.asks import Asks
from spaceswarm_proxy.proxy.features import Feature, Role
from spaceswarm_proxy.proxy.identification import Identification
from spaceswarm_proxy.proxy.link import Link
from spaceswarm_proxy.proxy.membership import Membership
from spaceswarm_proxy.proxy.upstreams import Upstreams
from spaceswarm_proxy.proxy.wire import Event, EventType, tell_problem

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.identity import Identity
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
        EventType.IDENTIFY: "_on_identify",
        EventType.ANSWER: "_on_answer",
        EventType.FAREWELL: "_on_farewell",
    }

    def __init__(self, server: ProxyServer, address: object) -> None:
        super().__init__(server.clock, server.limits, client=False)
        self.server = server
        self.address = address
        self.memberships: dict[bytes, Membership] = {}
        #: What a client that keeps its secret key is asked.
        self.asks = Asks(self)
        #: Does the client take the streams that peers open, whether it is announced or not?
        self.takes_streams = False
        self._who = Identification(self)
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
        memberships = tuple(self.memberships.values())
        self.memberships.clear()
        for membership in memberships:
            self.server.settle(membership.stop_lookup())
        if self._who.known is not None:
            announced = [membership.announced for membership in memberships if membership.announced is not None]
            self.server.identities.lost(self._who.known, announced, self.takes_streams, self.clock.seconds())
        self.takes_streams = False
        self.upstreams.abandon()
        self.asks.lost(problem)
        if not self.upstreams.count:
            self.done_with_peers()
        self.server.left(self)

    def done_with_peers(self) -> None:
        """
        The link is lost, and nothing goes to a peer over it any more.  Not before: the end of its identity would cut
        off what the client had sent, and the peers have not read yet.
        """
        if self._who.known is not None:
            self.server.identities.left(self._who.known, self, self.clock.seconds())

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._closing is not None:
            return
        if not self.ready:
            if now - self._since >= self.limits.ready_timeout:
                self._refuse(LinkTimeoutError(f"no READY in {self.limits.ready_timeout:g} s"))
            return
        if self.server.lets_go and Feature.REPLIES in self.features and not (self.upstreams.count or self.mux.streams):
            self._refuse(DrainingError())
        elif self.memberships or self.upstreams.count or self.takes_streams:
            self._since = now
        elif now - self._since >= self.limits.idle_timeout:
            self._refuse(LinkTimeoutError(f"no topic and no stream for {self.limits.idle_timeout:g} s"))
        self.upstreams.tick(now)
        self.asks.tick(now)

    # READY, and who the client is.

    def _on_ready(self, event: Event) -> None:
        if self.ready:
            return
        self.features = features.agreed(event.features, self.server.features)
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
        answer.features = int(self.server.features)
        self.mux.replies = Feature.REPLIES in self.features
        if Feature.WINDOWS in self.features:
            self.mux.windows = True
            self.mux.remote_window = event.window or 0
            answer.window = self.limits.window
        self._who.greet(event, answer)

    def _on_identify(self, event: Event) -> None:
        """Who the client is, from one that has waited for our READY to say it."""
        if not self.ready or Feature.IDENTITY not in self.features:
            return
        try:
            identity = self._who.identify(event)
        except ProtocolError:
            raise
        except SpaceswarmError as problem:
            self._refuse(problem)
            return
        self.reply(
            self._request(event), None if identity.owned else NotSupportedError("this network has no identities")
        )

    def _on_answer(self, event: Event) -> None:
        self.asks.answered(event)

    @property
    def identity(self) -> Identity:
        """
        As whom this client is known; made when it is first needed.

        :raises EventError: it is to say who it is, and has not.
        """
        return self._who.identity

    def _may_ask(self) -> bool:
        """
        :returns: whether the client has said READY.
        :raises EventError: it has, but not who it is, though it is to.
        """
        if self.ready and self._who.is_missing:
            raise EventError("not-identified")
        return self.ready

    def network(self) -> Any:
        """The network as this client is known in it: its own identity where there are such, else the server's."""
        return self.identity.network

    def reply(self, request: int | None, problem: BaseException | None = None) -> None:
        """Answer a request, if it is one that wants an answer."""
        if request is None or Feature.REPLIES not in self.features or self.lost:
            return
        event = Event(EventType.REPLY, request=request)
        self.send(event if problem is None else tell_problem(event, problem))

    def _request(self, event: Event) -> int | None:
        return event.request if Feature.REPLIES in self.features else None

    # Topics.

    def _on_join(self, event: Event) -> None:
        if not self._may_ask():
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
            self.server.settle(self.identity.port.open())
            membership.announce()
        elif Role.ANNOUNCE not in roles:
            self.server.settle(membership.stop_announcement())
        return bool(added)

    def _reply_when_flushed(self, request: int, membership: Membership) -> None:
        def failed(failure: Failure) -> None:
            self.reply(request, failure.value.subFailure.value)

        membership.flushed().addCallbacks(lambda _: self.reply(request), failed)

    def _on_leave(self, event: Event) -> None:
        if not self._may_ask():
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
        if not self._may_ask():
            return
        request = self._request(event)
        try:
            opened = self.identity.port.open()
        except NotSupportedError as problem:
            self.reply(request, problem)
            return
        self.takes_streams = True

        def failed(failure: Failure) -> None:
            self.takes_streams = False
            self.reply(request, failure.value)

        opened.addCallbacks(lambda _: self.reply(request), failed)

    def _on_unlisten(self, event: Event) -> None:
        if not self._may_ask():
            return
        self.takes_streams = False
        self.reply(self._request(event))

    def _on_farewell(self, event: Event) -> None:
        """The client is about to leave, and waits until nobody finds it any more: that may take its signature."""
        if not self._may_ask():
            return
        self.takes_streams = False
        memberships = tuple(self.memberships.values())
        self.memberships.clear()
        leaving: list[Deferred[Any]] = [membership.leave() for membership in memberships]
        known = self._who.known
        if known is not None and all(link is self or link.lost for link in known.links):
            leaving.append(known.leave())
        request = self._request(event)
        DeferredList(leaving, consumeErrors=True).addCallback(lambda _: self.reply(request))

    def announced(self) -> list[bytes]:
        """The topics under which peers find this client."""
        return [topic for topic, membership in self.memberships.items() if membership.announced is not None]

    # Peers.

    def peer_found(self, topic: bytes, peer: Peer) -> None:
        """A lookup's news: tell the client, unless it is itself."""
        if self._is_ourselves(peer):
            return
        self.send(Event(EventType.ON_PEER, topic=topic, peer=self.upstreams.found(topic, peer)))

    def _is_ourselves(self, peer: Peer) -> bool:
        known = self._who.known
        return known is not None and peer.public_key is not None and peer.public_key == known.network.public_key

    def lookup_updated(self, topic: bytes) -> None:
        """A round of a lookup is complete."""
        self.send(Event(EventType.ON_UPDATED, topic=topic))

    def _on_connect(self, event: Event) -> None:
        if self._may_ask():
            self.upstreams.connect(event.peer or b"", self._request(event))


def token_matches(token: bytes | None, accepted: tuple[bytes, ...]) -> bool:
    """Is it one of those?  Takes as long for every wrong one."""
    return any([hmac.compare_digest(token or b"", each) for each in accepted])
