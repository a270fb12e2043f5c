"""A thread that ended by itself or hangs is reported; one that is to end is not."""

import threading

import pytest

from telemetry.runtime import SupervisedThread
from tests.support.waiting import DEADLINE


@pytest.fixture
def ended():
    event = threading.Event()
    yield event
    event.set()


def test_thread_that_has_not_started_is_no_failure(ended):
    thread = SupervisedThread(lambda: None, name="worker", deadline_s=DEADLINE, ended=ended)
    assert thread.failure == ""


def test_thread_that_ended_by_itself_is_a_failure(ended):
    thread = SupervisedThread(lambda: None, name="worker", deadline_s=DEADLINE, ended=ended)
    thread.start()
    thread.join(DEADLINE)
    assert "the worker thread ended by itself" in thread.failure
    ended.set()
    assert thread.failure == ""


@pytest.mark.parametrize(("deadline_s", "is_failure"), [(1e6, False), (-1.0, True)])
def test_thread_without_progress_is_a_failure_after_its_deadline(ended, deadline_s, is_failure):
    thread = SupervisedThread(ended.wait, name="worker", deadline_s=deadline_s, ended=ended)
    thread.start()
    assert ("the worker thread has made no progress" in thread.failure) == is_failure
