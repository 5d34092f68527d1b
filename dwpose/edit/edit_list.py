"""The list of edits that the pose editor stores: differences from the poses, as compact and readable JSON.

    {"version": 1, "edits": [{"op": "move", "person": 1, "from": 12, "to": 12, "ease_in": 4, "ease_out": 4,
                              "joints": {"left_elbow": [0.01, -0.02]}}]}

Edits apply in their order. People have the numbers of the clip, from 1; frames count from 0, and "to" is the last one,
or null for the end. Places and shifts are fractions of the frame's width and height. The page computes the same in
web/pose_editor/apply_edits.js.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..poses import FACE, FEET, LEFT_HAND, RIGHT_HAND
from .corrections import PARTS, SCALE_RANGE

VERSION = 1
MAX_EDITS, MAX_CHARACTERS, MAX_EASE, MAX_SHIFT = 20_000, 16 << 20, 1000, 10.0

BODY_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
FOOT_NAMES = tuple(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel"))
GROUPS = {"face": FACE, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND}
JOINTS: dict[str, list[int]] = {
    **{name: [index] for index, name in enumerate(BODY_NAMES)},
    **{name: [FEET.start + index] for index, name in enumerate(FOOT_NAMES)},
    **{name: list(range(part.start, part.stop)) for name, part in GROUPS.items()},
    **{f"{name}_{i}": [GROUPS[name].start + i] for name in ("left_hand", "right_hand") for i in range(21)},
}
BODY = "body"  # the whole of it, beside the parts of corrections.py
OPERATIONS = ("move", "place", "paste", "show", "hide", "nobody", "scale", "swap_sides", "exchange", "split")
WITH_VALUES, WITH_OTHER = {"move", "place"}, {"exchange", "split"}


class Edit(NamedTuple):
    """One edit of the list. number: its place, from 1; stop: the frame after the last, None for the end of the clip.

    values: by joint for "move" and "place" (x, y); joints: keypoints for the others, all if empty.
    """

    number: int
    op: str
    person: int
    start: int
    stop: int | None
    ease_in: int
    ease_out: int
    values: Mapping[str, tuple[float, float]]
    joints: tuple[int, ...]
    part: str
    factor: float
    other: int
    source: int


class EditList(NamedTuple):
    """The edits that can be read, and a sentence for each that cannot."""

    edits: list[Edit]
    notes: list[str]


class Unfit(Exception):
    """An edit that the clip has no place for; its text says why."""


def read_edits(text: str) -> EditList:
    """Return the edits in a JSON text, none in an empty one; ValueError if the text as a whole is no list of edits."""
    if not text.strip():
        return EditList([], [])
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"The edits are {len(text):,} characters long; at most {MAX_CHARACTERS:,} are read.")
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The edits are no JSON ({error}). Open the editor and apply again, or clear them.") from None
    if not isinstance(found, dict) or not isinstance(found.get("edits"), list):
        raise ValueError('The edits are not {"version": 1, "edits": [...]}. Open the editor and apply again.')
    if found.get("version") != VERSION:
        raise ValueError(
            f"The edits are of version {found.get('version')!r}, and this pack reads version {VERSION}. Update the "
            "pack, or edit again."
        )
    if len(found["edits"]) > MAX_EDITS:
        raise ValueError(f"There are {len(found['edits']):,} edits; at most {MAX_EDITS:,} are read.")
    edits, notes = [], []
    for number, row in enumerate(found["edits"], 1):
        try:
            edits.append(_read(number, row))
        except Unfit as error:
            notes.append(f"Edit {number} was skipped: {error}")
    return EditList(edits, notes)


def _read(number: int, row: Any) -> Edit:
    if not isinstance(row, dict) or row.get("op") not in OPERATIONS:
        raise Unfit(f"it is none of {', '.join(OPERATIONS)}.")
    op, start, last = row["op"], _whole(row, "from", 0), row.get("to")
    stop = None if last is None else _whole(row, "to", start) + 1
    joints = row.get("joints", {} if op in WITH_VALUES else [])
    values, keypoints = {}, ()
    if op in WITH_VALUES:
        if not isinstance(joints, dict) or not joints:
            raise Unfit("it names no joints.")
        values = {_joint(name): _place_of(name, place) for name, place in joints.items()}
    elif isinstance(joints, list):
        keypoints = tuple(dict.fromkeys(index for name in joints for index in JOINTS[_joint(name)]))
    else:
        raise Unfit("its joints are no list of names.")
    return Edit(
        number,
        op,
        1 if op == "nobody" else _whole(row, "person", 1),
        start,
        stop,
        _whole(row, "ease_in", 0, MAX_EASE, 0),
        _whole(row, "ease_out", 0, MAX_EASE, 0),
        values,
        keypoints,
        _part(row) if op == "scale" else "",
        _factor(row) if op == "scale" else 1.0,
        _whole(row, "other", 1) if op in WITH_OTHER else 0,
        _whole(row, "source", 0) if op == "paste" else 0,
    )


def _whole(row: dict, name: str, least: int, most: int = 1 << 31, default: int | None = None) -> int:
    value = row.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise Unfit(f'its "{name}" is {value!r}, and not a whole number from {least} on.')
    return value


def _joint(name: Any) -> str:
    if not isinstance(name, str) or name not in JOINTS:
        raise Unfit(f"there is no joint {name!r}.")
    return name


def _place_of(name: str, value: Any) -> tuple[float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(type(number) in (int, float) and abs(number) <= MAX_SHIFT for number in value)
    ):
        raise Unfit(f"{name} has no two numbers from -{MAX_SHIFT:g} to {MAX_SHIFT:g}: {value!r}.")
    return float(value[0]), float(value[1])


def _part(row: dict) -> str:
    part = row.get("part")
    if part != BODY and part not in PARTS:
        raise Unfit(f'its "part" is none of {", ".join((BODY, *PARTS))}.')
    return part


def _factor(row: dict) -> float:
    value, (low, high) = row.get("factor"), SCALE_RANGE
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        raise Unfit(f'its "factor" is {value!r}, and not a number from {low} to {high}.')
    return float(value)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
