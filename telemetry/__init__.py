"""Telemetry: messages over MQTT, ingestion, archive, live state and grid feed.

Public names are imported on first access; ``__init__.pyi`` lists them.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
