"""
A node of the network, without its sockets: datagrams and the time go in, datagrams come out.

:class:`NodeCore` holds the parts together and decides what each may know of the others:

    Responder       what is asked of us                     responder.py, tokens.py, store.py, rates.py
    Requests        what we ask of others                   requests.py, window.py, round_trips.py
    Query           a walk through the network              query.py
    RoutingTable    whom we know                            table.py
    Upkeep          keeping that table alive                upkeep.py, health.py
    Joining         finding the network; who we are in it   joining.py, nat.py

Whoever runs one gives it datagrams with :meth:`NodeCore.receive`, calls :meth:`NodeCore.advance` when
:meth:`NodeCore.next_deadline` has come, and sends what is given to ``transmit``.

:source: npm ``dht-rpc`` 6 and ``hyperdht`` 6; spec/dht.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any

from spaceswarm_proxy.dht.chance import Chance
from spaceswarm_proxy.dht.commands import DOWN_HINT, FIND_NODE
from spaceswarm_proxy.dht.contact import HOST_LENGTH, ID_LENGTH, Contact, contact_at, is_shunned
from spaceswarm_proxy.dht.joining import Joining
from spaceswarm_proxy.dht.message import REQUEST_BYTE, RESPONSE_BYTE, Command, Response, parse_response
from spaceswarm_proxy.dht.nat import NatSampler
from spaceswarm_proxy.dht.options import NodeOptions
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.dht.rates import RequestRates
from spaceswarm_proxy.dht.requests import RETRIES, Once, OutgoingRequest, Requests
from spaceswarm_proxy.dht.responder import Responder
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.store import Store
from spaceswarm_proxy.dht.table import NEVER, Entry, RoutingTable
from spaceswarm_proxy.dht.tokens import Tokens
from spaceswarm_proxy.dht.upkeep import Upkeep
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.dht.witnesses import STALE, Witnesses
from spaceswarm_proxy.errors import ClosedError, MessageError, SpaceswarmError, SuspendedError

#: Told of what happens: a name, and what belongs to it.
Report = Callable[..., None]
#: Seconds for which a bootstrap node that does not answer is left in peace.
LEFT_OUT = 30.0


class NodeCore:
    """The whole of a node but its sockets."""

    def __init__(
        self,
        options: NodeOptions,
        chance: Chance,
        transmit: Callable[[int, bytes, bytes, int], None],
        report: Report,
        wall_clock: Callable[[], float],
        now: float,
    ) -> None:
        """
        :param transmit: sends a datagram: socket, address, bytes, TTL (0 for the default).
        :param report: told of events by name: ``ready``, ``persistent``, ``ephemeral``, ``nat_changed``,
            ``network_update``, ``wakeup``, ``unreachable``, ``reachable``, ``beginnings_wanted``.  It must not call
            the node back before the call that it is told from is over.
        :param wall_clock: milliseconds since 1970.
        :param now: seconds, by any clock that does not go backwards; so everywhere.
        """
        self.options = options
        self.profile = options.profile
        self.chance = chance
        self.report = report
        self.transmit: Callable[..., None] = transmit
        self.wall_clock = wall_clock
        self.table = RoutingTable(chance.randbytes(ID_LENGTH))
        self.tokens = Tokens(chance.randbytes(32), chance.randbytes(32), now)
        #: What is kept for others, while we are known.
        self.store: Store | None = None
        self._kept: Store | None = None
        self._servers: dict[bytes, PeerRecord] = {}
        self.nat = NatSampler()
        self.requests = Requests(chance, self._sender, self._transmit, now, options.adaptive_timeouts)
        self.responder = Responder(self, options.profile, RequestRates(options.max_requests_of_host))
        self.upkeep = Upkeep(self, now)
        self.joining = Joining(self)
        self.ephemeral = True
        self.firewalled = options.firewalled
        self.suspended = False
        self.closed = False
        #: The port that the server socket is bound to.
        self.server_port = 0
        #: Addresses of the bootstrap nodes, as far as they are known.
        self.bootstrap: tuple[bytes, ...] = ()
        # Those that have not answered, and when that was found.
        self._silent: dict[bytes, float] = {}
        #: When anybody was heard last.
        self.last_heard = NEVER
        #: Takes datagrams that are not the DHT's: probes of up to one byte, and other protocols on the same sockets.
        self.foreign: Callable[[bytes, bytes, int, float], None] | None = None
        #: Datagrams that were nobody's, or damaged.
        self.ignored = 0
        self.answered = 0
        self.queries: set[Query] = set()
        self.queries_begun = 0
        # Queries that were wanted before it was known where to begin.
        self._early: list[Callable[[float], None]] = []
        #: Our id, when it may be told: over the server socket alone, since it is the hash of that one's address.
        self.told_id: bytes | None = None
        self._witnesses = Witnesses(options.bootstrap_count)
        self._port_before = 0

    # Identity.

    @property
    def own_id(self) -> bytes:
        """The id that the routing table is built around; told to others by persistent nodes only."""
        return self.table.own_id

    @property
    def public_address(self) -> bytes | None:
        """Our address from outside: six bytes, with port 0 when that differs from node to node; or unknown."""
        return self.nat.value

    @property
    def reachable_address(self) -> bytes | None:
        """Where anybody can reach us directly, if that is so."""
        address = self.nat.value
        if self.firewalled or address is None or address[HOST_LENGTH:] != self.server_port.to_bytes(2, "little"):
            return None
        return address

    def id_for(self, socket: int) -> bytes | None:
        """:returns: our id, if it may be told over this socket."""
        return self.told_id if socket == SERVER_SOCKET else None

    @property
    def request_socket(self) -> int:
        """Where requests leave from."""
        return CLIENT_SOCKET if self.firewalled else SERVER_SOCKET

    def become(self, own_id: bytes, persistent: bool, now: float) -> None:
        """Our id is another one from now on, and may be told or not."""
        if own_id != self.table.own_id:
            self.table = self.table.rebuilt(own_id)
            self.upkeep.rebuilt()
        if persistent:
            self.ephemeral = False
            self.told_id = own_id
            if self._kept is None:
                self._kept = Store(self.chance, now)
                for target, record in self._servers.items():
                    self._kept.serve(target, record)
            self.store = self._kept
            self.report("persistent")
        if self.joining.done:
            # Whoever is asked gets to know us, and those near to our id shall.
            self.begin(self.find_node(own_id, background=True), now)

    def retire(self) -> None:
        """Who we are is uncertain: do not tell our id, and serve nothing of what is stored."""
        self.ephemeral = True
        self.told_id = None
        self.store = None
        self.report("ephemeral")

    def unannounce(self, topic: bytes, public_key: bytes) -> None:
        """Do not tell of this peer ourselves: queries ask everybody but us."""
        if self._kept is not None:
            self._kept.unannounce(topic, public_key)

    def serve(self, target: bytes, record: PeerRecord) -> None:
        """A server of this node can be found here, whenever we are known."""
        self._servers[target] = record
        if self._kept is not None:
            self._kept.serve(target, record)

    def unserve(self, target: bytes) -> None:
        """It is gone."""
        self._servers.pop(target, None)
        if self._kept is not None:
            self._kept.unserve(target)

    def sampled(self, address: bytes) -> None:
        """Somebody has told us our address."""
        before = self.nat.value
        self.nat.add(address)
        if self.nat.value != before:
            self.report("nat_changed")

    # Datagrams.

    def receive(self, data: bytes, source: bytes, socket: int, now: float) -> bytes | None:
        """
        A datagram has come.

        :param source: six bytes.
        :param socket: one of ours, or another number.
        :returns: what to send back to the source over the same socket, if anything; whatever else there is to send goes
            to ``transmit``.
        """
        if self.suspended or source[HOST_LENGTH:] == b"\x00\x00":
            return None
        kind = data[0] if len(data) > 1 else None
        if kind == REQUEST_BYTE:
            return self.responder.answer(data, source, socket, now)
        if kind == RESPONSE_BYTE:
            self._receive_response(data, source, socket, now)
        elif self.foreign is not None:
            self.foreign(data, source, socket, now)
        else:
            self.ignored += 1
        return None

    def _receive_response(self, data: bytes, source: bytes, socket: int, now: float) -> None:
        try:
            response = parse_response(data)
        except MessageError:
            self.ignored += 1
            return
        request = self.requests.received(source, response, socket, now)
        if request is None:
            self.ignored += 1
            return
        self.answered += 1
        self.last_heard = now
        if not self.heard(source, response.id, now) and response.id is not None:
            response = response._replace(id=None)
        self._seen_by(source, response, socket, now)
        request.owner.answered(request, response, now)

    def heard(self, source: bytes, id: bytes | None, now: float) -> bool:
        """
        Somebody has answered, or asked and said who it is.

        :param id: what it says that its id is.
        :returns: whether the id is its own.
        """
        entry = self.table.entries.get(source)
        if entry is not None and entry.contact.id == id:
            entry.pinged = entry.heard = now
            return True
        if id is None or is_shunned(source):
            return False
        contact = contact_at(source)
        if id != contact.id:
            return False
        self._meet(contact, now)
        return True

    def _meet(self, contact: Contact, now: float) -> None:
        if not self.table.has_room(contact):
            self.upkeep.contest(contact, now)
        elif contact.id != self.table.own_id:
            self.table.add(Entry(contact, now))

    def _seen_by(self, source: bytes, response: Response, socket: int, now: float) -> None:
        """Somebody whom we have asked tells what our address is."""
        entry = self.table.entries.get(source)
        if response.id is None:
            if self._witnesses.believes_unnamed(source):
                self.sampled(response.to)
        elif entry is not None and now - entry.sampled >= STALE and socket == self.request_socket:
            entry.sampled = now
            if self._witnesses.believes(source, now):
                self.sampled(response.to)

    def doubt_address(self, firewall: bool) -> None:
        """
        We may be somewhere else: everybody may tell us our address again.

        :param firewall: is it an open question again, too, whether others can reach us?
        """
        self._witnesses.forget_hosts()
        for entry in self.table:
            entry.sampled = NEVER
        if firewall and self.firewalled != self.options.firewalled:
            self.firewalled = self.options.firewalled
            # Requests leave from the other socket now, which has another address.
            self.forget_samples(NatSampler())

    def forget_samples(self, nat: NatSampler) -> None:
        """What our address looks like is known better by another sampler."""
        self._witnesses.forget()
        before, self.nat = self.nat.value, nat
        if nat.value != before:
            self.report("nat_changed")

    def told_down(self, address: bytes, now: float) -> None:
        """Somebody says that a node is down."""
        self.upkeep.told_down(address, now)

    # Requests.

    def ask(
        self,
        address: bytes,
        command: Command,
        done: Callable[[Response | SpaceswarmError, float], None],
        now: float,
        *,
        token: bytes | None = None,
        retries: int = RETRIES,
        timeout: float | None = None,
        socket: int | None = None,
        ttl: int = 0,
    ) -> OutgoingRequest:
        """
        Ask one node something.

        :param done: called once with the response or what went wrong; not if the request is forgotten.
        :raises SpaceswarmError: it can't be sent now.
        """
        request = OutgoingRequest(
            address, command, Once(done), token=token, retries=retries, timeout=timeout, socket=socket, ttl=ttl
        )
        self.send(request, now)
        return request

    def ask_if_free(
        self, address: bytes, command: Command, done: Callable[[Response | SpaceswarmError, float], None], now: float
    ) -> bool:
        """
        Ask something that can as well be asked another time.

        :returns: whether it was: not while too much is under way, or the node is suspended.
        """
        try:
            self.ask(address, command, done, now)
        except SpaceswarmError:
            return False
        return True

    def _sender(self, request: OutgoingRequest) -> tuple[int, bytes | None]:
        socket = self.request_socket if request.socket is None else request.socket
        return socket, self.id_for(socket)

    def _transmit(self, socket: int, address: bytes, data: bytes, ttl: int) -> None:
        self.transmit(socket, address, data, ttl)

    # What queries need.

    def find_node(self, target: bytes, **options: Any) -> Query:
        """
        :param options: of :class:`~spaceswarm_proxy.dht.query.Query`.
        :returns: a query for the nodes near to an id; to be begun.
        """
        return Query(self, target, Command.make(True, FIND_NODE, target), **options)

    def begin(self, query: Query, now: float, nodes: Iterable[bytes] = (), only_nodes: bool = False) -> None:
        """
        Start a query.

        :param nodes: addresses to begin with.
        :param only_nodes: ask nobody but these.
        :raises SpaceswarmError: the node is closed or suspended.
        """
        self.check_open()
        self.queries.add(query)
        self.queries_begun += 1
        self.upkeep.asked(now)
        if self.joining.begun:
            query.start(now, tuple(nodes), only_nodes)
        else:
            self._early.append(partial(query.start, nodes=tuple(nodes), only_nodes=only_nodes))

    def nearest(self, target: bytes, count: int) -> list[bytes]:
        """:returns: addresses from the routing table."""
        return [entry.contact.address for entry in self.table.closest(target, count)]

    def beginnings(self, now: float) -> Iterable[bytes]:
        """
        :returns: the addresses of the bootstrap nodes.  In a small network, each query would wait seconds for one that
            is down: for a while it is left out, unless all are.
        """
        heard = [address for address in self.bootstrap if now - self._silent.get(address, -inf) >= LEFT_OUT]
        return heard or self.bootstrap

    def requests_under_way(self) -> int:
        """:returns: how many, of everybody."""
        return self.requests.under_way

    def send(self, request: OutgoingRequest, now: float) -> None:
        """
        Send a request, sooner or later.

        :raises SpaceswarmError: the node is closed or suspended, or has too many under way.
        """
        self.check_open()
        self.requests.send(request, now)

    def forget(self, request: OutgoingRequest) -> None:
        """It is not waited for any more."""
        self.requests.cancel(request)

    def hint_down(self, address: bytes, told_by: bytes, now: float) -> None:
        """Tell a node that another one that it told us of does not answer."""
        if self.options.down_hints and self._was_reachable(now) and self.upkeep.may_hint():
            self.ask_if_free(told_by, Command.make(True, DOWN_HINT, None, address), _nobody_asks, now)

    def nobody_answered(self, now: float) -> None:
        """Everybody who was asked is silent."""
        self.joining.lost(now)

    def query_ended(self, query: Query) -> None:
        """It is over, one way or another."""
        self.queries.discard(query)

    def unanswered(self, address: bytes, since: float, now: float) -> None:
        """
        A node has not answered: it is not there any more.

        Unless nobody else was heard in that time: then the fault may be ours, and the table is all that we know.
        """
        if self.last_heard >= since:
            self.table.remove(address)
            if address in self.bootstrap:
                self._silent[address] = now
        else:
            self.joining.lost(now)

    def _was_reachable(self, now: float) -> bool:
        return now - self.last_heard < self.upkeep.SILENCE

    # Time.

    def next_deadline(self) -> float:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        deadline = self.upkeep.next_tick
        for other in (self.requests.next_deadline(), self.responder.next_deadline(), self.joining.next_deadline()):
            if other is not None and other < deadline:
                deadline = other
        return deadline

    def advance(self, now: float) -> None:
        """Do what is due."""
        for part in (self.requests, self.responder, self.joining, self.upkeep):
            # Whoever is told that a request has failed may suspend or close the node.
            if not self.suspended:
                part.advance(now)

    # Life.

    def start(self, now: float, nodes: Iterable[bytes] = ()) -> None:
        """
        Join the network; the sockets are bound, and :attr:`server_port` is set.

        :param nodes: addresses known from before, the most recently heard first.
        """
        self._add_public_host()
        for address in nodes:
            contact = contact_at(address)
            if contact.id != self.table.own_id and not is_shunned(address):
                self.table.add(Entry(contact, now))
        self.joining.begin(now)
        early, self._early = self._early, []
        for start in early:
            start(now)

    def moved(self, now: float) -> None:
        """The machine is in another network: see who can be reached from here."""
        if self.joining.done and not self.suspended:
            self.doubt_address(False)
            self.upkeep.refresh(now)

    def suspend(self, now: float) -> None:
        """Go quiet: what is under way fails, nothing is answered."""
        if not self.suspended:
            self.suspended = True
            self._port_before = self.server_port
            self._give_up(SuspendedError(), now)

    def resume(self, now: float) -> None:
        """Undo :meth:`suspend`, with the sockets bound again; whatever was known is doubtful."""
        if self.suspended and not self.closed:
            self.suspended = False
            if self.server_port != self._port_before:
                self._rebound(now)
            if self.joining.begun:
                self.upkeep.wakeup(now)
                self.upkeep.refresh(now)

    def _rebound(self, now: float) -> None:
        """Our port is another one: what others have said of our address does not hold any more."""
        self.forget_samples(NatSampler())
        self._add_public_host()
        if not self.ephemeral:
            self.joining.renamed(now)

    def _add_public_host(self) -> None:
        if self.options.public_host is not None:
            self.sampled(self.options.public_host + self.server_port.to_bytes(2, "little"))

    def close(self, now: float) -> None:
        """Stop for ever."""
        if not self.closed:
            self.closed = self.suspended = True
            self._give_up(ClosedError(), now)

    def _give_up(self, problem: SpaceswarmError, now: float) -> None:
        self.joining.stop()
        self.responder.forget_delayed()
        self.requests.fail_all(problem, now)
        # Those that have not asked anybody yet.
        self._early.clear()
        for query in list(self.queries):
            query.give_up(problem, now)

    def check_open(self) -> None:
        """:raises SpaceswarmError: the node is closed or suspended."""
        if self.closed:
            raise ClosedError("the node is closed")
        if self.suspended:
            raise SuspendedError()


def _nobody_asks(answer: Response | SpaceswarmError, now: float) -> None:
    """A hint has been taken, or not."""
