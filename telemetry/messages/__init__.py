"""Convert bytes to samples and back: pure functions, strict, one module a format.

Every ``decode`` function raises :class:`twin.errors.MessageError` for malformed payloads and for
payloads that contradict their topic, and nothing else. Every ``encode`` function raises it for
names that a topic cannot contain, for times outside this century and for numbers not finite.
"""

from telemetry.messages.codec import decode, encode

__all__ = ["decode", "encode"]
