"""State, archive and results that commit 6bce1c81 wrote open with the code of today."""

import json
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import sites
from optimizer.backtesting.run_folder import (
    convert_run_folder,
    present_policy_name,
    read_backtest_decision,
    read_results,
    read_trajectory,
    read_trajectory_file,
)
from optimizer.demo.simulated_day import ChildProcess
from optimizer.service.audit import AUDIT_FILE, AuditLog, read_entries
from optimizer.service.control_socket import is_service_running, send_command
from optimizer.service.hold_register import HOLD_FILE, HoldRegister
from optimizer.service.startup import with_planner_of_folder
from optimizer.service.state_folder import StateFolder
from telemetry.archive import Archive, backup
from telemetry.archive import open as open_archive
from telemetry.feed.load_targets import LoadTargetStore
from telemetry.feed.revisions import RevisionStore
from telemetry.ingest.pipeline import IngestPipeline
from telemetry.journal.writer import Journal
from telemetry.live.state import LiveState
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from telemetry.runtime import ClockMode
from tests.support.ingesting import Wire
from tests.support.waiting import until
from twin.equipment.it_hall import ITHall
from twin.simulation.operating_limits import limit_excess
from twin.site_settings import ScenarioSettings

HERE = Path(__file__).parent

EXPECTED = json.loads((HERE / "expected.json").read_text())
"""What commit 6bce1c81 read; a variable has the number and the sum of its values."""

PLACED = 1796058999.8
"""Time just after the second HOLD was placed. [s since 1970]"""

DAY_S = 86400.0

CONTRACT = """
[equipment.tso_1]
kind = "load_target"
partner = "tso-1"
up_price = "5000 EUR/MWh"
least = "0.2 MW"
"""
"""Contract that the site of the sample had beside those of ``small``."""
END = np.datetime64("2026-06-16T01:00", "us")
SITE = sites.load_site("small")


def unpacked(name, folder):
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


@pytest.fixture
def state(tmp_path):
    """Return a copy of the state folder."""
    return unpacked("state", tmp_path)


def totals(dataset):
    return {
        str(name): [int(values.notnull().sum()), float(values.sum())]
        for name, values in dataset.data_vars.items()
        if values.dtype.kind in "fiu"
    }


def assert_same_values(found, expected):
    assert found.keys() >= expected.keys()
    for name, (count, total) in expected.items():
        assert found[name][0] == count, name
        assert found[name][1] == pytest.approx(total, rel=1e-6), name


def read_values(root):
    assert_same_values(totals(open_archive(SITE, root=root)), EXPECTED["variables"])
    racks = open_archive(SITE.name, group="racks", resolution="15min", root=root)
    assert_same_values(totals(racks), EXPECTED["racks"])


def test_earlier_state_keeps_its_site(state):
    with StateFolder(state, site="small") as folder:
        assert folder.path == state


@pytest.mark.parametrize("later", [60.0, DAY_S, 365.0 * DAY_S])
def test_earlier_hold_without_end_is_in_force(state, later):
    register = HoldRegister(state / HOLD_FILE, passed=lambda: later)
    hold = register.combined_hold(PLACED + later)
    assert hold is not None
    assert "grid desk" in hold.author
    assert "acceptance of the new meter" in hold.reason


def test_earlier_timed_hold_is_in_force(state):
    hold = HoldRegister(state / HOLD_FILE).combined_hold(PLACED + DAY_S)
    assert hold is not None
    assert "second shift" in hold.author


@pytest.mark.slow
def test_service_starts_on_an_earlier_state_in_hold(state, tmp_path):
    """Proves: a service of today reads the whole folder; the HOLD without an end is in force."""
    site = tmp_path / "small.toml"
    site.write_text(Path(sites.__file__).with_name("small.toml").read_text() + CONTRACT)
    with EmbeddedBroker() as broker:
        service = ChildProcess(tmp_path, "service")
        options = ["--broker", broker.url, "--clock", "simulated", "--page", "0"]
        service.start_gigatwin(["run", str(site), *options, "--state", str(state)])
        try:
            until(lambda: is_service_running(state), what=service.log.read_text)
            answer = until(lambda: connected_status(state), what=service.log.read_text)
        finally:
            service.terminate()
    assert "grid desk" in json.dumps(answer["snapshot"]["hold"])
    assert not [
        path for path in state.rglob("*") if ".spoilt" in path.name or ".broken" in path.name
    ]
    assert [one.hash for one in read_entries(state / AUDIT_FILE)][: EXPECTED["audit_entries"]][
        -1
    ] == (EXPECTED["audit_head"])


def connected_status(state):
    answer = send_command(state, "status")
    return answer if answer["snapshot"]["broker"]["is_connected"] else None


def test_earlier_audit_record_verifies_and_continues(state):
    path = state / AUDIT_FILE
    assert [one.hash for one in read_entries(path)][-1] == EXPECTED["audit_head"]
    AuditLog(path).add({"event": "a test"})
    entries = list(read_entries(path))
    assert not [one for one in entries if one.damage]
    assert len(entries) == EXPECTED["audit_entries"] + 1
    assert {one.content["event"] for one in entries} >= {"decision", "hold", "release"}


def test_revisions_continue_after_earlier_ones(state):
    store = RevisionStore(state / "feed")
    assert store.newest_revision == EXPECTED["revision"]
    assert store.next_revision(0) == EXPECTED["revision"] + 1
    assert store.history_of("tso-1").in_force.revision == EXPECTED["revision"]
    assert store.document("tso-1", EXPECTED["revision"]).count(".") == 2


def test_earlier_load_target_is_in_force(state):
    store = LoadTargetStore(state / "targets.json", feed="small", max_power=4.7)
    (target,) = store.current_and_future(END)
    assert (target.issuer, target.target.power) == ("tso-1", 2.5)
    assert str(target.target.end) == "2026-06-17T12:00:00.000000"


def test_earlier_journal_is_recovered(state):
    journal, archive = Journal(state / "journal"), Archive(state / "archive", "small")
    assert len(list(journal.read())) == EXPECTED["journal_records"]
    assert list(journal.read(after=archive.replay_position)) == []
    window = LiveState(SITE, clock_mode=ClockMode.SIMULATED)
    IngestPipeline(Wire(), journal, window=window, archive=archive).recover()
    present = window.latest_values(END)
    assert float(present["battery_level"].sum()) > 0.0
    assert float(present["grid_import_power"]) > 0.0


def test_lost_archive_is_rebuilt_from_an_earlier_journal(state, tmp_path):
    journal, root = Journal(state / "journal"), tmp_path / "rebuilt"
    pipeline = IngestPipeline(
        Wire(),
        journal,
        window=LiveState(SITE, clock_mode=ClockMode.SIMULATED),
        archive=Archive(root / "archive", "small"),
    )
    assert pipeline.recover() == EXPECTED["journal_records"]
    pipeline.start()
    pipeline.stop()
    read_values(root)


def test_earlier_archive_has_the_same_values(state):
    assert backup.verify(state / "archive", "small").lost == []
    read_values(state)


def test_fileof_an_earlier_archive_is_restored(tmp_path):
    file = tmp_path / "archive.tar"
    file.write_bytes(lzma.decompress((HERE / "archive.tar.xz").read_bytes()))
    report = backup.restore(file, tmp_path / "archive", "small", is_forced=False)
    assert (report.lost, report.open_hour_count) == ([], 0)
    read_values(tmp_path)


@pytest.mark.slow
def test_earlier_results_are_converted_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr("twin.plots.plot_run", lambda *_, **__: Figure(figsize=(1, 1)))
    folder = unpacked("results", tmp_path)
    assert convert_run_folder(folder, SITE) != []
    found = read_results(folder)
    for name, expected in EXPECTED["policies"].items():
        policy = present_policy_name(name)
        summary = found.policies[policy]
        assert {key: getattr(summary, key) for key in expected} == pytest.approx(expected)
        assert read_trajectory(folder, policy=policy).sizes["time"] == 96
    assert read_backtest_decision(folder)["start"].startswith("2026-06-16")


def test_earlier_state_keeps_the_planner_for_the_forecast(state):
    """Proves: a new default changes no running site; the notice names the line to add."""
    silent = SITE.model_copy(update={"scenarios": ScenarioSettings()})
    site, notice = with_planner_of_folder(silent, state)
    assert site.scenarios.count == 0
    assert "write [scenarios] count = 3 into the site file" in notice


@pytest.mark.parametrize("policy", ["optimal", "threshold"])
def test_chip_limits_apply_to_earlier_trajectories(tmp_path, policy):
    """Proves: chips at full load, once ``chip_temperature``, are judged under the present name."""
    run = read_trajectory_file(unpacked("results", tmp_path) / f"{policy}_0.nc")
    chips = run["full_load_chip_temperature"]
    assert "chip_temperature" not in run
    assert chips.attrs["units"] == "degC"
    assert "at full load" in chips.attrs["long_name"]
    limits = {f"full_load_chip_temperature of {hall.name}" for hall in SITE.machines_of(ITHall)}
    assert limits <= set(limit_excess(SITE, run)["limit"].to_numpy().tolist())
    assert float(limit_excess(SITE, run).max()) == 0.0
    hot = limit_excess(SITE, run.assign(full_load_chip_temperature=chips + 60.0))
    assert all(float(hot.sel(limit=limit).min()) > 0.0 for limit in limits)


def test_present_trajectories_keep_both_chip_temperatures(tmp_path):
    run = read_trajectory_file(unpacked("results", tmp_path) / "optimal_0.nc")
    mean = run["full_load_chip_temperature"] - 10.0
    run.assign(chip_temperature=mean).to_netcdf(tmp_path / "now.nc", engine="h5netcdf")
    again = read_trajectory_file(tmp_path / "now.nc")
    assert (again["chip_temperature"] < again["full_load_chip_temperature"]).all()
