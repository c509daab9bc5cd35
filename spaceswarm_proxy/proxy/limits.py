"""What one client, one address and all together may have; each is an option of ``twistd spaceswarm-proxy``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

#: What any other end may send in a frame: 64 KiB of payload, and what goes with it.
MIN_FRAME = 64 * 1024 + 1024


def limit(default: float, help: str) -> Any:
    """A field, and what the option's help says of it."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The bounds of a proxy server.

    Reaching one affects nobody but the client that did; it is told the limit's name (by REPLY, where it understands
    that), and a line in the log says it too.
    """

    max_clients: int = limit(1024, "Links at once; one more is closed.")
    max_clients_per_address: int = limit(256, "Links at once from one IP address.")
    max_topics: int = limit(256, "Topics that one client may have joined.")
    max_topics_total: int = limit(16384, "Topics that all clients together may have joined, each counted once.")
    max_streams: int = limit(512, "Streams of one client, those being dialled included.")
    max_streams_total: int = limit(16384, "Streams of all clients together.")
    max_peers: int = limit(
        4096,
        "Peers of which one client is remembered to have been told, so that it may connect to them; the oldest is"
        " forgotten.",
    )
    max_frame: int = limit(16 * 1024 * 1024 + 1024, "Bytes of the longest frame that is read.")
    max_buffered: int = limit(
        4 * 1024 * 1024,
        "Bytes waiting for one client or from it, over all its streams, at which the sources are stopped.",
    )
    max_partial_total: int = limit(
        256 * 1024 * 1024,
        "Bytes of unfinished frames, over all clients; who needs more when it is reached is closed.",
    )
    window: int = limit(
        256 * 1024,
        "Bytes that a stream may have under way (where windows are agreed), or hold unread before the link waits"
        " (where not).",
    )
    ready_timeout: float = limit(15.0, "Seconds until READY must have come.")
    idle_timeout: float = limit(600.0, "Seconds that a client may be there with no topic, no stream and no listener.")
    connect_timeout: float = limit(30.0, "Seconds for a dial.")
    stall_timeout: float = limit(30.0, "Seconds that a stuck stream may hold up its link before it is reset.")
    ping_interval: float = limit(30.0, "Seconds of silence after which a PING is sent.")
    ping_timeout: float = limit(30.0, "Seconds of silence after a PING until the link counts as dead.")
    half_close_grace: float = limit(
        10.0,
        "Seconds that a peer's end of data waits for a JavaScript client, which may not close by itself; 0 closes at"
        " once, as the JavaScript server does.  Every piece that the client sends starts it anew.",
    )
    close_timeout: float = limit(
        30.0, "Seconds that a stream or link may take to write what it has when it is being closed."
    )
    min_refresh: float = limit(10.0, "Seconds between two rounds of a lookup that clients ask for.")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 0 or (value == 0 and each.name not in ("half_close_grace", "min_refresh")):
                raise ValueError(f"{each.name} must be positive, not {value}")
        if self.max_frame < MIN_FRAME:
            raise ValueError(f"max_frame must be at least {MIN_FRAME}, which other ends send, not {self.max_frame}")
