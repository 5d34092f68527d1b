"""Mutations of files, decided by a `random.Random` alone: flipped bits, cut and moved spans, extreme values in JSON."""

import json
from random import Random

EDGES = (0, 1, 0x7F, 0x80, 0xFF)
INTEGERS = (0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
LONGEST_SPAN = 64
SMALL_NUMBERS = (0, -1, 1, 0.5, -0.0, 2, 1e-300)
LARGE_NUMBERS = (1e300, float("nan"), float("inf"), 2**31, 2**53 + 1, 2**63, -(2**63), 10**20)
TEXTS = ("", "0", "nan", "\u955c\u5934", "\ud800", "../../x", "x" * 5000)
NESTED = ([], {}, [[]], [None], [1, "a"], {"a": 1}, [0] * 1000)
VALUES = (None, True, False, *SMALL_NUMBERS, *LARGE_NUMBERS, *TEXTS, *NESTED)


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Return `data` after one to four mutations; it may be empty."""
    for _ in range(random.randint(1, 4)):
        data = random.choice(BYTE_MUTATIONS)(data, random)
    return data


def mutate_json(value: object, random: Random) -> object:
    """Return a deep copy of a JSON value with one to three parts of it replaced, removed, doubled or wrapped."""
    for _ in range(random.randint(1, 3)):
        value = _mutate_somewhere(json.loads(json.dumps(value)), random)
    return value


def to_json(value: object) -> bytes:
    """Return the text of a JSON value, NaN and lone surrogates included."""
    return json.dumps(value).encode("utf-8")


def _flip(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    if out:
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def _edge(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    if out:
        out[random.randrange(len(out))] = random.choice(EDGES)
    return bytes(out)


def _integer(data: bytes, random: Random) -> bytes:
    """Write an extreme integer of 2, 4 or 8 bytes in either order."""
    size = random.choice((2, 4, 8))
    at = random.randrange(max(1, len(data) - size))
    number = random.choice(INTEGERS) % 2 ** (8 * size)
    return data[:at] + number.to_bytes(size, random.choice(("little", "big"))) + data[at + size :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _span(data: bytes, random: Random) -> slice:
    at = random.randrange(len(data) + 1)
    return slice(at, at + random.randint(1, LONGEST_SPAN))


def _remove(data: bytes, random: Random) -> bytes:
    span = _span(data, random)
    return data[: span.start] + data[span.stop :]


def _repeat(data: bytes, random: Random) -> bytes:
    span = _span(data, random)
    return data[: span.stop] + data[span] + data[span.stop :]


def _clear(data: bytes, random: Random) -> bytes:
    span = _span(data, random)
    return data[: span.start] + bytes(len(data[span])) + data[span.stop :]


def _move(data: bytes, random: Random) -> bytes:
    span, at = _span(data, random), random.randrange(len(data) + 1)
    return data[:at] + data[span] + data[at:]


BYTE_MUTATIONS = (_flip, _flip, _edge, _integer, _integer, _cut, _remove, _repeat, _clear, _move)


def _mutate_somewhere(value: object, random: Random) -> object:
    """Replace a part of `value` in place, at a depth that is drawn; return the whole."""
    if not isinstance(value, (dict, list)) or not value or random.random() < 0.05:
        return _replaced(value, random)
    key = random.choice([*value]) if isinstance(value, dict) else random.randrange(len(value))
    if isinstance(value[key], (dict, list)) and value[key] and random.random() < 0.8:
        value[key] = _mutate_somewhere(value[key], random)
    elif random.random() < 0.2:
        del value[key]
    else:
        value[key] = _replaced(value[key], random)
    return value


def _replaced(value: object, random: Random) -> object:
    kind = random.randrange(4)
    if kind == 0 and type(value) in (int, float):
        return value * random.choice((-1, 0, 1e-6, 1e6, 1e30))
    if kind == 1 and isinstance(value, list):
        return value * 3
    if kind == 2:
        return [value]
    return random.choice(VALUES)
