"""Corrupt valid input: documents by their structure, other input by its bytes; from one seed."""

import json
import random
import re
from collections.abc import Callable, MutableMapping, MutableSequence

from soak.hostile import BOMBS, CELLS, RAW, TOKENS, VALUES

type Json = object
type Spoil = Callable[[bytes, random.Random], bytes]

LARGE = 300_000
"""About the size of the largest input, a little more than any payload may have. [B]"""

FITTING = 240_000
"""About the size of the largest message that is read. [B]"""

MANY = 1000
"""Entries or letters from which nothing grows by a further spoiling."""

MARK = "@@{}@@"


def document(valid: bytes, dice: random.Random) -> bytes:
    """Return a JSON document, spoilt in some of its places, seldom as bytes too."""
    tree: Json = json.loads(valid)
    marks: dict[str, str] = {}
    for _ in range(dice.choice((0, 1, 1, 1, 1, 2, 3, 8))):
        tree = _spoilt(tree, dice, marks)
    if dice.random() < 0.01:
        tree = _grown(tree, dice)
    text = json.dumps(tree, ensure_ascii=dice.random() < 0.5)
    for mark, raw in marks.items():
        text = text.replace(f'"{mark}"', raw, LARGE // (len(raw) + 1))
    if dice.random() < 0.05:
        text = f"{text[:-1]},{text[1:]}"  # every key twice
    found = text.encode("utf-8", "surrogatepass")
    return octets(found, dice) if dice.random() < 0.2 else found


def octets(valid: bytes, dice: random.Random) -> bytes:
    """Return bytes, spoilt without a look at what they mean."""
    data = bytearray(valid)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4, 16))):
        dice.choice(BYTEWISE)(data, dice)
    return bytes(data)


def cells(valid: bytes, dice: random.Random) -> bytes:
    """Return a table or a file of keys with some of its cells or lines changed."""
    lines = [re.split(rb"([,;\t= ])", line) for line in valid.split(b"\n")]
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        at = dice.randrange(len(lines))
        line = lines[at]
        if not line:
            continue
        place = 2 * dice.randrange((len(line) + 1) // 2)
        match dice.randrange(6):
            case 0:
                lines.insert(dice.randrange(len(lines)), list(line))
            case 1:
                del line[place : place + dice.choice((1, 2))]
            case 2:
                line[place] = b"".join(dice.choice(lines)[-1:])
            case _:
                line[place] = dice.choice(CELLS)
    return b"\n".join(b"".join(line) for line in lines)


def noise(valid: bytes, dice: random.Random) -> bytes:
    """Return bytes that never were valid, about as many."""
    return dice.randbytes(dice.randrange(2 * len(valid) + 2))


def bomb(valid: bytes, dice: random.Random) -> bytes:
    """Return as much as may come at once, of one thing again and again."""
    piece = dice.choice((*BOMBS, valid, valid[1:-1] + b","))
    count = min(dice.choice((LARGE, LARGE, 10 * LARGE)), 3_000_000) // max(len(piece), 1)
    whole = piece * count
    match dice.randrange(4):
        case 0:
            return b"[" + whole.rstrip(b",") + b"]"
        case 1:
            return b'{"x":[' + whole.rstrip(b",") + b"]," + valid[1:]
        case 2:
            return valid[:-1] + b"," + whole[: 250_000 - len(valid)]
    return whole


def _spoilt(tree: Json, dice: random.Random, marks: dict[str, str]) -> Json:
    """Return a document with one more place spoilt; most of it is changed where it is."""
    places = list(_places(tree))
    if not places:
        return _value(dice, marks)
    holder, key = dice.choice(places)
    match dice.randrange(9):
        case 0:
            del holder[key]
        case 1:
            other, place = dice.choice(places)
            if not isinstance(other[place], list | dict):  # else it might get into itself
                holder[key] = other[place]
        case 2:
            holder[key] = [holder[key]] if dice.random() < 0.5 else {str(key): holder[key]}
        case 3 if isinstance(holder, dict):
            holder[dice.choice((f"{key}s", "", str(key).upper(), "v", "time", "\x00"))] = 1
        case 4 if isinstance(holder[key], list):
            holder[key] = holder[key][:MANY] * dice.choice((0, 2, 3))
        case 5 if isinstance(holder[key], int | float):
            holder[key] = holder[key] * dice.choice((-1, 0, 0.5, 1000, 1 + 1e-9))
        case 6 if isinstance(holder[key], str):
            holder[key] = str(holder[key])[:MANY] * dice.choice((0, 2, 100))
        case _:
            holder[key] = _value(dice, marks)
    return tree


def _grown(tree: Json, dice: random.Random) -> Json:
    """Return a document with one place grown to about as much as may come."""
    places = list(_places(tree))
    if not places:
        return tree
    holder, key = dice.choice(places)
    one = holder[key] if dice.random() < 0.5 else [dice.choice(VALUES)]
    piece = one if isinstance(one, list) and one else [one]
    holder[key] = piece * (FITTING // (len(json.dumps(piece)) + 1))
    return tree


def _value(dice: random.Random, marks: dict[str, str]) -> Json:
    if dice.random() < 0.3:
        mark = MARK.format(len(marks))
        marks[mark] = dice.choice(RAW)
        return mark
    found = dice.choice(VALUES)
    return json.loads(json.dumps(found)) if isinstance(found, list | dict) else found


def _places(tree: Json) -> list[tuple[MutableMapping | MutableSequence, object]]:
    """Return every place of a document: what holds it, and under which key."""
    found, waiting = [], [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            keys: list[object] = list(one)
        elif isinstance(one, list):
            keys = list(range(min(len(one), 100)))
        else:
            continue
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found


def _flip(data: bytearray, dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _set(data: bytearray, dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))


def _cut(data: bytearray, dice: random.Random) -> None:
    first = dice.randrange(len(data) + 1)
    del data[first : first + dice.choice((1, 2, 8, 64, len(data)))]


def _twice(data: bytearray, dice: random.Random) -> None:
    first = dice.randrange(len(data) + 1)
    piece = data[first : first + dice.choice((1, 4, 32, 256))]
    data[first:first] = piece * dice.choice((1, 1, 2, 20))


def _insert(data: bytearray, dice: random.Random) -> None:
    first = dice.randrange(len(data) + 1)
    data[first:first] = dice.choice(TOKENS)


def _swap(data: bytearray, dice: random.Random) -> None:
    """Let a digit be another, or a run of digits be a number at an edge."""
    places = [at for at, byte in enumerate(data[:4000]) if 0x30 <= byte <= 0x39]
    if places:
        at = dice.choice(places)
        data[at : at + 1] = dice.choice((b"0", b"9", b"-1", b"1e9", b"99999999999", b".", b"x"))


BYTEWISE = (_flip, _set, _cut, _twice, _insert, _swap)
