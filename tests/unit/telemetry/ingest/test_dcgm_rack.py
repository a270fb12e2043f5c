"""A rack of hosts with dcgm-exporter: accelerators keep their slots when others fail."""

import threading

import numpy as np
import pytest

from telemetry.ingest.dcgm import NO_ANSWER_YET, DcgmRackReader, parse_exporter_text, to_rack_batch
from telemetry.messages import decode, encode
from tests.support.waiting import DEADLINE, until
from twin.errors import IssueCode, SeriesError, ValidationIssue

METRICS = {
    "DCGM_FI_DEV_POWER_USAGE": 100.0,
    "DCGM_FI_DEV_GPU_TEMP": 40.0,
    "DCGM_FI_DEV_GPU_UTIL": 50.0,
    "DCGM_FI_DEV_FB_USED": 10.0,
    "DCGM_FI_DEV_FB_FREE": 90.0,
    "DCGM_FI_DEV_SM_CLOCK": 1500.0,
}
A, B = "http://a:9400/metrics", "http://b:9400/metrics"
LONG = DEADLINE


def text(*gpus, host="a", lacks=(), model="B200"):
    """Return exporter text for accelerators (number, card): 100 W plus the card number."""
    lines = []
    for number, card in gpus:
        for metric, value in METRICS.items():
            if (number, metric) in lacks:
                continue
            reading = value + card if "POWER" in metric else value
            labels = f'gpu="{number}",UUID="GPU-{host}{card}",modelName="{model}",Hostname="{host}"'
            lines.append(f"{metric}{{{labels}}} {reading}")
    return "\n".join(lines)


EIGHT = [(n, n) for n in range(8)]


@pytest.fixture
def read_all(tmp_path):
    """Return the readings of a new gateway from some texts, and its errors."""

    def read(*rounds, exporters=(A,), each=None):
        texts_by_url = {}

        def fetch(url):
            if url not in texts_by_url:
                raise SeriesError(
                    url,
                    [
                        ValidationIssue(
                            expected="start it",
                            code=IssueCode.INCONSISTENT,
                            location="exporter",
                            found="refused",
                            remedy="start it",
                        )
                    ],
                )
            return texts_by_url[url]

        rack = DcgmRackReader(exporters, path=tmp_path / "places.json", each=each, fetch=fetch)
        found = []
        for texts in rounds:
            texts_by_url.clear()
            texts_by_url.update(texts)
            found.append([chip.values[0] for chip in rack.read(LONG)])
        rack.close()
        return found, rack.errors

    return read


def watts(*cards):
    return pytest.approx([np.nan if card is None else 100.0 + card for card in cards], nan_ok=True)


def test_missing_accelerator_leaves_its_slot_empty(read_all):
    gone = [(n, n) for n in range(8) if n != 2]
    found, errors = read_all({A: text(*EIGHT)}, {A: text(*gone)}, {A: text(*EIGHT)})
    assert found == [watts(*range(8)), watts(0, 1, None, 3, 4, 5, 6, 7), watts(*range(8))]
    assert errors == {}


def test_slots_survive_restarts_and_renumbering(read_all):
    read_all({A: text(*EIGHT)})
    renumbered = list(enumerate(n for n in range(8) if n != 2))
    found, errors = read_all({A: text(*renumbered)})
    assert found == [watts(0, 1, None, 3, 4, 5, 6, 7)]
    assert errors == {A: "1 of 8 accelerators are missing"}


def test_new_card_takes_the_slot_of_the_old_one(read_all):
    replaced = [(n, 20 if n == 2 else n) for n in range(8)]
    found, _ = read_all({A: text(*EIGHT)}, {A: text(*replaced)}, {A: text(*replaced)})
    assert found[1:] == [watts(0, 1, 20, 3, 4, 5, 6, 7)] * 2


def test_failed_host_empties_only_its_own_slots(read_all):
    """A host never read has as many slots as the other, or as configured."""
    both = {A: text(*EIGHT), B: text(*EIGHT[:4], host="b")}
    found, errors = read_all({B: both[B]}, both, {A: both[A]}, exporters=(A, B))
    assert found[0] == watts(*[None] * 4, *range(4))
    assert found[1:] == [watts(*range(8), *range(4)), watts(*range(8), *[None] * 4)]
    assert "refused: start it" in errors[B].replace(" = ", " ")
    found, _ = read_all({B: both[B]}, exporters=(A, B), each=8)
    assert found == [watts(*[None] * 8, *range(4), *[None] * 4)]


def test_missing_metric_affects_one_accelerator_only(read_all):
    lacking = text(*EIGHT, lacks={(3, "DCGM_FI_DEV_SM_CLOCK")})
    found, errors = read_all({A: lacking})
    assert found == [watts(0, 1, 2, None, 4, 5, 6, 7)]
    assert errors == {A: "gpu 3 lacks DCGM_FI_DEV_SM_CLOCK"}
    chips = parse_exporter_text(lacking)
    batch = to_rack_batch(
        chips,
        ("rhine", "hall_1", "r0001"),
        key=(1, 1),
        time=np.datetime64("2026-07-01", "us"),
        interval=np.timedelta64(1, "s"),
    )
    values = decode(*encode(batch)).values
    assert np.isnan(values).all(axis=0).tolist() == [n == 3 for n in range(8)]


def test_hanging_host_does_not_delay_readings(tmp_path):
    """Its thread keeps waiting; the next reading does not query it again."""
    release, queried = threading.Event(), []

    def fetch(url):
        queried.append(url)
        if url == B and not release.is_set():
            release.wait(LONG)
        return text(*EIGHT[:2], host=url[7])

    rack = DcgmRackReader((A, B), path=tmp_path / "places.json", fetch=fetch)

    def is_heard_alone():
        try:
            found = [c.values[0] for c in rack.read(0.2)]
        except SeriesError:  # the other one was slow too
            return False
        return found == watts(0, 1, None, None) and rack.errors == {B: NO_ANSWER_YET}

    for _ in range(2):
        until(is_heard_alone)
    assert queried.count(B) == 1
    release.set()
    while rack.read(LONG)[2].values[0] != 100.0:
        pass
    assert rack.errors == {}
    rack.close()


def test_error_names_all_hosts_if_none_answers(read_all):
    with pytest.raises(SeriesError, match="start it"):
        read_all({}, exporters=(A, B))
    with pytest.raises(SeriesError, match=r"gpu 0: DCGM_FI_DEV_GPU_UTIL;"):
        read_all({A: text(*EIGHT).replace("GPU_UTIL", "GPU_UTIL_OF_ANOTHER_NAME")})


@pytest.mark.parametrize("content", ["", "[]", '{"x": 3}', "{", '{"http://a:9400/metrics": null}'])
def test_unreadable_slot_file_is_ignored(read_all, tmp_path, content):
    (tmp_path / "places.json").write_text(content)
    assert read_all({A: text(*EIGHT)})[0] == [watts(*range(8))]


def test_labels_may_contain_braces(read_all):
    assert read_all({A: text(*EIGHT, model="B200 {x} y")})[0] == [watts(*range(8))]
