"""Pages of the messages to grid partners, from the AsyncAPI document and the JSON schemas."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from docs.generators.markdown import table, toctree

FOLDER = "reference/messages"

DOCUMENT = Path(__file__).parents[1] / "feed-1.asyncapi.yaml"


def pages() -> dict[str, str]:
    """Return a page for each channel, and their index."""
    document = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    found = {f"{FOLDER}/{name}.md": _channel(document, name) for name in document["channels"]}
    found[f"{FOLDER}/index.md"] = _index(document)
    return found


def _index(document: dict[str, Any]) -> str:
    info, channels = document["info"], document["channels"]
    rows = [
        [f"[{name}]({name}.md)", f"`{one['address']}`", one["description"]]
        for name, one in channels.items()
    ]
    return "\n".join(
        [
            f"# {info['title']}, version {info['version']}\n",
            f"{info['description']}\n",
            "The source is the AsyncAPI document "
            "{download}`feed-1.asyncapi.yaml <../../feed-1.asyncapi.yaml>`.\n",
            table(["channel", "topic", "content"], rows),
            toctree(channels),
        ]
    )


def _channel(document: dict[str, Any], name: str) -> str:
    channel = document["channels"][name]
    parameters = [[f"`{key}`", one["description"]] for key, one in channel["parameters"].items()]
    parts = [f"# {name}\n", f"{channel['description']}\n", f"Topic: `{channel['address']}`\n"]
    parts += [table(["part of the topic", "meaning"], parameters), "## Operations\n"]
    parts.append(
        table(["operation", "quality of service", "retained", "rule"], _rules(document, name))
    )
    for key in channel["messages"]:
        parts += _message(document["components"]["messages"][key])
    return "\n".join(parts)


def _rules(document: dict[str, Any], name: str) -> Iterator[list[str]]:
    for key, one in document["operations"].items():
        if one["channel"]["$ref"] == f"#/channels/{name}":
            mqtt = one["bindings"]["mqtt"]
            verb = "site sends" if one["action"] == "send" else "site receives"
            retained = "yes" if mqtt["retain"] else "no"
            yield [f"`{key}`: {verb}", str(mqtt["qos"]), retained, one["summary"]]


def _message(message: dict[str, Any]) -> Iterator[str]:
    path = DOCUMENT.parent / message["payload"]["schema"]["$ref"]
    schema = json.loads(path.read_text(encoding="utf-8"))
    yield f"## Message: {message['title'].lower()}\n"
    yield f"{schema.get('title', message['title'])}. {schema.get('description', '')}\n"
    yield f"{message.get('description', '')}\n"
    if "headers" in message:
        rows = [
            [f"`{key}`", f"`{one['const']}`" if "const" in one else one["description"]]
            for key, one in message["headers"]["properties"].items()
        ]
        yield "Protected header of the JWS:\n\n" + table(["key", "value"], rows)
    yield table(["key", "type", "unit", "meaning"], _keys(schema, ""))
    yield f"Schema: {{download}}`{path.name} <../../../telemetry/schemas/{path.name}>`\n"


def _keys(schema: dict[str, Any], prefix: str) -> Iterator[list[str]]:
    """Yield a row for each key of an object, then those of the objects within it."""
    required = schema.get("required", schema.get("properties", {}))
    for key, one in schema.get("properties", {}).items():
        name = f"`{prefix}{key}`" + ("" if key in required else " (optional)")
        yield [name, _type(one), one.get("x-unit", ""), one.get("description", "")]
        for inner, mark in _inner(one):
            yield from _keys(inner, f"{prefix}{key}{mark}.")


def _inner(schema: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the objects in a value, with what stands behind its key."""
    for one in schema.get("anyOf", schema.get("oneOf", [schema])):
        if "properties" in one:
            yield one, ""
        items = one.get("items")
        if isinstance(items, dict):
            yield from ((inner, f"[]{mark}") for inner, mark in _inner(items))
        values = one.get("additionalProperties")
        if isinstance(values, dict):
            yield from ((inner, f".*{mark}") for inner, mark in _inner(values))


def _type(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    options = schema.get("anyOf", schema.get("oneOf"))
    if options:
        return " or ".join(map(_type, options))
    kind = schema.get("type", "any")
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"list of {_type(schema['items'])}"
    return f"{' or '.join([kind] if isinstance(kind, str) else kind)}{_bounds(schema)}"


def _bounds(schema: dict[str, Any]) -> str:
    """Return what limits a value, behind its type."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    found += [f"`{schema['pattern']}`"] if "pattern" in schema else []
    return f" ({', '.join(found)})" if found else ""
