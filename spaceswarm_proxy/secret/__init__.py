"""
The encrypted stream over any Twisted transport: a Noise handshake, unless the keys are known, and messages after it.

What goes over the wire is said in ``crypto/``; here it gets its carrier, its end, its time limits and its endpoints.
"""
