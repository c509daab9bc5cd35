"""Tests of what is in ``scripts/``."""
