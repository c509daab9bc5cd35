"""Byte layouts that more than one protocol is made of."""
