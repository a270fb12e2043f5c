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
    SiteError,
    ValidationIssue,
)
from twin.text import list_first

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


def test_issues_are_raised_together_if_there_are_any():
    issue = IssueCode.MISSING.issue("[tariffs]", expected="a tariff", remedy="add a tariff")
    assert (issue.code, issue.location, issue.found) == (IssueCode.MISSING, "[tariffs]", "")
    SiteError.raise_if_any("small", [])
    with pytest.raises(SiteError) as caught:
        SiteError.raise_if_any("small", [issue, issue])
    assert caught.value.issues == (issue, issue)
    single = SiteError.single("small", IssueCode.DUPLICATE, "name", expected="one", remedy="remove")
    assert (single.code, len(single.issues)) == (IssueCode.DUPLICATE, 1)


@pytest.mark.parametrize(("count", "text"), [(0, ""), (2, "a, b"), (4, "a, b and 2 more")])
def test_first_of_many_texts_are_listed(count, text):
    assert list_first(list("abcd")[:count], 2) == text
