"""What tests of clients ask of them."""

import time

LONG = 10.0
"""Longest wait for anything. [s]"""


def taken(client, count, *, acknowledge=True):
    """Return so many messages, as they come."""
    messages = []
    deadline = time.monotonic() + LONG
    while len(messages) < count and time.monotonic() < deadline:
        fresh = client.take(timeout=0.5)
        messages += fresh
        if acknowledge:
            client.acknowledge(fresh)
    came = len(messages)
    assert came >= count
    return messages
