"""Public names of the packages exist, are in the stub files, and no module hides them."""

import ast
from importlib import import_module

import pytest

PACKAGES = ("twin", "sites", "telemetry", "optimizer")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists(package, modules):
    public = import_module(package)
    assert public.__all__
    for name in public.__all__:
        assert getattr(public, name) is not None
        assert f"{package}.{name}" not in modules or name == "series", f"a module is named {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_stubs_list_all_public_names(package, root):
    stub = root / package / "__init__.pyi"
    if not stub.exists():
        pytest.skip(f"{package} holds its types itself")
    named = ast.parse(stub.read_text()).body[-1]
    assert sorted(ast.literal_eval(named.value)) == sorted(import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_name_raises_attribute_error(package):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module(package).no_such_name
