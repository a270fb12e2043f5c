from telemetry import sources as sources
from telemetry.testbed import Plant

__all__ = ["Plant", "sources"]
