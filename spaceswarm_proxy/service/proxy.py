"""The proxy server as a Twisted service."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import txaio
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.interfaces import INetwork
from spaceswarm_proxy.network.joint import node_network
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.service.listening import check_exposure, endpoint, tokens_in_clear, with_port, without_secrets
from spaceswarm_proxy.service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from spaceswarm_proxy.service.metrics import MetricsFactory

log = txaio.make_logger()


class StartError(SystemExit, Exception):
    """
    The service could not start.

    It is both what ``twistd`` catches to tidy up and what lets Python exit without a traceback; it has been logged.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = 1


class SpaceswarmProxyService(Service):
    """
    Runs a :class:`~spaceswarm_proxy.proxy.server.ProxyServer` on endpoints, from start to stop.

    Each endpoint that listens is logged as ``listening on ENDPOINT``, with its real port, and the one for metrics as
    ``metrics on ENDPOINT``.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any = None,
        *,
        network: INetwork | None = None,
        failed: Callable[[StartError], object] | None = None,
    ) -> None:
        """
        :param settings: what to do.
        :param reactor: the global one unless given.
        :param network: to be shown instead of the one that the settings name; it is closed when the service stops.
        :param failed: told when an endpoint fails to listen later than in :meth:`startService` (which raises, for those
            that fail at once).
        :raises SettingsError: an endpoint's text means none, strangers could come in unasked, or the token file holds
            no tokens.
        """
        check_exposure(settings)
        self.setName("spaceswarm-proxy")
        self.reactor = or_global(reactor)
        self.settings = settings
        #: The server while there is one.
        self.server: ProxyServer | None = None
        #: What listens.
        self.ports: list[IListeningPort] = []
        #: What shows the metrics.
        self.metrics_port: IListeningPort | None = None
        self._endpoints = [(text, endpoint(self.reactor, text)) for text in settings.listen]
        shown = settings.metrics
        self._metrics_endpoint = None if shown is None else endpoint(self.reactor, shown, "metrics")
        self._metrics: MetricsFactory | None = None
        self._tokens = settings.tokens()
        self._network = network
        self.failed = failed
        self._hub: LocalHub | None = None
        self._attempts: list[Deferred[Any]] = []
        #: What has failed, while we listen to what fails at once.
        self._at_once: list[StartError] | None = None
        self._drain: Deferred[None] | None = None
        self._stopped: Deferred[None] | None = None

    # Start.

    def privilegedStartService(self) -> None:
        """
        Listen, on ports too that need the rights which ``twistd`` gives up later.

        :raises StartError: an endpoint, or the node, failed at once.
        """
        super().privilegedStartService()
        self._open()

    def startService(self) -> None:
        """
        Listen, if that is not done.

        :raises StartError: an endpoint, or the node, failed at once.
        """
        if self.server is None:
            self._open()
        super().startService()

    def _open(self) -> None:
        server = self.server = self._make_server()
        for text in tokens_in_clear(self.settings):
            log.warn("tokens come in over {endpoint} for everyone on the way to read: use TLS", endpoint=text)
        problems = self._at_once = []
        self._show_metrics(server)
        for text, each in self._endpoints:
            self._listen(each, server, self._listening, text)
        self._at_once = None
        if problems:
            self.stopService()
            raise problems[0]

    def _make_server(self) -> ProxyServer:
        settings = self.settings
        return ProxyServer(
            self._network or self._make_network(),
            announce=settings.announces,
            end_to_end=settings.end_to_end,
            tokens=self._tokens,
            limits=settings.limits,
            identity_grace=0.0 if settings.network == "local" else settings.identity_grace,
            reactor=self.reactor,
        )

    def _make_network(self) -> INetwork:
        """The network that the settings name; in either, the clients find each other on a hub."""
        hub = LocalHub(self.reactor, profile=self.settings.profile)
        network: INetwork = hub.network() if self.settings.network == "local" else self._node_network(hub)
        for service in self.settings.services():
            hub.announce_address(service.topic, *service.address)
        self._hub = hub
        return network

    def _node_network(self, hub: LocalHub) -> INetwork:
        try:
            node = DHTNode(self.reactor, **self.settings.node_options)
        except (CannotListenError, OSError) as cause:
            problem = StartError(f"cannot start the node: {str(cause).rstrip('.')}")
            log.error("{problem}", problem=problem)
            raise problem from cause
        log.info("a node of the {name} network on {address}", name=node.profile.name, address=node.address)
        node.ready().addCallbacks(lambda _: _tell_found(node), _not_found)
        network: INetwork = node_network(node, hub)
        return network

    def _show_metrics(self, server: ProxyServer) -> None:
        if self._metrics_endpoint is None:
            return
        from spaceswarm_proxy.service.metrics import MetricsFactory  # It takes its time to load, and few want it.

        self._metrics = MetricsFactory(server, self.reactor)
        self._listen(self._metrics_endpoint, self._metrics, self._showing, str(self.settings.metrics))

    def _listen(
        self,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        listening: Callable[[IListeningPort, str], None],
        text: str,
    ) -> None:
        self._attempts.append(endpoint.listen(factory).addCallback(listening, text))
        self._attempts[-1].addErrback(self._not_listening, text)

    def _listening(self, port: IListeningPort, text: str) -> None:
        self.ports.append(port)
        log.info("listening on {endpoint}", endpoint=_shown(port, text))

    def _showing(self, port: IListeningPort, text: str) -> None:
        self.metrics_port = port
        log.info("metrics on {endpoint}", endpoint=_shown(port, text))

    def _not_listening(self, failure: Failure, text: str) -> None:
        if failure.check(CancelledError) is not None:  # by stopService
            return
        problem = StartError(f"cannot listen on {text}: {_reason(failure)}")
        log.error("{problem}", problem=problem)
        if self._at_once is not None:
            self._at_once.append(problem)
        elif self.failed is not None:
            self.failed(problem)

    # While it runs.

    def reload_tokens(self) -> None:
        """
        Read the token file again, if there is one.  Clients that are there stay, with whatever token they came in.
        """
        if self.settings.token_file is None:
            log.info("there is no token file: nothing to read again")
            return
        try:
            self._tokens = self.settings.tokens()
        except SettingsError as problem:
            log.error("the tokens stay as they were: {problem}", problem=problem)
            return
        if self.server is not None:
            self.server.tokens = self._tokens
        log.info("{count} tokens are valid now", count=len(self._tokens))

    # Stop.

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, give the clients that are there the grace time, and close.

        :returns: a Deferred that fires when nothing is left, or when :meth:`hurry` is called.
        """
        super().stopService()
        stopped = self._stopped = Deferred()
        done = Deferred.fromCoroutine(self._stop())
        done.addErrback(lambda failure: log.failure("stopping failed", failure=failure))
        done.addCallback(lambda _: self._has_stopped())
        return stopped

    async def _stop(self) -> None:
        for attempt in self._attempts:
            attempt.cancel()
        self._attempts.clear()
        ports, self.ports = self.ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        if self.server is not None:
            await self._close(self.server)
        await self._close_metrics()

    async def _close_metrics(self) -> None:
        """Last: who watches sees how the clients leave."""
        port, self.metrics_port = self.metrics_port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        metrics, self._metrics = self._metrics, None
        if metrics is not None:
            await metrics.disconnect()

    async def _close(self, server: ProxyServer) -> None:
        if server.links:
            count, grace = len(server.links), self.settings.grace
            log.info("stopping: the clients ({count}) are given {grace:g} s", count=count, grace=grace)
        self._drain = server.drain(self.settings.grace)
        await self._drain
        self.server = self._drain = None
        if self._hub is not None:
            await self._hub.close()
            self._hub = None

    def hurry(self) -> None:
        """Wait no longer for what :meth:`stopService` waits for: cut the clients off."""
        if self._drain is not None and not self._drain.called:
            self._drain.cancel()
        for link in () if self.server is None else tuple(self.server.links):
            link.fail(ClosedError("the proxy server is closing"))
        self._has_stopped()

    def _has_stopped(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)


def _tell_found(node: DHTNode) -> None:
    """When nobody answers, the node says so by itself."""
    if node.online:
        log.info("the {name} network answers", name=node.profile.name)


def _not_found(failure: Failure) -> None:
    """We were stopped before anybody answered."""
    failure.trap(ClosedError)


def _shown(port: IListeningPort, text: str) -> str:
    """:returns: the text of an endpoint for the log: with the port that it has got, without secret keys."""
    number = getattr(port.getHost(), "port", None)
    return without_secrets(text if number is None else with_port(text, number))


def _reason(failure: Failure) -> str:
    problem = failure.value
    if isinstance(problem, CannotListenError):
        problem = problem.socketError
    return getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
