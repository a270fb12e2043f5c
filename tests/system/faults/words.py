"""Messages of the service, decoded for the tests."""

import json

from telemetry.messages.topics import TopicKind, parse_topic


def schedules(ear, since=0.0, source=None):
    """Return the documents that were published, oldest first."""
    found = [one.document for one in ear.of(TopicKind.SCHEDULE, since) if not one.is_retained]
    return [one for one in found if source in {None, one["meta"]["source"]}]


def states(ear, since=0.0, state=None):
    """Return when the feed reported a state, and the status documents."""
    found = [(one.at, one.document) for one in ear.of(TopicKind.FEED_STATUS, since)]
    return [(at, document) for at, document in found if state in {None, document["state"]}]


def caps(ear, since=0.0, until=float("inf")):
    """Return hall -> ordered caps, oldest first. [MW]"""
    found = {}
    for one in ear.of(TopicKind.CAP_ORDER, since):
        if one.at < until:
            found.setdefault(one.document["hall"], []).append(one.document["power_cap_mw"])
    return found


def requests(ear, since=0.0, until=float("inf")):
    """Return point -> times and values of requests, without heartbeats."""
    found = {}
    for one in ear.of(TopicKind.POINT_VALUE, since):
        point = parse_topic(one.topic).point
        if one.at < until and "eartbeat" not in point:
            found.setdefault(point, []).append((one.at, json.loads(one.payload)["value"]))
    return found
