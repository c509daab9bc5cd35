"""Tests against the JavaScript implementations; they need Node and ``python -m tests.interop.javascript``."""
