"""What may come in a datagram, for Hypothesis: good and damaged."""

from __future__ import annotations

from hypothesis import strategies as st

from spaceswarm_proxy.codec.compact import MAX_UINT

hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
addresses = st.binary(min_size=6, max_size=6)
tids = st.binary(min_size=2, max_size=2)
uints = st.one_of(
    st.integers(0, 300), st.integers(65500, 65600), st.integers(2**32 - 3, 2**32 + 3), st.integers(0, MAX_UINT)
)
values = st.binary(max_size=40) | st.integers(200, 300).map(bytes)


@st.composite
def damaged(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Something valid: as it is, with more after it, cut short, or with some of its bytes replaced."""
    data = draw(valid)
    kind = draw(st.sampled_from(["whole", "longer", "cut", "replaced"]))
    if kind == "longer":
        return data + draw(st.binary(max_size=10))
    if kind == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if kind == "replaced" and data:
        changed = bytearray(data)
        for _ in range(draw(st.integers(1, 3))):
            # The bytes at the beginning decide most; those at the end of a range of lengths are special.
            place = draw(st.integers(0, min(len(data), 16) - 1) | st.integers(0, len(data) - 1))
            changed[place] = draw(st.integers(0, 255) | st.sampled_from([0xFC, 0xFD, 0xFE, 0xFF]))
        return bytes(changed)
    return data
