"""What a :class:`~spaceswarm_proxy.proxy.mux.Mux` knows of each of its streams."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from spaceswarm_proxy.proxy.wire import Event, data_trailer


class MuxStream:
    """One stream of a link.  Its attributes are the mux's; the shell reads them, and owns :attr:`owner`."""

    __slots__ = (
        "close_wanted",
        "closed",
        "consumed",
        "credit",
        "debt",
        "end_wanted",
        "ended",
        "error",
        "id",
        "inbound",
        "owner",
        "queue",
        "queued",
        "ready",
        "remote_ended",
        "source_stopped",
        "tell_done",
        "touched",
        "trailer",
    )

    def __init__(self, id: int, credit: int | None) -> None:
        self.id = id
        #: Who reads and writes it: the shell's.
        self.owner: object | None = None
        self.trailer = data_trailer(id)
        #: Bytes that we may still send; ``None`` without windows.
        self.credit = credit
        self.queue: deque[bytes] | None = None
        self.queued = 0
        #: In the mux's turn-taking queue?
        self.ready = False
        #: Has its source been told to stop?
        self.source_stopped = False
        #: Payload that has arrived and was not taken yet.
        self.inbound: list[bytes] = []
        #: Bytes that arrived and for which no credit was given back.
        self.debt = 0
        #: Bytes of the debt that the reader has used, and that were not worth a WINDOW frame yet.
        self.consumed = 0
        #: In the mux's ``touched`` list?
        self.touched = False
        #: Is the owner to be visited when an end that it asked for has gone out?
        self.tell_done = True
        self.end_wanted = False
        #: We have sent the end of data.
        self.ended = False
        self.close_wanted = False
        #: The remote sends nothing more.
        self.remote_ended = False
        #: CLOSE or ERROR was sent or has arrived: the link has forgotten the stream.
        self.closed = False
        #: Why, if it was not in good order.
        self.error: Exception | None = None


class Opened(NamedTuple):
    """A stream that the server opened: the event, and the stream, which may be over already."""

    event: Event
    stream: MuxStream
