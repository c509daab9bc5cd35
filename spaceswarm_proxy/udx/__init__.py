"""Reliable streams and unordered messages over UDP datagrams, as npm ``udx-native`` speaks them."""
