"""Examples of DSX BMS by its contract: all that is valid, and each way to spoil one.

The contract is read where it lies beside the clone, and nothing of it is kept here.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

NOW = 1_781_611_200_000
STATES = [{"value": 0, "text": "Off"}, {"value": 1, "text": "On"}]
OTHERS = ("text", 7, 1.5, True, None, [1], {"a": {"b": 1}}, [[]])
"""Values of every type."""


def read_contract(shared: Path) -> dict:
    """Return the contract; the test is skipped where it does not lie."""
    path = shared / "contracts" / "dsx-bms.yaml"
    if not path.is_file():
        pytest.skip("no contract: lay dsx-bms.yaml in ../shared/contracts")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(), Loader=loader)


def resolved(contract: dict, node: dict) -> dict:
    """Return the node of the contract that a node stands for."""
    while "$ref" in node:
        target = contract
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@dataclass
class Spoilt:
    """A document that the contract refuses, and the word that the refusal must have."""

    how: str
    document: object
    word: str


@dataclass(eq=False)
class Message:
    """One message of one channel: where it goes, and what its payload may be."""

    contract: dict
    address: str
    point_type: str
    payload: dict
    integration: str = "MEPAI"

    @property
    def topic(self) -> str:
        """A topic of the channel."""
        return (
            self.address.replace("{pointType}", self.point_type)
            .replace("{tagPath}", "rhine/row_3/x-1")
            .replace("{integration}", self.integration)
        )

    @property
    def is_value(self) -> bool:
        """Whether it carries readings."""
        return "/Value/" in self.address

    @property
    def object_type(self) -> str:
        """As the topic has it."""
        return self.address.split("/")[4]

    @cached_property
    def validator(self) -> Draft202012Validator:
        """What the contract says of a payload."""
        return Draft202012Validator(
            {"allOf": [self.payload], "components": self.contract["components"]}
        )

    def is_valid(self, document: object) -> bool:
        """Return whether the contract takes a payload."""
        return self.validator.is_valid(document)

    def examples(self) -> list[dict]:
        """Return payloads with as little and as much as may be, and each word of each list."""
        if self.is_value:
            values = (22.96, -1, 0, None, 1e9)
            return [
                {"value": v, "timestamp": NOW, "quality": q}
                for v, q in product(values, (1, 0, 192))
            ]
        fields, needed, choices = {}, set(), []
        self._gather(self.payload, fields, needed, choices)
        fixed = {"objectType": self.object_type, "pointType": self.point_type}
        found = []
        for picked in product(*choices):
            properties = fields | {n: s for one in picked for n, s in one["properties"].items()}
            must = needed | {name for one in picked for name in one.get("required", ())}
            for names in (must, set(properties)):
                for number in range(self._words(properties)):
                    whole = {n: self._value(properties[n], number) for n in sorted(names)} | fixed
                    if whole not in found:
                        found.append(whole)
        return [one for one in found if self.is_valid(one)]

    def spoilt(self, valid: dict) -> Iterator[Spoilt]:
        """Yield a payload spoilt in each way that makes it invalid."""
        for one in self._spoilt(valid):
            if not self.is_valid(one.document):
                yield one

    def _spoilt(self, valid: dict) -> Iterator[Spoilt]:
        for name, value in valid.items():
            yield Spoilt(f"no {name}", {k: v for k, v in valid.items() if k != name}, name)
            is_type = name in {"objectType", "pointType"}
            for other in OTHERS:
                word = "as its topic does" if is_type and other == "text" else name
                yield Spoilt(f"{name} = {other!r}", valid | {name: other}, word)
            yield Spoilt(f"{name} nested", valid | {name: {name: value}}, name)
        whole = self._foreign() if not self.is_value else {}
        for name, value in whole.items():
            if name not in valid:
                yield Spoilt(f"{name} besides", valid | {name: value}, name)
        for at, key in product(range(len(valid.get("stateText", ()))), ("value", "text")):
            for other in (None, "x", 1.5, True, [], {}):
                states = copy.deepcopy(valid["stateText"])
                states[at][key] = other
                yield Spoilt(f"state {key} = {other!r}", valid | {"stateText": states}, "stateText")
            states = copy.deepcopy(valid["stateText"])
            del states[at][key]
            yield Spoilt(f"a state without {key}", valid | {"stateText": states}, "stateText")
        yield Spoilt("in a list", [valid], "object")
        yield Spoilt("in another", {"payload": valid}, "")

    def _foreign(self) -> dict:
        """Return every field that some message of the contract has."""
        found: dict = {}
        for schema in self.contract["components"]["schemas"].values():
            for name, rule in schema.get("properties", {}).items():
                if name not in {"objectType", "pointType"}:
                    found.setdefault(name, self._value(rule, 0))
        return found

    def _gather(self, schema: dict, fields: dict, needed: set, choices: list) -> None:
        """Take in what a schema and all that it is made of say."""
        schema = resolved(self.contract, schema)
        fields.update(schema.get("properties", {}))
        needed.update(schema.get("required", ()))
        for part in schema.get("allOf", ()):
            self._gather(part, fields, needed, choices)
        choices += [
            [resolved(self.contract, one) for one in schema[word]]
            for word in ("oneOf", "anyOf")
            if word in schema
        ]

    @staticmethod
    def _words(properties: dict) -> int:
        """Return how many examples show each word of the longest list, a phase's as a rule."""
        return max((len(rule.get("enum", ())) for rule in properties.values()), default=1) or 1

    @staticmethod
    def _value(rule: dict, number: int) -> object:
        if "enum" in rule:
            return rule["enum"][number % len(rule["enum"])]
        if rule.get("type") == "array":
            is_text = rule["items"]["type"] == "string"
            return ["hall_1", "Supply"][: number + 1] if is_text else STATES
        return {"boolean": number % 2 == 0, "integer": 1, "number": 1.5}.get(
            str(rule.get("type")), f"word-{number}"
        )


def messages(contract: dict) -> list[Message]:
    """Return every message of every channel of a contract."""
    found = []
    for channel in contract["channels"].values():
        allowed = channel["parameters"]["pointType"]["enum"]
        for name, reference in channel["messages"].items():
            payload = contract
            for step in reference["$ref"].removeprefix("#/").split("/"):
                payload = payload[step]
            is_value = name == "valueMessage"
            points = allowed if is_value else [name[0].upper() + name[1:]]
            for point_type in points:
                assert point_type in allowed, (name, point_type)
                found.append(Message(contract, channel["address"], point_type, payload["payload"]))
    return found


def as_payload(document: object) -> bytes:
    """Return a document as it goes over the wire."""
    return json.dumps(document).encode()
