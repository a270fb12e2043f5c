"""Fixtures of telemetry: clients, brokers, archives and journals that end with the test."""

from tests.support.telemetry_fixtures import (
    bench,
    box,
    connected,
    folder,
    heard,
    journal,
    made,
    run,
    service,
    window,
    wire,
)

__all__ = [
    "bench",
    "box",
    "connected",
    "folder",
    "heard",
    "journal",
    "made",
    "run",
    "service",
    "window",
    "wire",
]
