"""The sockets of a node, by number: the core knows no more of them."""

from __future__ import annotations

#: Where requests leave from while the node believes to be behind a firewall.
CLIENT_SOCKET = 0
#: Where it can be reached, if it can.
SERVER_SOCKET = 1
