"""Keys (core: no reactor, no clock)."""
