"""Waits of the tests of clients."""

import re

from tests.support.waiting import DEADLINE, until

LONG = DEADLINE
"""Longest wait for a condition. [s]"""


def taken(client, count, *, acknowledge=True):
    """Return this many messages in order of arrival; a repeated message counts once."""
    messages, seen = [], set()

    def are_enough():
        fresh = client.poll(timeout=0.5)
        for message in fresh:
            if not (message.dup and (message.topic, message.payload) in seen):
                messages.append(message)
            seen.add((message.topic, message.payload))
        if acknowledge:
            client.acknowledge(fresh)
        return len(messages) >= count

    until(are_enough, deadline=LONG, what=lambda: f"{len(messages)} of {count} messages")
    return messages


def until_told(client, pattern):
    """Wait until the error of a client that cannot connect matches a pattern."""
    client.start()
    until(lambda: re.search(pattern, client.error), what=lambda: client.error)
    assert client.counters["connections"] == 0
