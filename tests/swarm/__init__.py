"""Tests of ``spaceswarm_proxy.swarm``."""
