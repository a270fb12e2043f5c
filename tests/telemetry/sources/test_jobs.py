"""Jobs: hours of a year become moments."""

import numpy as np
import pytest

from telemetry.sources import read, read_jobs
from twin.errors import SeriesError


def test_jobs_are_placed_in_the_year_and_sorted(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("arrival_time,length,cpus\n1.5,2.0,4\n0.0,25.4,1\n")
    jobs = read_jobs(path, year=2024)
    assert jobs["arrival"].dtype == "datetime64[us]"
    assert jobs["arrival"].tolist()[1] == np.datetime64("2024-01-01T01:30", "us").item()
    assert jobs["length"].tolist() == [25.4, 2.0]
    assert jobs["size"].tolist() == [1, 4]


def test_size_is_one_where_none_is_named(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("arrival_time,length\n0,1\n")
    assert read_jobs(path, year=2023)["size"].tolist() == [1]
    with pytest.raises(SeriesError, match="jobs count hours from no year"):
        read(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arrival_time,cpus\n0,1\n", "arrival_time, cpus: no column length"),
        ("arrival_time,length\n0,0\n", "row 2, length = 0: must be above 0 h"),
        ("arrival_time,length\n-1,1\n", "row 2, arrival_time = -1: must be 0 h or later"),
        ("arrival_time,length\n0,\n", "row 2, length = nan"),
        ("arrival_time,length\n1e30,1\n", "row 2, arrival_time = 1e[+]30: .*below 1e[+]06 h"),
        ("arrival_time,length\n0,long\n", "row 2, length = 'long'"),
        ("arrival_time,length,cpus\n0,1,0\n", "row 2, cpus = 0"),
    ],
)
def test_jobs_that_cannot_be_are_faults(tmp_path, text, words):
    path = tmp_path / "jobs.csv"
    path.write_text(text)
    with pytest.raises(SeriesError, match=words):
        read_jobs(path, year=2023)
