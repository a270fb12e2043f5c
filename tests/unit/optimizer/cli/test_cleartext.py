"""Commands refuse to connect to a broker without encryption, or with guessable client ids."""

import pytest
from typer.testing import CliRunner

from optimizer.cli import app

BROKER = ["--broker", "mqtt://me:secret@192.0.2.1"]

COMMANDS = {
    "run": ["run", "small", "--clock", "simulated", "--page", "0"],
    "plant": ["plant", "small", "--steps", "1"],
    "demo": ["demo", "--site", "small", "--once"],
    "replay": ["replay", "small", "--from", "2026-06-16", "--to", "2026-06-17"],
    "record": ["telemetry", "record", "small", "--seconds", "0"],
    "discover": ["telemetry", "discover", "small", "--seconds", "0"],
    "dcgm": [
        "telemetry", "dcgm", "small", "hall_1", "r0001", "--exporter", "http://127.0.0.1:1/metrics",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_cleartext_to_another_machine_is_refused(tmp_path, monkeypatch, name):
    """Proves: each command ends before it connects, and shows no password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = CliRunner().invoke(app, [*COMMANDS[name], *BROKER])
    assert found.exit_code == 1
    shown = f"{found.stdout}{found.stderr}{found.exception}"
    assert "would not be encrypted" in shown
    assert "--allow-cleartext" in shown
    assert "secret" not in shown


@pytest.mark.parametrize("suffix", ["gigatwin", "0123456789abcde", "0123456789-abcdef", "a" * 65])
def test_guessable_client_suffix_is_refused(tmp_path, monkeypatch, suffix):
    """Proves: an unfit secret ends the command with its name, and is not shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("GIGATWIN_CLIENT_SUFFIX", suffix)
    found = CliRunner().invoke(app, [*COMMANDS["run"], "--broker", "mqtt://127.0.0.1:1"])
    assert found.exit_code == 1
    shown = f"{found.stdout}{found.stderr}{found.exception}"
    assert f"GIGATWIN_CLIENT_SUFFIX = {len(suffix)} characters" in shown
    assert f"= {suffix}" not in shown
