"""Topics: each is built and parsed by one table, and no name can widen a subscription."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from twin.errors import MessageError

NAMES = st.text(
    st.characters(blacklist_characters="/+#", blacklist_categories=("Cc", "Cs")), min_size=1
).filter(lambda text: len(text.encode()) < 100)


@pytest.mark.parametrize("kind", topics.TOPIC_PATTERNS)
@given(site=NAMES, hall=NAMES, rack=NAMES, partner=NAMES)
def test_built_topics_are_parsed(kind, site, hall, rack, partner):
    given_names = {"site": site, "hall": hall, "rack": rack, "partner": partner}
    names = {
        key: name
        for key, name in given_names.items()
        if "{" + key + "}" in topics.TOPIC_PATTERNS[kind]
    }
    address = topics.parse_topic(topics.build_topic(kind, **names))
    # a hall named "jobs" with a cap is a cap; nothing else can be two things
    assert address.kind == kind
    assert {key: getattr(address, key) for key in names} == names


@given(sender=NAMES, levels=st.lists(NAMES, min_size=1, max_size=4))
def test_points_of_any_depth_are_parsed(sender, levels):
    point = "/".join(["CDU", "GenericPoint", *levels])
    address = topics.parse_topic(topics.value_topic(point, sender))
    assert (address.kind, address.sender, address.point) == (TopicKind.POINT_VALUE, sender, point)
    address = topics.parse_topic(topics.metadata_topic(point))
    assert (address.kind, address.sender, address.point) == (TopicKind.POINT_METADATA, "PUB", point)


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a+", "a#b", "a\0", "a\nb", "\ud800"])
def test_names_that_widen_or_break_are_refused(name):
    with pytest.raises(MessageError):
        topics.build_topic(TopicKind.TICK, site=name)
    with pytest.raises(MessageError):
        topics.topic_filter(TopicKind.CAP_STATUS, site=name)
    with pytest.raises(MessageError):
        topics.value_topic("CDU/Status/rhine/cdu_1", name)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        "BMS",
        "BMS/v1/PUB/Value",
        "BMS/v1/PUB/Value/CDU/Status",  # no tag path
        "BMS/v1/PUB/Value/CDU//a",
        "BMS/v1//Value/CDU/Status/a",
        "BMS/v2/PUB/Value/CDU/Status/a",
        "BMS/v1/MEPAI/Metadata/CDU/Status/a",  # only the plant says what points are
        "BMS/v1/PUB/Value/CDU/Status/#",
        "BMS/v1/PUB/Value/CDU/+/a",
        "dc/v1/rhine/hall_1/r0001/tele/xml",
        "dc/v1//hall_1/r0001/tele",
        "dc/v1/rhine/jobs/run",
        "sim/v1/rhine",
        "feed/v1/grid/rhine/requests",
        "BMS/v1/PUB/Value/CDU/Status/" + "a" * 2000,
        "dc/v1/rhine/hall_1/\ud800/tele",
        "dc/v1/rhine/hall_1/a\0/tele",
    ],
)
def test_other_topics_are_refused(topic):
    with pytest.raises(MessageError) as caught:
        topics.parse_topic(topic)
    str(caught.value).encode("ascii")  # can be printed anywhere


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    try:
        topics.parse_topic(text)
    except MessageError:
        return


def test_a_service_listens_to_its_site_only():
    filters = topics.service_filters("rhine")
    assert "dc/v1/rhine/+/+/tele" in filters
    assert "sim/v1/rhine/clock" in filters
    assert filters
    assert not any(filter_.endswith("/set") for filter_ in filters)
