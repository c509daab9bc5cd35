"""How two programs meet: handshakes through the DHT, and the ways through address translations."""
