"""The folder of a back-test holds one run, and says which."""

import pytest

import sites
from optimizer.service.trials.archive import check_site, open_folder
from twin.errors import ProblemError, StateError

RUN = {"site": "small", "start": "2023-06-12", "days": 1}


def test_the_same_run_finds_its_folder_again(tmp_path):
    open_folder(tmp_path / "run", RUN)
    (tmp_path / "run" / "results.json").write_text("{}")
    open_folder(tmp_path / "run", RUN)
    assert (tmp_path / "run" / "results.json").read_text() == "{}"


def test_another_run_is_refused_and_leaves_the_first_whole(tmp_path):
    open_folder(tmp_path, RUN)
    with pytest.raises(ProblemError, match="holds small from 2023-06-12: name a new folder"):
        open_folder(tmp_path, RUN | {"site": "rhine"})
    open_folder(tmp_path, RUN)


@pytest.mark.parametrize("text", ["[]", '{"site": "sm'])
def test_a_folder_whose_identity_is_damaged_takes_no_run(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StateError, match=r"run\.json = .*: run gigatwin backtest again"):
        open_folder(tmp_path, RUN)
    assert (tmp_path / "run.json").read_text() == text


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ProblemError, match="is a file"):
        open_folder(tmp_path / "notes.txt", RUN)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_one_site_is_not_explained_by_the_run_of_another(tmp_path):
    open_folder(tmp_path, RUN)
    check_site(tmp_path, sites.load("small"))
    with pytest.raises(StateError, match="the run is of small"):
        check_site(tmp_path, sites.load("rhine"))
