"""What the wire may carry, for Hypothesis: good, unusual and damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from spaceswarm_proxy.codec.varint import encode_varint
from spaceswarm_proxy.proxy.event import Event, EventType, encode_body

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "proxy.json").read_text())

int32 = st.integers(-(2**31), 2**31 - 1)
stream_ids = st.one_of(st.integers(0, 300), st.integers(16000, 17000), int32)
_unsigned = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
_blob = st.binary(max_size=40)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
payloads = st.one_of(st.binary(max_size=140), st.integers(0, 20000).map(bytes))


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


events = st.builds(
    Event,
    type=st.sampled_from(list(EventType)).map(int) | _unsigned,
    topic=_maybe(_blob),
    data=_maybe(_blob),
    peer=_maybe(_blob),
    stream=_maybe(stream_ids),
    features=_maybe(_unsigned),
    request=_maybe(_unsigned),
    code=_maybe(_text),
    roles=_maybe(_unsigned),
    window=_maybe(_unsigned),
    key=_maybe(_blob),
    token=_maybe(_blob),
    handshake=_maybe(_unsigned),
    profile=_maybe(_text),
)


@st.composite
def varints(draw: st.DrawFn, values: st.SearchStrategy[int] = _unsigned) -> bytes:
    """A varint, sometimes longer than it need be, now and then too long."""
    data = encode_varint(draw(values))
    padding = draw(st.sampled_from([0, 0, 0, 1, 3, 10]))
    return data if not padding else data[:-1] + bytes([data[-1] | 0x80]) + b"\x80" * (padding - 1) + b"\x00"


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    """One field, known or not, of any wire type, that may lie about its length."""
    number = draw(st.sampled_from([0, 1, 1, 1, 2, 3, 4, 5, 6, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 1000]))
    wire = draw(st.sampled_from([0, 0, 0, 2, 2, 2, 1, 5, 3, 4, 6, 7]))
    key = draw(varints(st.just(number << 3 | wire)))
    blob = draw(st.binary(max_size=12))
    if wire == 2:
        return key + draw(varints(st.just(len(blob)) | st.integers(0, 20))) + blob
    return key + (draw(varints()) if wire == 0 else blob[: 8 if wire == 1 else 4])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The body of a good event with some of its bytes changed, put in or taken out."""
    body = bytearray(encode_body(draw(events)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        body[start : start + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(body)


#: Anything that a frame's body may be.
bodies = st.one_of(
    events.map(encode_body),
    st.lists(fields(), max_size=5).map(b"".join),
    damaged(),
    st.binary(max_size=30),
)
