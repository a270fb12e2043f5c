"""Errors can be passed between processes."""

import pickle

import pytest

from twin.errors import (
    BrokerError,
    IssueCode,
    MessageError,
    NoScheduleError,
    ProblemError,
    SecurityError,
    ValidationIssue,
)

FAULT = ValidationIssue(
    expected="a reading",
    code=IssueCode.INCONSISTENT,
    location="here",
    found="3 MW",
    remedy="write 4 MW",
)


@pytest.mark.parametrize(
    "error",
    [
        ProblemError("question", [FAULT, FAULT]),
        MessageError("topic", b"\xff", "say it in JSON"),
        BrokerError("mqtt://there", "refused", "start it"),
        SecurityError("key", "others read it", "chmod 600"),
        NoScheduleError("no schedule"),
    ],
)
def test_error_survives_pickling(error):
    """Sensitivity: a pool of processes waits for ever where its errors cannot be read."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
