"""The networks that need no proxy, and what they are made of."""
