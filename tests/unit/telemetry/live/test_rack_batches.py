"""What the window knows of halls: batches of racks, summed, and counted once."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry.quality.checks import QualityFlag
from tests.support.small_points import NOON, SECOND, batch


def test_batches_of_a_hall_are_summed_and_scaled_to_all_racks(window):
    for number in range(1, 14):  # of 14
        window.add(batch(rack=f"r{number:04d}", temperature=50.0 + number))
    seen = window.latest_values(NOON).sel(hall="hall_1")
    # 72 chips of 1 kW in each of 14 racks
    assert seen["accelerator_power"] == pytest.approx(14 * 0.072)
    assert seen["chip_temperature"] == pytest.approx(63.0)
    assert seen["accelerator_utilisation"] == pytest.approx(0.8)
    assert seen["racks_heard"] == pytest.approx(13 / 14)


def test_a_chip_that_is_not_there_counts_as_the_mean_of_the_others(window):
    for number in range(1, 15):
        whole = batch(rack=f"r{number:04d}", temperature=50.0 + number)
        values = whole.values.copy()
        values[:, [3, 71]] = np.nan
        assert window.add(replace(whole, values=values)) is QualityFlag.GOOD
    seen = window.latest_values(NOON).sel(hall="hall_1")
    assert seen["accelerator_power"] == pytest.approx(14 * 0.072)
    assert seen["chip_temperature"] == pytest.approx(64.0)
    assert seen["accelerator_utilisation"] == pytest.approx(0.8)


def test_hall_with_few_racks_is_nan(window):
    for number in range(1, 13):
        window.add(batch(rack=f"r{number:04d}"))
    seen = window.latest_values(NOON).sel(hall="hall_1")
    assert np.isnan(seen["accelerator_power"])
    assert seen["racks_heard"] == pytest.approx(12 / 14)


def test_batches_count_once_and_gaps_are_counted(window):
    for sequence in (1, 2, 2, 5, 4, 4, 1):
        window.add(batch(sequence=sequence, time=NOON + sequence * SECOND))
    # 3 is missing; 2, 4 and 1 came twice
    assert window.counters == {"batch good": 4, "duplicate": 3, "gap": 1}
    assert (
        window.latest_values(NOON + 5 * SECOND)["accelerator_power_age"].sel(hall="hall_1") == 0.0
    )


def test_restarted_sender_restarts_its_sequence(window):
    window.add(batch(boot=7, sequence=900))
    assert window.add(batch(boot=8, sequence=1, time=NOON + SECOND)) is QualityFlag.GOOD
    assert window.add(batch(boot=7, sequence=901, time=NOON)) is None
    # a clock set back at boot must not block a rack
    assert window.add(batch(boot=3, sequence=1, time=NOON + 2 * SECOND)) is QualityFlag.GOOD
    assert window.counters == {"batch good": 3, "old boot": 1}


def test_strange_batches_are_counted(window):
    window.add(batch(rack="r0099"))
    window.add(batch(hall="hall_9"))
    window.add(batch(site="rhine"))
    window.add(batch(power=9000.0))
    assert window.counters == {"unknown rack": 2, "other site": 1, "batch range": 1}
