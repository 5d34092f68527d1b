"""Files in parts that small channels carry, joined again by their hashes."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..media.atomic_write import atomic_write

PART_BYTES = 15 << 20
LIST = "parts.json"


def split(files: Iterable[Path], folder: Path, part_bytes: int = PART_BYTES) -> Path:
    """Write each file into `folder` as `<name>.000`, `<name>.001`, ..., and return the list of them all."""
    folder.mkdir(parents=True, exist_ok=True)
    listed: dict[str, Any] = {}
    for file in files:
        content = file.read_bytes()
        pieces = [content[start : start + part_bytes] for start in range(0, len(content), part_bytes)]
        for number, piece in enumerate(pieces):
            (folder / _part(file.name, number)).write_bytes(piece)
        hashes = [hashlib.sha256(piece).hexdigest() for piece in pieces]
        listed[file.name] = {"sha256": hashlib.sha256(content).hexdigest(), "parts": hashes}
    with atomic_write(folder / LIST) as part:
        part.write_bytes(json.dumps(listed, indent=2).encode())
    return folder / LIST


def join(folder: Path, target: Path) -> list[Path]:
    """Write the files of which `folder` holds the parts into `target`; return them.

    ValueError: there is no list of parts, a part is missing, or its content is another. Nothing is written then.
    """
    try:
        listed = json.loads((folder / LIST).read_text("utf-8"))
        wanted = {str(name): (facts["sha256"], list(facts["parts"])) for name, facts in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder / LIST} is no list of parts ({error!r}). Name the folder that was written."
        ) from error
    contents: dict[str, bytes] = {}
    for name, (whole, hashes) in wanted.items():
        if Path(name).name != name or name in ("", ".", ".."):
            raise ValueError(f"{folder / LIST} names the file {name!r}, which is no plain name. Write the parts again.")
        contents[name] = b"".join(_checked(folder / _part(name, number), found) for number, found in enumerate(hashes))
        if hashlib.sha256(contents[name]).hexdigest() != whole:
            raise ValueError(f"The parts of {name} are whole, but the list has others. Write the parts again.")
    target.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with atomic_write(target / name) as part:
            part.write_bytes(content)
    return [target / name for name in contents]


def _part(name: str, number: int) -> str:
    return f"{name}.{number:03}"


def _checked(path: Path, wanted: str) -> bytes:
    """Return what a part holds. ValueError: it is missing, or not what was written."""
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != wanted:
        state = "is missing" if not path.is_file() else "is damaged"
        raise ValueError(f"{path} {state}. Copy it again.")
    return content
