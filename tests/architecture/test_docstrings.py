"""The physics says its units: every number that goes into or comes out of a public function."""

import ast
import re

UNIT = re.compile(r"\[[^\]]+\]")
ITEM = re.compile(r"^(?=\S)", re.MULTILINE)


def section(docstring, title):
    """Return the lines under a numpydoc title."""
    match = re.search(
        rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", docstring, re.DOTALL | re.MULTILINE
    )
    return match.group(1) if match else ""


def parameters(docstring):
    """Return {name: description}; names that share a description stand in one line."""
    found = {}
    for item in ITEM.split(section(docstring, "Parameters")):
        names, _, text = item.partition("\n")
        found |= {name.strip().lstrip("*"): text for name in names.split(",") if name.strip()}
    return found


def is_number(argument):
    """Return whether an argument is a number or an array of numbers, by its annotation."""
    kind = ast.unparse(argument.annotation).lower()
    return bool(re.search(r"float|array\b", kind)) and "bool" not in kind


def public_functions(modules):
    for module in modules.values():
        if module.name.startswith("twin.physics"):
            for node in module.tree.body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    yield f"{module.place}:{node.lineno} {node.name}", node


def test_arguments_of_physics_have_units(modules):
    wrong = []
    for place, function in public_functions(modules):
        described = parameters(ast.get_docstring(function) or "")
        arguments = function.args
        wrong += [
            f"{place}({argument.arg})"
            for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            if is_number(argument) and not UNIT.search(described.get(argument.arg, ""))
        ]
    assert wrong == []


def test_results_of_physics_have_units(modules):
    wrong = [
        place
        for place, function in public_functions(modules)
        if ast.unparse(function.returns) != "None"
        and not UNIT.search(section(ast.get_docstring(function) or "", "Returns"))
    ]
    assert wrong == []
