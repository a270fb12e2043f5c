"""Fixtures of the tests, for those that stand here."""

from tests.architecture.conftest import root
from tests.conftest import (
    broker,
    embedded,
    from_one,
    mosquitto,
    nats,
    own_logs,
    shared,
)

__all__ = [
    "broker",
    "embedded",
    "from_one",
    "mosquitto",
    "nats",
    "own_logs",
    "root",
    "shared",
]
