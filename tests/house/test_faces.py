"""The faces of the rooms: every name is there, its type is known, and no module hides it."""

import ast
from importlib import import_module

import pytest

ROOMS = ("twin", "sites", "telemetry", "optimizer")


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room, modules):
    face = import_module(room)
    for name in face.__all__:
        assert getattr(face, name) is not None
        assert f"{room}.{name}" not in modules or name == "series", f"a module is named {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_stubs_name_what_faces_give(room, root):
    stub = root / room / "__init__.pyi"
    if not stub.exists():
        pytest.skip(f"the face of {room} holds its types itself")
    named = ast.parse(stub.read_text()).body[-1]
    assert sorted(ast.literal_eval(named.value)) == sorted(import_module(room).__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_a_name_that_is_not_there_is_told(room):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module(room).no_such_name
