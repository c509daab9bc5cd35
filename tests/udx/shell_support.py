"""What the tests of the shell of UDX are written with: real sockets on the loopback interface."""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.interfaces import IMessageProtocol
from spaceswarm_proxy.udx.endpoint import UDXEndpoint
from spaceswarm_proxy.udx.stream import RECEIVE_WINDOW, Stream
from spaceswarm_proxy.udx.transport import UDXTransport
from tests.dht.stepping import SteppedReactor
from tests.network.support import HalfCloseRecorder, Recorder

#: The number of an endpoint's only socket.
SOCKET = 1


@implementer(IMessageProtocol)
class MessageRecorder(HalfCloseRecorder):
    """Keeps the unordered messages too."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []

    def message_received(self, data: bytes) -> None:
        self.messages.append(data)
        self.changed()


class UDXPipes:
    """
    Streams between two endpoints of this process.

    :meth:`pipe` may take the place of :func:`spaceswarm_proxy.network.pipe.pipe`: then a network inside one process has
    its streams over UDX.
    """

    def __init__(self, reactor: Any) -> None:
        self.near = UDXEndpoint(reactor)
        self.far = UDXEndpoint(reactor)
        self._ids = count(1, 2)

    def streams(self, window: int = RECEIVE_WINDOW) -> tuple[Stream, Stream]:
        """:returns: both ends of a new stream, which nobody has yet."""
        near_id = next(self._ids)
        far_id = near_id + 1
        near = self.near.runner.core.create(id=near_id, window=window)
        far = self.far.runner.core.create(id=far_id, window=window)
        near.connect(SOCKET, far_id, address_of(*self.far.address), self.near.runner.now())
        far.connect(SOCKET, near_id, address_of(*self.near.address), self.far.runner.now())
        return near, far

    def pipe(
        self,
        reactor: Any,
        near: Any,
        far: Any,
        near_seen: Any = None,
        far_seen: Any = None,
        window: int = RECEIVE_WINDOW,
        latency: float = 0.0,
        lost: Any = (None, None),
    ) -> tuple[UDXTransport, UDXTransport]:
        """:returns: both transports; how long something takes is not ours to say."""
        near_stream, far_stream = self.streams(window)
        return (
            UDXTransport(self.near.runner, near_stream, near, far_seen or far, lost[0]),
            UDXTransport(self.far.runner, far_stream, far, near_seen or near, lost[1]),
        )

    def close(self) -> Deferred[Any]:
        """Close both."""
        return gatherResults([self.near.close(), self.far.close()])


class UDXTestCase(SynchronousTestCase):
    """Streams on a virtual clock, of which nothing is left in the end."""

    def setUp(self) -> None:
        self.reactor = SteppedReactor()
        self.pipes = UDXPipes(self.reactor)

    def tearDown(self) -> None:
        self.finish(self.pipes.close())
        left = (self.reactor.readers, self.reactor.writers, self.reactor.getDelayedCalls())
        self.assertEqual((set(), set(), []), left)

    def finish(self, waiting: Deferred[Any]) -> Any:
        """What a Deferred comes to at once."""
        self.pump()
        return self.successResultOf(waiting)

    def pump(self) -> None:
        """Whatever is under way arrives, with all that it leads to at once; no time passes."""
        self.reactor.elapse(0)

    def elapse_until(self, condition: Any, seconds: float = 10.0, step: float = 0.001) -> None:
        """Time passes until something has come about."""
        end = self.reactor.seconds() + seconds
        while not condition():
            self.assertLess(self.reactor.seconds(), end, "it has not come about")
            self.reactor.elapse(step)

    def connect(
        self, near: type[Recorder] = MessageRecorder, far: type[Recorder] = MessageRecorder, **options: Any
    ) -> tuple[Any, Any]:
        """:returns: the protocols at both ends of a new stream."""
        protocols = near(), far()
        for transport, protocol in zip(self.pipes.pipe(None, "near", "far", **options), protocols, strict=True):
            transport.attach(protocol)
        return protocols
