"""Peers find our objectives; their environment is complete and made from its lock."""

import re

import highspy
import pytest

from benchmarks import peering, solve_cycle, solve_linopy, solve_ten
from benchmarks.bench import Place
from benchmarks.measuring import compare

AGREED = -11437.990527
"""Optimum of the ten batteries that were agreed, as FlexMeasures and oemof.solph find it. [EUR]"""


@pytest.fixture(scope="module")
def peers():
    """Skip where no environment was made: it takes 1.4 GB and a registry."""
    if not peering.is_ready(peering.HOME):
        pytest.skip("no peers: .ci/run makes .venv-peers, and ./dev bench solve does")


def optimum(path):
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    assert other.readModel(str(path)) != highspy.HighsStatus.kError
    other.run()
    return other.getObjectiveValue()


def test_ten_batteries_problem_is_the_agreed_one():
    place = Place(scratch=None)
    for way in (solve_ten.ours, solve_ten.limit):
        assert way(place, cases=1).figures["objective_0"] == pytest.approx(AGREED, rel=1e-9)


def test_warm_started_plan_has_the_same_objective():
    place = Place(scratch=None)
    both = [solve_ten.ours(place, cases=3, hours=96, is_next=is_next) for is_next in (False, True)]
    compare(solve_ten.BENCHES[0], both[0].figures, both[1].figures)


def test_battery_models_are_exported(tmp_path):
    place = Place(scratch=None, export=tmp_path)
    for way in (solve_ten.ours, solve_ten.limit):
        found = way(place, cases=1, hours=48).figures["objective_0"]
        path = tmp_path / f"ten_batteries-0-{way.__name__}.mps"
        assert optimum(path) == pytest.approx(found, rel=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize("peer", solve_ten.PEERS)
def test_peers_find_the_same_objective(tmp_path, peer):
    place = Place(scratch=tmp_path, export=tmp_path)
    ours = solve_ten.ours(place, cases=2, hours=48)
    theirs = solve_ten.by(place, peer, cases=2, hours=48)
    compare(solve_ten.BENCHES[0], ours.figures, theirs.figures)
    script = "-".join(solve_ten.PEERS[peer][1])
    models = list(tmp_path.glob(f"{script}-*.mps"))
    assert len(models) == (0 if peer == "flexmeasures" else 2)  # without Pyomo it exports no model
    for path in models:
        number = path.stem.rpartition("-")[2]
        assert optimum(path) == pytest.approx(ours.figures[f"objective_{number}"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_linopy_finds_the_same_fleet(tmp_path):
    place = Place(scratch=tmp_path, export=tmp_path)
    ways = solve_cycle.ours, solve_linopy.limit
    both = [way(place, steps=24, cycles=1) for way in ways]
    compare(solve_linopy.BENCHES[0], both[0].figures, both[1].figures)
    assert len(list(tmp_path.glob("fleet_linopy-*.mps"))) == 8  # four sites, two cycles


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_failing_peer_is_reported_with_its_output():
    with pytest.raises(peering.PeerError, match=r"ten_oemof failed:(.|\n)*KeyError: 'price'"):
        peering.ask("ten_oemof", [{}])


def test_all_peers_use_the_same_solver(root):
    locks = (root / "requirements.lock", peering.LOCK)
    used = {re.search(r"^highspy==(\S+)", lock.read_text(), re.MULTILINE)[1] for lock in locks}
    assert len(used) == 1


def test_build_packages_come_from_the_lock():
    builder = peering.entry(peering.LOCK.read_text(), "setuptools")
    assert builder.startswith("setuptools==")
    assert builder.count("==") == 1
    assert "--hash=sha256:" in builder
    assert set(peering.WITHOUT_WHEELS) <= set(
        re.findall(r"^([a-z0-9-]+)==", peering.LOCK.read_text(), re.MULTILINE)
    )


def test_broken_environment_is_made_again(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(peering, "_run", asked.append)
    home = tmp_path / "peers"
    assert not peering.is_ready(home)
    home.mkdir()
    assert not peering.is_ready(home)
    peering.make(home)
    assert peering.is_ready(home)
    assert [words[1:3] for words in asked] == [["-m", "venv"], ["-m", "pip"], ["-m", "pip"]]
    assert all("--require-hashes" in words for words in asked[1:])
    moved = home.rename(tmp_path / "elsewhere")
    assert not peering.is_ready(moved)
    other = tmp_path / "other.lock"
    other.write_text(peering.LOCK.read_text() + "# another day\n")
    monkeypatch.setattr(peering, "LOCK", other)
    assert not peering.is_ready(moved.rename(home))


def test_environment_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("GIGATWIN_PEERS", str(tmp_path))
    assert peering.python() == tmp_path
