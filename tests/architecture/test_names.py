"""Names: the vocabulary's words, the trade's words, and none of the words that say nothing."""

import ast
import re
from collections import defaultdict

import pytest

from twin.errors import UnitError
from twin.variables import variable_definition

SAYS_NOTHING = {"base", "common", "helper", "helpers", "manager", "misc", "tools", "util", "utils"}
FOREIGN = {"dask", "pyomo", "highspy"}
HOOKS = {"twin.units"}
"""Files that answer pydantic's own hooks, whose values can be anything."""


def words(name):
    """Return the words of a class's name, in small letters."""
    return re.findall(r"[a-z]+", re.sub(r"(?=[A-Z])", " ", name).lower())


def calls(module, *names):
    """Return the calls of functions of these names."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else None
            if (called or getattr(function, "id", None)) in names:
                yield node


def test_used_variables_are_declared(modules):
    wrong = []
    for module in modules.values():
        for call in calls(module, "tag", "term"):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    try:
                        variable_definition(argument.value)
                    except UnitError:
                        wrong.append(f"{module.place}:{call.lineno} {argument.value}")
    assert wrong == []


def test_undeclared_variable_is_refused():
    with pytest.raises(UnitError):
        variable_definition("no_such_word")


def is_of_the_wire(node):
    """Return whether a value fixes a format or the contract: a magic, a bound of times, 100 s."""
    value = getattr(node, "value", None)
    if isinstance(node, ast.Constant) and isinstance(value, bytes):
        return value.isalpha() and value.isupper()
    if isinstance(node, ast.Constant) and isinstance(value, int):
        return value > 10**11
    return ast.unparse(node) == "np.timedelta64(100, 's')"


def test_wire_constants_are_declared_once(modules):
    places = defaultdict(set)
    for module in modules.values():
        if module.name.startswith("telemetry"):
            for node in ast.walk(module.tree):
                if isinstance(node, ast.expr) and is_of_the_wire(node):
                    places[ast.unparse(node)].add(module.place)
    assert {value: found for value, found in places.items() if len(found) > 1} == {}
    assert {"b'GTRB'", "np.timedelta64(100, 's')"} <= places.keys()


def test_verifier_tolerances_are_declared_once(modules):
    declared = defaultdict(list)
    for module in modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                declared[ast.unparse(target)].append(module.name)
    judged = {
        name: places
        for name, places in declared.items()
        if "twin.simulation.operating_limits" in places
    }
    assert "TEMPERATURE_TOLERANCE_K" in judged
    assert {name: places for name, places in judged.items() if len(places) > 1} == {}


def test_names_are_not_meaningless(modules):
    wrong = [name for name in modules if set(name.split(".")[-1].split("_")) & SAYS_NOTHING]
    for module in modules.values():
        wrong += [
            f"{module.place}:{node.lineno} {node.name}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ClassDef) and SAYS_NOTHING & set(words(node.name))
        ]
    assert wrong == []


def test_no_module_prints(modules):
    wrong = [
        f"{module.place}:{call.lineno}"
        for module in modules.values()
        for call in calls(module, "print")
        if isinstance(call.func, ast.Name)
    ]
    assert wrong == []


def test_any_is_used_with_foreign_libraries_only(modules):
    wrong = [
        module.place
        for module in modules.values()
        if "typing.Any" in module.imports()
        and module.name not in HOOKS
        and not {target.partition(".")[0] for target in module.imports()} & FOREIGN
    ]
    assert wrong == []
