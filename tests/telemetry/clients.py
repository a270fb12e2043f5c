"""What tests of clients ask of them."""

import re

from tests.waiting import DEADLINE, until

LONG = DEADLINE
"""Longest wait for anything. [s]"""


def taken(client, count, *, acknowledge=True):
    """Return so many messages, as they come; what a broker sends again counts once."""
    messages, seen = [], set()

    def are_enough():
        fresh = client.take(timeout=0.5)
        for one in fresh:
            if not (one.dup and (one.topic, one.payload) in seen):
                messages.append(one)
            seen.add((one.topic, one.payload))
        if acknowledge:
            client.acknowledge(fresh)
        return len(messages) >= count

    until(are_enough, deadline=LONG, what=lambda: f"{len(messages)} of {count} messages")
    return messages


def until_told(client, pattern):
    """Wait until a client that is not let in is told why, in words that have a pattern."""
    client.start()
    until(lambda: re.search(pattern, client.error), what=lambda: client.error)
    assert client.counters["connections"] == 0
