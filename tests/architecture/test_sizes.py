"""Files and functions short enough to be read."""

LINES_OF_A_FILE = 600
LINES_OF_A_FUNCTION = 80
POSITIONAL_ARGUMENTS = 3  # CONTRIBUTING.md


def test_files_are_short(modules):
    lengths = {module.place: len(module.text.splitlines()) for module in modules.values()}
    assert {place: n for place, n in lengths.items() if n > LINES_OF_A_FILE} == {}


def test_functions_are_short(modules):
    lengths = {
        f"{module.place}:{function.name}": function.end_lineno - function.lineno + 1
        for module in modules.values()
        for function in module.functions()
    }
    assert {place: n for place, n in lengths.items() if n > LINES_OF_A_FUNCTION} == {}


def test_arguments_have_names_after_the_third(modules):
    wrong = []
    for module in modules.values():
        for function in module.functions():
            arguments = [*function.args.posonlyargs, *function.args.args]
            plain = [argument for argument in arguments if argument.arg not in {"self", "cls"}]
            if module.place.startswith("optimizer/cli/"):  # typer reads these as options
                continue
            is_public = not function.name.startswith("_") or function.name == "__init__"
            if is_public and len(plain) > POSITIONAL_ARGUMENTS:
                wrong.append(f"{module.place}:{function.lineno} {function.name}")
    assert wrong == []
