"""Fixtures of telemetry that these tests share with its unit tests."""

from tests.unit.telemetry.conftest import connected, journal, made, run, service

__all__ = ["connected", "journal", "made", "run", "service"]
