"""The numbers of the DHT's commands and errors.  Internal and external commands have number spaces of their own."""

from __future__ import annotations

# Internal: the Kademlia of it.
PING = 0
PING_NAT = 1
FIND_NODE = 2
DOWN_HINT = 3
DELAYED_PING = 4

# External: what the table is used for.
PEER_HANDSHAKE = 0
PEER_HOLEPUNCH = 1
FIND_PEER = 2
LOOKUP = 3
ANNOUNCE = 4
UNANNOUNCE = 5
MUTABLE_PUT = 6
MUTABLE_GET = 7
IMMUTABLE_PUT = 8
IMMUTABLE_GET = 9
PLUGIN = 10

# What a response may say instead of doing it.
OK = 0
UNKNOWN_COMMAND = 1
INVALID_TOKEN = 2
SEQ_REUSED = 16
SEQ_TOO_LOW = 17

ERROR_NAMES = {
    UNKNOWN_COMMAND: "it does not serve this command",
    INVALID_TOKEN: "it does not accept the token",
    SEQ_REUSED: "another value has this sequence number",
    SEQ_TOO_LOW: "it has a value with a higher sequence number",
}
