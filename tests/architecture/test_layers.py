"""Who may import whom, and which library lives where."""

import ast
import re
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAY_IMPORT = {
    "twin": {"twin"},
    "sites": {"sites", "twin"},
    "telemetry": {"telemetry", "twin"},
    "optimizer": {"optimizer", "twin"},
    "optimizer.inputs": {"optimizer", "twin", "sites", "telemetry"},
    "optimizer.reporting": {"optimizer", "twin", "sites", "telemetry"},
    "optimizer.service": {"optimizer", "twin", "sites", "telemetry"},
    "optimizer.backtesting": {"optimizer", "twin", "sites", "telemetry"},
    "optimizer.demo": {"optimizer", "twin", "sites", "telemetry"},
    "optimizer.cli": {"optimizer", "twin", "sites", "telemetry"},
    "optimizer.realtime": {"optimizer.realtime", "twin"},
    "optimizer.verification": {"optimizer.verification", "twin"},
}
EVERYWHERE = {"lazy_loader", "numpy", "pandas", "pydantic", "pydantic_core", "structlog", "xarray"}
LIVES_IN = {
    "fcntl": {"telemetry.durable_files"},
    "json": {  # files, logs and pipes; messages go through telemetry.messages.strict_json
        "optimizer.backtesting.run_folder",
        "optimizer.cli.output",
        "optimizer.demo.simulated_day",
        "optimizer.service",
        "sites",
        "telemetry.archive",
        "telemetry.delivery",
        "telemetry.durable_files",
        "telemetry.feed.signing",
        "telemetry.ingest",
        "telemetry.messages.strict_json",
        "telemetry.points.discovery",
        "twin.site",
    },
    "dask": {"telemetry.archive.view_store", "twin.racks"},
    "google_crc32c": {"telemetry.archive"},
    "highspy": {"optimizer.solver"},
    "icechunk": {"telemetry.archive"},
    "iotcore": {"telemetry.mqtt.embedded_broker"},
    "joserfc": {"telemetry.feed.signing"},
    "jsonschema": {"telemetry.messages"},
    "matplotlib": {"twin.plots"},
    "msgspec": {
        "optimizer.service",
        "telemetry.archive",
        "telemetry.commands",
        "telemetry.delivery",
        "telemetry.durable_files",
        "telemetry.feed.flex_messages",
        "telemetry.messages",
        "telemetry.series.providers",
    },
    "numba": {"twin.racks.kernels"},
    "numcodecs": {"telemetry.archive"},
    "paho": {"telemetry.mqtt.connection"},
    "pint": {"twin.units"},
    "power_grid_model": {"twin.physics.load_flow_equations"},
    "prometheus_client": {"optimizer.service"},
    "pvlib": {"twin.equipment.renewables", "telemetry.series.weather"},
    "pyarrow": {"telemetry.archive.export"},
    "requests": {"telemetry.series.providers"},
    "urllib3": {"telemetry.series.providers"},
    "pyomo": {
        "optimizer.compiler",
        "optimizer.model.assembler",
        "optimizer.model.components",
        "optimizer.model.formulation",
    },
    "rich": {"optimizer.cli"},
    "scipy": {"optimizer.backtesting.results", "twin.calibration.fit", "twin.workload.throughput"},
    "starlette": {"optimizer.service.live_values", "optimizer.service.page"},
    "tomllib": {"optimizer.service.operators", "sites.catalogue", "sites.loading"},
    "typer": {"optimizer.cli"},
    "zarr": {"telemetry.archive"},
    "uvicorn": {"optimizer.service.page"},
    "windpowerlib": {"twin.equipment.renewables"},
}
FREE = EVERYWHERE | (sys.stdlib_module_names - LIVES_IN.keys())
LAZY = {
    "dask",
    "matplotlib",
    "numba",
    "power_grid_model",
    "pvlib",
    "pyarrow",
    "scipy",
    "windpowerlib",
}
"""Heavy libraries, which a function may import, so that `import twin` starts fast."""


def within(name, places):
    return any(name == place or name.startswith(f"{place}.") for place in places)


def rule(name):
    """Return the rule of the innermost place that has one."""
    return MAY_IMPORT[max((place for place in MAY_IMPORT if within(name, [place])), key=len)]


def test_no_package_imports_a_higher_layer(modules):
    packages = {name.partition(".")[0] for name in modules}
    wrong = [
        f"{module.place} imports {target}"
        for module in modules.values()
        for target in sorted(module.imports())
        if target.partition(".")[0] in packages and not within(target, rule(module.name))
    ]
    assert wrong == []


NOT_IMPORTED = {"h5netcdf", "ipykernel", "jupyterlab", "nbclient"}
"""Declared libraries that xarray opens files with, or that run notebooks."""

MODULE_OF = {"paho-mqtt": "paho"}
"""Library -> its module, where the name differs by more than hyphens."""


def test_each_declared_library_is_imported(modules):
    """Sensitivity: scikit-learn was declared for quantile forecasts and imported nowhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["planner"]]
    names = {re.match(r"[\w-]+", line)[0] for line in declared} - NOT_IMPORTED
    imported = {target.partition(".")[0] for one in modules.values() for target in one.imports()}
    assert {
        name for name in names if MODULE_OF.get(name, name.replace("-", "_")) not in imported
    } == set()


def test_libraries_stay_in_their_modules(modules):
    packages = {name.partition(".")[0] for name in modules}
    wrong = [
        f"{module.place} imports {library}"
        for module in modules.values()
        for library in sorted({target.partition(".")[0] for target in module.imports()})
        if library not in FREE | packages and not within(module.name, LIVES_IN.get(library, set()))
    ]
    assert wrong == []


def test_no_relative_imports(modules):
    wrong = [
        f"{module.place} imports {target}"
        for module in modules.values()
        for target in sorted(module.imports())
        if target.startswith(".")
    ]
    assert wrong == []


def test_functions_import_heavy_libraries_only(modules, imported):
    wrong = [
        f"{module.place}:{node.lineno} imports {target}"
        for module in modules.values()
        for function in module.functions()
        for node in ast.walk(function)
        for target in imported(node)
        if target.partition(".")[0] not in LAZY
    ]
    assert wrong == []


def test_subpackages_are_acyclic(modules):
    """Within a package no two subpackages import each other, directly or by a longer way."""

    def child(name, package):
        return ".".join(name.split(".")[: package.count(".") + 2])

    packages = {name.rpartition(".")[0] for name in modules} - {""}
    assert {"twin", "telemetry", "optimizer"} <= packages
    for package in sorted(packages):
        graph = {}
        for name, module in modules.items():
            if name.startswith(f"{package}."):
                node = child(name, package)
                targets = {one for one in module.imports() if one in modules}
                inside = {child(one, package) for one in targets if one.startswith(f"{package}.")}
                graph.setdefault(node, set()).update(inside - {node})
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(f"circle in {package}: " + " <- ".join(error.args[1]))


def test_modules_import_no_cycles(modules):
    graph = {
        name: {target for target in module.imports() if target in modules} - {name}
        for name, module in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import circle: " + " <- ".join(error.args[1]))
