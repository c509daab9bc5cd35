"""What the streams of a node count."""

from __future__ import annotations

from dataclasses import dataclass

from spaceswarm_proxy.udx.core import UDXCore


@dataclass(frozen=True, slots=True)
class StreamStats:
    """What the streams have done so far; all are counts."""

    #: Streams: there now, and all.
    streams: int
    streams_begun: int
    #: Packets that were sent again, and times that one was waited for too long.
    retransmitted: int
    timed_out: int
    #: Packets that were nobody's, and those of others that were passed on.
    strays: int
    relayed: int

    @classmethod
    def of(cls, core: UDXCore) -> StreamStats:
        """:returns: what the streams of a core have done so far."""
        return cls(
            streams=len(core),
            streams_begun=core.begun,
            retransmitted=core.retransmitted,
            timed_out=core.timed_out,
            strays=core.strays,
            relayed=core.relayed,
        )
