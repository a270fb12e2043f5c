"""Fixtures of the tests that the soaks' own tests need."""

from tests.conftest import own_logs

__all__ = ["own_logs"]
