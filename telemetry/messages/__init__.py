"""Bytes to samples and back: pure, strict, one file a format.

``decode`` raises :class:`twin.errors.MessageError` for anything malformed, and nothing else.
"""

from telemetry.messages.codec import decode, encode

__all__ = ["decode", "encode"]
