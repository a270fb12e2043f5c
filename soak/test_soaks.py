"""The command of the soaks: the options it passes on, its figures, and its code."""

import json
import sys
from importlib import import_module
from inspect import signature
from types import SimpleNamespace

import pytest

from soak import __main__ as command

HEARD = []


def run(count, *, seed, say, depth):
    HEARD.append((count, seed, depth))
    say("one")
    return {
        "count": count,
        "broken": int(seed == 7),
        "seeds_of_broken": [7] if seed == 7 else [],
        "seconds": 0.5,
        "days": [],
    }


pytestmark = pytest.mark.usefixtures("soaked")


@pytest.fixture
def soaked(monkeypatch):
    HEARD.clear()
    monkeypatch.setitem(sys.modules, "soak_of_a_test", SimpleNamespace(COUNT=3, run=run))
    option = command.Option(kind=int, default=2)
    soak = command.Soak(module="soak_of_a_test", options={"depth": option})
    monkeypatch.setitem(command.SOAKS, "mine", soak)


def test_soak_runs_with_its_count_and_options(tmp_path, capsys):
    file = tmp_path / "f.json"
    assert command.main(["mine", "--json", str(file)]) == 0
    assert command.main(["mine", "--count", "9", "--seed", "4", "--depth", "6"]) == 0
    assert HEARD == [(3, 0, 2), (9, 4, 6)]
    figures = json.loads(file.read_text())
    assert list(figures)[:5] == list(command.KEYS)
    assert figures["name"] == "mine"
    assert "one\n" in capsys.readouterr().out


def test_broken_promise_exits_with_status_1(capsys):
    assert command.main(["mine", "--seed", "7", "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["seeds_of_broken"] == [7]


@pytest.mark.parametrize("words", [[], ["nothing"], ["mine", "--count", "0"], ["mine", "--x", "1"]])
def test_invalid_arguments_are_refused(words):
    with pytest.raises(SystemExit) as raised:
        command.main(words)
    assert raised.value.code == 2


@pytest.mark.parametrize("name", command.SOAKS)
def test_soaks_accept_their_options(name):
    soak = command.SOAKS[name]
    module = import_module(soak.module)
    assert module.COUNT > 0
    assert {"count", "seed", "say", *soak.options} == set(signature(module.run).parameters)
