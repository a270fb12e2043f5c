"""HOLD by command and by page: at once, across a restart, and released within the ramp limit."""

import json
import re
import threading
import urllib.request
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from optimizer.service.operators import add_operator
from tests.support.service_processes import DEADLINE
from tests.system.faults.words import caps, requests, schedules, states

pytestmark = pytest.mark.slow

AT_ONCE = 1.0
"""Time within which HOLD promises to be effective. [s]"""

STEPS = 1000  # more than any machine decides meanwhile
RISE = 3
"""Quarter-hours after a release in which the plant is watched going back to the plan. [1]"""

WORDS = {"author": "ana", "reason": "smoke at the busway"}


@pytest.fixture
def token(stage):
    """Return the token of an operator of the service."""
    stage.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return add_operator(stage.state, "eva")


@pytest.fixture
def running(stage, ear):
    """Return a service in the middle of a day, with a plan in force."""
    stage.serve("--page", "0")
    stage.attend()
    stage.play(STEPS)
    stage.until_ready()
    ear.until(lambda: len(schedules(ear)) > 1)
    return stage


def by_command(stage, order, **arguments):
    stage.tell(order, **arguments)


def by_page(stage, order, **arguments):
    """Press the button with the token of the page."""
    url = (stage.state / "page.url").read_text()
    with urllib.request.urlopen(url, timeout=DEADLINE) as page:
        page_token = re.search(r'content="([\w-]{20,})"', page.read().decode())[1]
    request = urllib.request.Request(
        url + order,
        data=json.dumps(arguments).encode(),
        headers={
            "Content-Type": "application/json",
            "Origin": url.rstrip("/"),
            "X-Gigatwin-Token": page_token,
        },
    )
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        assert answer.status == 200


CLIENTS = 50
"""Open pages. [1]"""

POLL_PERIOD_S = 2.0
"""Time between two requests of a page. [s]"""


@contextmanager
def polling_clients(url):
    """Poll the state as open pages do; yield the number of answers so far."""
    ended, answers = threading.Event(), []

    def poll(delay):
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE)
        while not ended.wait(delay):
            connection.request("GET", "/state.json", headers={"Accept-Encoding": "gzip"})
            answers.append(connection.getresponse().read())
            delay = POLL_PERIOD_S
        connection.close()

    delays = [POLL_PERIOD_S * number / CLIENTS for number in range(CLIENTS)]
    pages = [threading.Thread(target=poll, args=(delay,)) for delay in delays]
    for page in pages:
        page.start()
    try:
        yield answers
    finally:
        ended.set()
        for page in pages:
            page.join()


def is_effective(ear, since):
    """Return when HOLD had reached the partner and every request was withdrawn, or None."""
    hold_states = states(ear, since, "hold")
    requested = {
        point for point, values in requests(ear, 0.0, since).items() if values[-1][1] is not None
    }
    withdrawn = requests(ear, since)
    ends = [
        next((at for at, value in withdrawn.get(p, ()) if value is None), None) for p in requested
    ]
    if not hold_states or None in ends:
        return None
    return max([hold_states[0][0], *ends])


def check_held(ear, since):
    """Check that nothing is requested and no cap is raised."""
    for point, values in requests(ear, since).items():
        assert all(value is None for _, value in values), point
    before, after = caps(ear, until=since), caps(ear, since)
    assert set(after) == set(before)
    for hall, powers in after.items():
        assert max(powers) <= before[hall][-1], hall


@pytest.mark.parametrize("give", [by_command, by_page])
def test_hold_acts_at_once_while_clients_poll(running, ear, give):
    """Proves: a HOLD takes effect within 1 s while 50 pages are open and the site is decided.

    Sensitivity: 3 s, as the service built a snapshot for each request under the lock of orders.
    """
    url = (running.state / "page.url").read_text()
    with polling_clients(url) as answers:
        ear.until(lambda: len(answers) > 2 * CLIENTS)
        decided = ear.now()
        ear.until(lambda: schedules(ear, decided))  # in the middle of the day
        begun = ear.now()
        give(running, "hold", **WORDS)
        effective = ear.until(lambda: is_effective(ear, begun))
    assert effective - begun < AT_ONCE


@pytest.mark.parametrize("give", [by_command, by_page])
def test_hold_acts_at_once_and_survives_a_kill(running, ear, token, give):
    stage = running
    begun = ear.now()
    give(stage, "hold", **WORDS)
    effective = ear.until(lambda: is_effective(ear, begun))
    assert effective - begun < AT_ONCE
    documents = ear.until(lambda: schedules(ear, effective, "hold"))
    assert "ana" not in json.dumps(documents[0])  # a name stays inside the site

    stage.service.kill()
    again = ear.now()
    stage.serve()
    ear.until(lambda: schedules(ear, again, "hold"))
    stage.until_ready()
    assert stage.tell("status")["snapshot"]["hold"]["reason"] == WORDS["reason"]
    check_held(ear, effective)
    assert not schedules(ear, effective, "optimum")

    released = ear.now()
    author = stage.tell("status")["snapshot"]["hold"]["author"]
    give(stage, "release", hold=1, of=author, token=token)
    ear.until(lambda: schedules(ear, released, "optimum"))
    ear.until(lambda: states(ear, released, "ok"))
    ear.until(lambda: len(schedules(ear, released)) > RISE)
    result = stage.finish()
    assert result["violations"] == {}  # the connection's ramp among them
    assert result["undecided"] == 0
