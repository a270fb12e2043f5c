"""What is believed of the time of a simulated plant."""

import numpy as np

from telemetry.ingest.dead_letter import MAX_LEAP_S, SimTimeWatermark

FAR = 10 * MAX_LEAP_S


def test_the_first_word_is_believed_and_then_a_day_ahead():
    course = SimTimeWatermark()
    assert course.accepts_second(FAR)
    course.observe(1000)
    assert course.accepts_second(1000 + MAX_LEAP_S)
    assert not course.accepts_second(1001 + MAX_LEAP_S)
    assert course.accepts_second(-1000)


def test_a_leap_is_believed_once_three_in_a_row_agree():
    course = SimTimeWatermark(1000)
    for second in (FAR, FAR + 1, 1001, FAR + 2, FAR + 3):  # one of them speaks of now
        course.observe(second)
    assert not course.accepts_second(FAR)
    course.observe(FAR + 4)
    assert course.accepts_second(FAR)


def test_leaps_that_disagree_are_none():
    course = SimTimeWatermark(1000)
    for days in (10, 20, 30, 40):
        course.observe(days * MAX_LEAP_S)
    assert not course.accepts_second(FAR)


def test_readings_move_no_course_that_ticks_tell_but_go_on_where_ticks_ended():
    course = SimTimeWatermark()
    course.observe(0, is_tick=True)
    course.observe(MAX_LEAP_S)
    assert not course.accepts_second(MAX_LEAP_S + 1)
    for second in range(3):
        course.observe(MAX_LEAP_S + 1 + second)
    assert course.accepts_second(2 * MAX_LEAP_S)


def test_many_are_heard_as_one_after_the_other():
    for seconds, is_far in (([1, FAR, 2, FAR], False), ([1, FAR, FAR + 1, FAR + 2], True)):
        course = SimTimeWatermark(0)
        course.observe_all(np.array(seconds))
        assert course.accepts_second(FAR) == is_far
        assert course.accepted(np.array(seconds)).tolist() == [
            is_far or one < FAR for one in seconds
        ]
