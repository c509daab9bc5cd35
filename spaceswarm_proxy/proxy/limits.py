"""What one client, one address and all together may have; each is an option of ``twistd spaceswarm-proxy``."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The bounds of a proxy server.

    Reaching one affects nobody but the client that did; it is told the limit's name (by REPLY, where it understands
    that), and a line in the log says it too.
    """

    #: Links at once; one more is closed.
    max_clients: int = 1024
    #: Links at once from one address (for UNIX sockets: all of them).
    max_clients_per_address: int = 256
    #: Topics that one client may have joined.
    max_topics: int = 256
    #: Topics that all clients together may have joined, each counted once.
    max_topics_total: int = 16384
    #: Streams of one client, those being dialled included.
    max_streams: int = 512
    #: Streams of all clients together.
    max_streams_total: int = 16384
    #: Peers of which one client is remembered to have been told, so that it may connect to them; the oldest is
    #: forgotten.
    max_peers: int = 4096
    #: Bytes of the longest frame that is read.
    max_frame: int = 16 * 1024 * 1024 + 1024
    #: Bytes waiting for one client or from it, over all its streams, at which the sources are stopped.
    max_buffered: int = 4 * 1024 * 1024
    #: Bytes of unfinished frames, over all clients; who needs more when it is reached is closed.
    max_partial_total: int = 256 * 1024 * 1024
    #: Bytes that a stream may have under way (where windows are agreed), or hold unread before the link waits
    #: (where not).
    window: int = 256 * 1024
    #: Seconds until READY must have come.
    ready_timeout: float = 15.0
    #: Seconds that a client may be there without a topic or a stream.
    idle_timeout: float = 600.0
    #: Seconds for a dial.
    connect_timeout: float = 30.0
    #: Seconds that a stuck stream may hold up its link before it is reset.
    stall_timeout: float = 30.0
    #: Seconds of silence after which a PING is sent, and after that until the link counts as dead.
    ping_interval: float = 30.0
    ping_timeout: float = 30.0
    #: Seconds that a peer's end of data waits for a JavaScript client, which may not close by itself; 0 closes at
    #: once, as the JavaScript server does.  Every piece that the client sends starts it anew.
    half_close_grace: float = 10.0
    #: Seconds that a stream or link may take to write what it has when it is being closed.
    close_timeout: float = 30.0
    #: Seconds between two rounds of a lookup that clients ask for.
    min_refresh: float = 10.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 0 or (value == 0 and each.name not in ("half_close_grace", "min_refresh")):
                raise ValueError(f"{each.name} must be positive, not {value}")
