"""The distributed hash table: a node of it, and what a node consists of."""
