"""Fixtures of the tests that the benches' own tests need."""

from tests.architecture.conftest import root
from tests.conftest import own_logs

__all__ = ["own_logs", "root"]
