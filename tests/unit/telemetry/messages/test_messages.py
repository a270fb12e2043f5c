"""Codecs: what is encoded is decoded again, byte for byte, whatever the sample."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.messages import decode, encode
from telemetry.messages.samples import (
    CapOrder,
    CapStatus,
    DecisionNotice,
    JobColumns,
    JobHistory,
    JobOrders,
    JobStatus,
    PointMetadata,
    PointValue,
    QueueSnapshot,
    SimulationTick,
)
from twin.errors import MessageError

LETTERS = st.characters(blacklist_categories=("Cs",))
NAMES = st.text(
    st.characters(blacklist_characters="/+#", blacklist_categories=("Cc", "Cs")), min_size=1
).filter(lambda text: len(text) < 60)
TEXTS = st.text(LETTERS, max_size=40)
TIMES = st.integers(946_684_800_000, 4_102_444_799_999).map(
    lambda ms: np.datetime64(ms * 1000, "us")
)
COUNTS = st.integers(0, 2**53)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TAGS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
POINTS = TAGS.map("Sensor/GenericPoint/{}".format)
SPAN = np.timedelta64(900, "s")


def orders_of(kind, **more):
    pairs = st.tuples(TIMES, TIMES).map(sorted)
    return st.tuples(pairs, st.fixed_dictionaries(more)).map(
        lambda drawn: kind(issued=drawn[0][0], expires=drawn[0][1], **drawn[1])
    )


CAPS = orders_of(CapOrder, site=NAMES, hall=NAMES, sequence=COUNTS, power_cap=st.floats(0, 1e4))
SAMPLES = st.one_of(
    st.builds(
        PointValue,
        point=POINTS,
        time=TIMES,
        value=st.none() | NUMBERS,
        quality=st.integers(-9, 9),
        sender=NAMES,
    ),
    CAPS,
    st.builds(CapStatus, order=CAPS, is_applied=st.booleans(), reason=TEXTS),
    orders_of(
        JobOrders,
        site=NAMES,
        sequence=COUNTS,
        caps=st.dictionaries(COUNTS, st.floats(0, 1, exclude_min=True)),
    ),
    st.builds(
        JobStatus,
        site=NAMES,
        sequence=st.integers(-1, 2**53),
        is_applied=st.booleans(),
        reason=TEXTS,
    ),
    st.builds(
        SimulationTick,
        site=NAMES,
        time=TIMES,
        interval=st.integers(1, 86_400).map(lambda s: np.timedelta64(s, "s")),
        step=COUNTS,
        steps=COUNTS,
        batches=COUNTS,
        points=COUNTS,
        is_last=st.booleans(),
    ),
    st.builds(DecisionNotice, site=NAMES, time=TIMES, sequence=st.integers(-1, 2**53)),
)


@given(SAMPLES)
def test_samples_come_back_as_they_were(sample):
    assert decode(*encode(sample)) == sample


@given(
    point=POINTS,
    unit=TEXTS,
    states=st.lists(st.tuples(st.integers(-9, 9), TEXTS), max_size=3),
    area=st.lists(TEXTS, max_size=3),
    serves=st.lists(TEXTS, max_size=3),
    name=TEXTS.filter(bool),
    is_associated=st.booleans(),
    is_setpoint=st.booleans(),
)
def test_metadata_comes_back(  # noqa: PLR0913
    point, unit, states, area, serves, name, is_associated, is_setpoint
):
    metadata = PointMetadata(
        point=point,
        object_type="Sensor",
        point_type="GenericPoint",
        object_id=name,
        object_name="" if is_associated else name,
        is_associated=is_associated,
        unit=unit,
        state_text=() if unit else tuple(states),
        process_area=tuple(area),
        serves=() if is_associated else tuple(serves),
        integration=name,
        is_setpoint=is_setpoint,
    )
    assert decode(*encode(metadata)) == metadata


@st.composite
def queues(draw):
    count = draw(st.integers(0, 5))
    hours = st.floats(0.01, 1e5)

    def column(strategy):
        return draw(st.lists(strategy, min_size=count, max_size=count))

    moments = sorted(column(TIMES))
    length = np.array(column(hours), dtype=float)
    jobs = JobColumns(
        number=np.array(draw(st.lists(COUNTS, min_size=count, max_size=count, unique=True)), int),
        kind=tuple(column(TEXTS)),
        arrival=np.array(moments, dtype="datetime64[us]"),
        deadline=np.array(column(TIMES), dtype="datetime64[us]"),
        length=length,
        racks=np.array(column(hours), dtype=float),
    )
    time = moments[-1] if moments else draw(TIMES)
    return QueueSnapshot(
        site=draw(NAMES),
        time=time,
        jobs=jobs,
        completed_hours=length * draw(st.floats(0, 1)),
        run_hours=np.array(column(hours), dtype=float),
        running=np.array(column(st.booleans()), dtype=bool),
    )


@given(queues())
def test_jobs_come_back(snapshot):
    topic, payload = encode(snapshot)
    again = decode(topic, payload)
    assert encode(again) == (topic, payload)
    assert np.array_equal(again.jobs.arrival, snapshot.jobs.arrival)
    assert np.array_equal(again.running, snapshot.running)
    history = JobHistory(site=snapshot.site, time=snapshot.time, jobs=snapshot.jobs)
    assert encode(decode(*encode(history))) == encode(history)


CAP = CapOrder(
    site="rhine",
    hall="hall_1",
    sequence=7,
    issued=np.datetime64("2026-06-16T12:00", "us"),
    expires=np.datetime64("2026-06-16T12:30", "us"),
    power_cap=81.5,
)


def test_a_cap_is_written_as_agreed():
    topic, payload = encode(CAP)
    assert topic == "dc/v1/rhine/hall_1/cap/set"
    assert json.loads(payload) == {
        "v": 1,
        "site": "rhine",
        "hall": "hall_1",
        "sequence": 7,
        "issued": 1781611200000,
        "expires": 1781613000000,
        "power_cap_mw": 81.5,
    }


def test_unknown_fields_pass_and_versions_are_refused():
    topic, payload = encode(CAP)
    assert decode(topic, payload.replace(b'"v":1', b'"v":1,"colour":"red"')) == CAP
    with pytest.raises(MessageError, match="version 1"):
        decode(topic, payload.replace(b'"v":1', b'"v":2'))


def test_another_site_in_the_payload_is_refused():
    _, payload = encode(CAP)
    with pytest.raises(MessageError, match="gallia"):
        decode("dc/v1/gallia/hall_1/cap/set", payload)


def test_an_order_that_has_expired_when_issued_is_refused():
    with pytest.raises(MessageError, match="expires"):
        decode(*encode(replace(CAP, expires=CAP.issued - SPAN)))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_nothing_that_is_not_finite_is_sent(wrong):
    with pytest.raises(MessageError):
        encode(replace(CAP, power_cap=wrong))
    with pytest.raises(MessageError):
        encode(PointValue(point="CDU/Status/rhine/a", time=CAP.issued, value=wrong))


def test_times_outside_this_century_are_not_sent():
    for time in ("NaT", "1969-12-31", "2100-01-01"):
        with pytest.raises(MessageError, match="2000 to 2099"):
            encode(DecisionNotice(site="rhine", time=np.datetime64(time, "us"), sequence=-1))


def queue_with(**changes):
    document = {
        "v": 1,
        "site": "rhine",
        "time": 1781611200000,
        "number": [3],
        "kind": ["batch"],
        "arrival": [1781611200000],
        "deadline": [1781631200000],
        "length_h": [2.0],
        "racks": [4.0],
        "done_h": [0.5],
        "ran_h": [0.5],
        "running": [True],
    }
    return json.dumps({**document, **changes}).encode()


def test_a_queue_of_one_job_reads():
    snapshot = decode("dc/v1/rhine/jobs/queue", queue_with())
    assert snapshot.jobs.number.tolist() == [3]


@pytest.mark.parametrize(
    "changes",
    [
        {"number": []},
        {"number": [3, 3], "kind": ["a", "a"]},
        {"arrival": [1781611200001]},  # of the future
        {"done_h": [2.1]},  # more than its length
        {"length_h": [0.0]},
        {"racks": [-1.0]},
        {"running": [1]},
        {"number": [True]},
        {"number": [3.0]},
        {"number": [-1]},
        {"kind": [None]},
        {"site": "gallia"},
        {"time": None},
    ],
)
def test_inconsistent_queues_are_refused(changes):
    with pytest.raises(MessageError):
        decode("dc/v1/rhine/jobs/queue", queue_with(**changes))


@pytest.mark.parametrize("number", ["", "-1", "1.0", "01", " 1", "x", "٣", "1" * 40, "1_0"])
def test_jobs_are_named_by_their_numbers(number):
    orders = {
        "v": 1,
        "site": "rhine",
        "sequence": 1,
        "issued": 1781611200000,
        "expires": 1781611200000,
        "caps": {number: 0.5},
    }
    with pytest.raises(MessageError):
        decode("dc/v1/rhine/jobs/set", json.dumps(orders).encode())


def test_signed_documents_are_for_others():
    with pytest.raises(MessageError, match="signed"):
        decode("feed/v1/grid/rhine/schedule", b"{}")
