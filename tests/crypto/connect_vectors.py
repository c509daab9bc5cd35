"""What ``tests/vectors/connect.json`` has for handshakes and streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spaceswarm_proxy.crypto.keys import KeyPair

_FILE = Path(__file__).parent.parent / "vectors" / "connect.json"
VECTORS: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
KEYS = {name: KeyPair.from_seed(bytes.fromhex(key["seed"])) for name, key in VECTORS["keys"].items()}
CLIENT, SERVER = KEYS["clientStatic"], KEYS["serverStatic"]
CLIENT_EPHEMERAL, SERVER_EPHEMERAL = KEYS["clientEphemeral"], KEYS["serverEphemeral"]
