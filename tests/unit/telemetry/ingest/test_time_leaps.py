"""Which times of a simulated plant are accepted."""

import numpy as np

from telemetry.ingest.time_leaps import MAX_TIME_LEAP_S, SimTimeWatermark

FAR = 10 * MAX_TIME_LEAP_S


def test_first_time_is_accepted_then_one_day_ahead():
    watermark = SimTimeWatermark()
    assert watermark.accepts_second(FAR)
    watermark.observe(1000)
    assert watermark.accepts_second(1000 + MAX_TIME_LEAP_S)
    assert not watermark.accepts_second(1001 + MAX_TIME_LEAP_S)
    assert watermark.accepts_second(-1000)


def test_leap_is_accepted_after_three_agreeing_ticks():
    watermark = SimTimeWatermark(1000)
    for second in (FAR, FAR + 1, 1001, FAR + 2, FAR + 3):  # one of them is a current time
        watermark.observe(second)
    assert not watermark.accepts_second(FAR)
    watermark.observe(FAR + 4)
    assert watermark.accepts_second(FAR)


def test_disagreeing_leaps_are_ignored():
    watermark = SimTimeWatermark(1000)
    for days in (10, 20, 30, 40):
        watermark.observe(days * MAX_TIME_LEAP_S)
    assert not watermark.accepts_second(FAR)


def test_readings_extend_the_time_only_after_ticks_end():
    watermark = SimTimeWatermark()
    watermark.observe(0, is_tick=True)
    watermark.observe(MAX_TIME_LEAP_S)
    assert not watermark.accepts_second(MAX_TIME_LEAP_S + 1)
    for second in range(3):
        watermark.observe(MAX_TIME_LEAP_S + 1 + second)
    assert watermark.accepts_second(2 * MAX_TIME_LEAP_S)


def test_many_times_equal_one_after_another():
    for seconds, is_far in (([1, FAR, 2, FAR], False), ([1, FAR, FAR + 1, FAR + 2], True)):
        watermark = SimTimeWatermark(0)
        watermark.observe_all(np.array(seconds))
        assert watermark.accepts_second(FAR) == is_far
        assert [watermark.accepts_second(one) for one in seconds] == [
            is_far or one < FAR for one in seconds
        ]
