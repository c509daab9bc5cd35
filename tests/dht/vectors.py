"""What the JavaScript packages made of the same input: ``tests/vectors/dht.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spaceswarm_proxy.dht.contact import address_of

_VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "dht.json").read_text())


def vectors(section: str) -> Any:
    """One section of the file."""
    return _VECTORS[section]


def octets(text: str | None) -> bytes | None:
    """A field in hex, which may be absent."""
    return None if text is None else bytes.fromhex(text)


def address(fields: dict[str, Any]) -> bytes:
    """The six bytes of a host and port."""
    return address_of(fields["host"], fields["port"])


def addresses(rows: list[dict[str, Any]] | None) -> list[bytes]:
    """Those of a list of them; an absent list is empty."""
    return [address(fields) for fields in rows or []]
