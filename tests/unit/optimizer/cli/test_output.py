"""What every command shows: units of columns, and files of results."""

import json
import os
import platform
import subprocess
import sys
import tomllib
from pathlib import Path

import highspy
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.cli.output import console, format_integer, pluralise, table, write_json

ROOT = Path(__file__).parents[4]


def test_version_names_those_of_python_and_the_solver():
    """Proves: the solver's version is that of the library that solves, not only of its package."""
    result = CliRunner().invoke(app, ["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    solver = highspy.Highs().version()
    versions = f"{project['version']}, Python {platform.python_version()}, HiGHS {solver}"
    assert (result.exit_code, result.stdout) == (0, f"gigatwin {versions}\n")


def test_units_of_columns_are_shown():
    """Proves: brackets in a heading are its unit and no markup."""
    screen = console()
    with screen.capture() as shown:
        screen.print(table("sums", "what", "carbon [t]", "late [h]", numbers=["late [h]"]))
    assert "carbon [t]" in shown.get()
    assert "late [h]" in shown.get()


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.3, "0"), (0.4, "0"), (19_101.6, "19,102"), (-1200.0, "-1,200")]
)
def test_number_that_rounds_to_zero_has_no_sign(value, shown):
    """Proves: sharing saves 0 EUR. Sensitivity: it saved -0 EUR."""
    assert format_integer(value) == shown


def test_one_has_no_plural():
    assert [pluralise(n, "round") for n in (0, 1, 18)] == ["0 rounds", "1 round", "18 rounds"]


def test_folder_of_a_result_is_created(tmp_path):
    """Proves: a run of minutes is not lost because a folder is missing."""
    write_json({"a": 1}, str(tmp_path / "new" / "r.json"))
    assert json.loads((tmp_path / "new" / "r.json").read_text()) == {"a": 1}


def test_pipe_is_written_and_stays_a_pipe(tmp_path):
    """Proves: no file replaces a device. Sensitivity: as root, /dev/null became a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    result = CliRunner().invoke(app, ["sites", "list", "--json", str(pipe)])
    written = os.read(reader, 65536)
    os.close(reader)
    assert result.exit_code == 0, result.output
    assert json.loads(written)["sites"]
    assert pipe.is_fifo()


def test_link_to_a_file_stays_a_link(tmp_path):
    """Proves: the target of a link has the new result."""
    (tmp_path / "r.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "r.json")
    write_json({"a": 1}, str(tmp_path / "link.json"))
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": 1}


def test_standard_output_by_its_path_is_standard_output():
    """Proves: the table goes to standard error then, as with -."""
    result = CliRunner().invoke(app, ["sites", "list", "--json", "/dev/stdout"])
    assert json.loads(result.stdout)["sites"]


def test_netcdf_to_a_pipe_is_refused_before_the_run(tmp_path):
    os.mkfifo(tmp_path / "run.nc")
    words = ["--start", "2026-06-16", "--days", "1", "--utilisation", "0.5"]
    result = CliRunner().invoke(
        app, ["simulate", "small", *words, "--out", str(tmp_path / "run.nc")]
    )
    assert result.exit_code == 1
    assert "is a device or a pipe; name a file" in " ".join(result.output.split())


def test_unwritable_path_is_one_error_line(tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ["sites", "list", "--json", str(tmp_path / "file" / "r.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "but none can be created there" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("name", "remedy"), [("f.foo", "ends in .png, .svg, .pdf"), (".", "ends in .png")]
)
def test_invalid_picture_path_is_refused_before_the_run(tmp_path, name, remedy):
    result = CliRunner().invoke(app, ["front", "no_site", "--out", str(tmp_path / name)])
    assert result.exit_code == 1
    assert remedy in " ".join(result.output.split())
    assert "no_site" not in result.output.replace(str(tmp_path), "")


def test_result_does_not_replace_a_folder(tmp_path):
    result = CliRunner().invoke(app, ["sites", "list", "--json", str(tmp_path)])
    assert result.exit_code == 1
    assert "is a folder; name a file" in " ".join(result.output.split())


def test_ascii_terminal_shows_tables_and_json():
    """Proves: under an ASCII locale tables and JSON are complete."""
    spoken = os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    arguments = [sys.executable, "-c", "from optimizer.cli import app; app()", "sites", "list"]
    for words in ([], ["--json", "-"]):
        done = subprocess.run([*arguments, *words], env=spoken, capture_output=True, check=False)
        assert (done.returncode, done.stdout.isascii()) == (0, True), done.stderr
    assert {"small", "rhine"} <= {site["name"] for site in json.loads(done.stdout)["sites"]}
