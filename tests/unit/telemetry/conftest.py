"""Fixtures: clients, archives, journals, live states; all are closed after the test."""

import itertools

import pytest

from telemetry.delivery.publisher import SpoolStore
from telemetry.live.state import LiveState
from telemetry.mqtt.client import Client
from telemetry.points.site_points import list_points
from tests.support import brokers, journals
from tests.support.clients import LONG
from tests.support.feeds import Bench
from tests.support.ingesting import Service
from tests.support.ordering import Wire
from tests.support.sample_archive import Heard
from tests.support.small_points import site

names = (f"client-{number}" for number in itertools.count())


@pytest.fixture
def made():
    """Return a function that makes clients, which stop after the test."""
    clients = []

    def make(url, **options):
        options.setdefault("client_id", next(names))
        clients.append(Client(url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.stop(timeout=0.0)


@pytest.fixture
def connected(made):
    """Return a function that makes connected clients."""

    def connect(url, *filters, qos=1, **options):
        client = made(url, **options)
        client.connect(LONG)
        if filters:
            assert client.subscribe(*filters, qos=qos).wait(LONG)
        return client

    return connect


@pytest.fixture
def run(tmp_path):
    """Return a function that starts a broker, which stops after the test."""
    started = []

    def start(binary, template):
        started.append(brokers.Broker(binary, template, tmp_path))
        started[-1].start()
        return started[-1]

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture
def heard(tmp_path):
    """Return an archive that receives samples."""
    return Heard(tmp_path)


@pytest.fixture
def service(tmp_path):
    """Return a running ingester without a broker."""
    with Service(tmp_path) as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a journal."""
    return tmp_path / "journal"


@pytest.fixture
def journal(folder):
    """Return a journal that is closed after the test."""
    journal = journals.opened(folder)
    yield journal
    journal.close()


@pytest.fixture
def window():
    """Return a live state with the metadata of all points of `small`."""
    whole = LiveState(site())
    for listed in list_points(site()):
        whole.add(listed.metadata)
    return whole


@pytest.fixture
def bench(tmp_path):
    """Return a feed with one partner."""
    return Bench(tmp_path)


@pytest.fixture
def box(tmp_path):
    """Return a function that opens a spool, which is closed after the test."""
    opened = []

    def make(**options):
        opened.append(SpoolStore(tmp_path / "box", **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def wire():
    """Return a client that records what is published."""
    return Wire()
