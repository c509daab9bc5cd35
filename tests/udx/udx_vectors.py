"""What ``tests/vectors/udx.json`` has: packets by name, and what two streams of the reference said to each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spaceswarm_proxy.udx.packet import SACK, Packet

_FILE = Path(__file__).parent.parent / "vectors" / "udx.json"
VECTORS: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
PACKETS: dict[str, dict[str, Any]] = {packet["name"]: packet for packet in VECTORS["packets"]}
TRANSCRIPTS: dict[str, dict[str, Any]] = {transcript["name"]: transcript for transcript in VECTORS["transcripts"]}
#: The numbers of the two streams.
A, B = VECTORS["stream_ids"]["A"], VECTORS["stream_ids"]["B"]


def packet_of(fields: dict[str, Any], payload: bytes) -> Packet:
    """:returns: the packet with these fields of the file."""
    ranges = tuple((start, end) for start, end in fields.get("sack", ()))
    assert bool(ranges) == bool(fields["flags"] & SACK)
    return Packet(
        fields["flags"],
        fields["stream_id"],
        fields["recv_window"],
        fields["seq"],
        fields["ack"],
        ranges,
        payload,
    )


def datagram_of(entry: dict[str, Any]) -> bytes:
    """:returns: a packet of a transcript; where the file has the header only, with letters for the payload."""
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    header = bytes.fromhex(entry["header_hex"])
    return header + b"x" * (entry["fields"]["datagram_length"] - len(header))
