"""The wheel holds the four packages with their data, and nothing else."""

import subprocess
import sys
import zipfile

import pytest

PACKAGES = {"twin", "sites", "telemetry", "optimizer"}


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(folder)], cwd=root, check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_top_level_holds_packages_and_metadata_only(names):
    top = {name.partition("/")[0] for name in names}
    assert top == PACKAGES | {"gigatwin-0.1.0.dist-info"}


def test_every_package_has_py_typed(names):
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_wheel_contains_site_data(names, root):
    data = {path.relative_to(root).as_posix() for path in (root / "sites").rglob("*.toml")}
    assert data <= names


def test_command_and_licence_are_declared(wheel):
    with zipfile.ZipFile(wheel) as archive:
        folder = "gigatwin-0.1.0.dist-info"
        assert b"gigatwin = optimizer.cli:app" in archive.read(f"{folder}/entry_points.txt")
        assert b"License-Expression: Apache-2.0" in archive.read(f"{folder}/METADATA")
        assert f"{folder}/licenses/LICENSE" in archive.namelist()


def test_wheel_finds_its_sites_without_the_clone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # the folder of the unpacked wheel is the first place where -c looks for modules
    command = [sys.executable, "-c", "from optimizer.cli import app; app()", "sites", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "rhine" in done.stdout
