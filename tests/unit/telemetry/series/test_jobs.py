"""Jobs: hours of a year become times."""

import numpy as np
import pytest

from telemetry.series import read, read_announcements, read_jobs
from twin.errors import SeriesError


def test_jobs_are_placed_in_the_year_and_sorted(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("arrival_time,length,cpus\n1.5,2.0,4\n0.0,25.4,1\n")
    jobs = read_jobs(path, year=2024)
    assert jobs["arrival"].dtype == "datetime64[us]"
    assert jobs["arrival"].tolist()[1] == np.datetime64("2024-01-01T01:30", "us").item()
    assert jobs["length"].tolist() == [25.4, 2.0]
    assert jobs["size"].tolist() == [1, 4]


def test_default_size_is_one(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("arrival_time,length\n0,1\n")
    assert read_jobs(path, year=2023)["size"].tolist() == [1]
    with pytest.raises(SeriesError, match=r"year: .*\[missing\]"):
        read(path)


def test_file_without_jobs_is_read_without_warnings(tmp_path):
    """Proves: no jobs are accepted. Sensitivity: numpy warned of the mean of an empty slice."""
    path = tmp_path / "jobs.csv"
    path.write_text("arrival_time,length,cpus\n")
    jobs = read_jobs(path, year=2024)
    assert len(jobs) == 0
    assert jobs.attrs["notes"] == []


@pytest.mark.parametrize(
    ("head", "notes"),
    [
        ("arrival_time,length,cpus", []),
        ("arrival_time,length,cpus,user,cpu", ["not read: user, cpu"]),
        ("arrival_time,length", ["no column cpus: all jobs are of one size"]),
        (
            "arrival_time,length,user",
            ["not read: user", "no column cpus: all jobs are of one size"],
        ),
    ],
)
def test_unread_columns_are_noted(tmp_path, head, notes):
    """Proves: unread columns and missing sizes are noted."""
    path = tmp_path / "jobs.csv"
    path.write_text(f"{head}\n{','.join('1' for _ in head.split(','))}\n")
    assert read_jobs(path, year=2023).attrs["notes"] == notes


def noted(tmp_path, *odd, head="arrival_time,length,cpus"):
    """Return the notes on a file of 200 jobs of 2 h and 4 CPUs, and some unusual ones."""
    path = tmp_path / "jobs.csv"
    usual = [",".join(f"{at},2,4".split(",")[: head.count(",") + 1]) for at in range(200)]
    path.write_text("\n".join([head, *usual, *odd]))
    return read_jobs(path, year=2023).attrs["notes"]


def test_dominant_job_is_noted(tmp_path):
    """Proves: the note has its row, size and share beside 200 jobs of 1,600 CPU hours.

    Sensitivity: without the note, a back-test of almost no work looks normal.
    """
    (note,) = noted(tmp_path, "200,2,1e15")
    assert note.startswith("row 202: one job, 1e+15 cpus for 2 h, is 100 % of all work, and")
    (note,) = noted(tmp_path, "200,2,900")
    assert " is 52.9 % of all work, " in note
    assert noted(tmp_path, "200,2,80") == []  # 160 of 1,760: less than a tenth
    assert "100 % of all work" in noted(tmp_path, "200,2,1e308", "201,2,2")[0]


def test_job_of_months_is_noted(tmp_path):
    note = "longer than 720 h, up to 5000 h; is length in hours?"
    assert noted(tmp_path, "200,5000,1e-3") == [f"row 202: a job lasts {note}"]
    rows = ("200,800,1e-3", "201,5000,1e-3")
    assert noted(tmp_path, *rows) == [f"row 203: 2 jobs last {note}"]
    unsized = noted(tmp_path, "200,700", head="arrival_time,length")
    assert unsized[1].startswith("row 202: one job, 700 h, is 63.6 % of all work")


@pytest.mark.parametrize("name", ["cpu", "Cpus", "CPUS", "gpus"])
def test_misspelt_size_column_is_refused(tmp_path, name):
    """Proves: a misspelt column of sizes is refused with its name and a remedy.

    Sensitivity: without the rule this job of four runs as one of one.
    """
    path = tmp_path / "jobs.csv"
    path.write_text(f"arrival_time,length,{name}\n0,1,4\n")
    with pytest.raises(SeriesError, match=rf"columns = {name}: .*\[unknown-key\]"):
        read_jobs(path, year=2023)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("arrival_time,cpus\n0,1\n", r"arrival_time, cpus: .*\[missing\]"),
        ("arrival_time,length\n0,0\n", r"row 2, length = 0: .*\[out-of-range\]"),
        ("arrival_time,length\n-1,1\n", r"row 2, arrival_time = -1: .*\[out-of-range\]"),
        ("arrival_time,length\n0,\n", "row 2, length = nan"),
        ("arrival_time,length\n1e30,1\n", "row 2, arrival_time = 1e[+]30: .*below 1e[+]06 h"),
        ("arrival_time,length\n0,long\n", "row 2, length = 'long'"),
        ("arrival_time,length,cpus\n0,1,0\n", "row 2, cpus = 0"),
    ],
)
def test_impossible_jobs_are_refused(tmp_path, text, expected):
    path = tmp_path / "jobs.csv"
    path.write_text(text)
    with pytest.raises(SeriesError, match=expected):
        read_jobs(path, year=2023)


HEAD = "announced_at,id,expected_start,length,cpus,withdrawn_at,probability"


def announced(tmp_path, *rows, head=HEAD):
    path = tmp_path / "announced.csv"
    path.write_text("\n".join([head, *rows, ""]))
    return read_announcements(path, year=2023)


def test_announcements_are_placed_in_the_year_of_their_jobs(tmp_path):
    """Proves: times before hour 0 are of the year before; blanks mean neither withdrawn nor unsure.

    An id is text, as that of the jobs is.
    """
    found = announced(tmp_path, "-6,a7,1.5,2,4,,", "3,12,30,1,1,20,0.25")
    wanted = ["2022-12-31T18:00", "2023-01-01T03:00"]
    assert found["announced"].tolist() == [np.datetime64(one, "us").item() for one in wanted]
    assert found["start"].tolist()[0] == np.datetime64("2023-01-01T01:30", "us").item()
    assert found["withdrawn"].isna().tolist() == [True, False]
    assert found["probability"].tolist() == [1.0, 0.25]
    assert found["id"].tolist() == ["a7", "12"]
    assert found.attrs["notes"] == []
    short = announced(tmp_path, "1,a,2,3,x", head="announced_at,id,expected_start,length,user")
    assert short["size"].tolist() == [1.0]
    assert short.attrs["notes"] == ["not read: user"]


@pytest.mark.parametrize(
    ("row", "location"),
    [
        ("x,a,2,3,1,,", "row 2, announced_at"),
        (",a,2,3,1,,", "row 2, announced_at"),
        ("1,a,1e7,3,1,,", "row 2, expected_start"),
        ("1,a,2,0,1,,", "row 2, length"),
        ("1,a,2,3,-1,,", "row 2, cpus"),
        ("1,a,2,3,1,0.5,", "row 2, withdrawn_at"),
        ("1,a,2,3,1,,1.5", "row 2, probability"),
        ("1,,2,3,1,,", "row 2, id"),
    ],
)
def test_bad_announcement_is_refused_with_its_place(tmp_path, row, location):
    with pytest.raises(SeriesError) as error:
        announced(tmp_path, row)
    assert [one.location for one in error.value.issues] == [f"announced.csv, {location}"]


def test_announcements_without_a_required_column_are_refused(tmp_path):
    with pytest.raises(SeriesError) as error:
        announced(tmp_path, "1,2,3", head="announced_at,expected_start,length")
    assert "add the column id" in error.value.issues[0].remedy


def test_jobs_have_their_id_or_their_number_in_the_file(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("arrival_time,length,cpus\n5,1,1\n2,1,1\n")
    assert read_jobs(path, year=2023)["id"].tolist() == ["2", "1"]
    path.write_text("arrival_time,length,cpus,id\n5,1,1,x\n2,1,1,y\n")
    assert read_jobs(path, year=2023)["id"].tolist() == ["y", "x"]
