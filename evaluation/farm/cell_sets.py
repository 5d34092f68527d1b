"""Find the pairs of an X-Dance run: photos times driving videos, or the rows of a pairs file.

Two layouts are known. Plain: any folders, whose names are the categories. X-Dance's own: reference folders `Ref-...`
(Ref-Cartoon-Movie, Ref-Female-Upper-Body, ...) beside the driving videos, which lie in a folder named Driving... or
loose; one folder may then be given as both PHOTOS and VIDEOS, and whatever else is in it is ignored.
"""

import csv
import hashlib
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

PHOTOS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v", ".gif"}
REFERENCES, DRIVING = re.compile(r"ref[-_ ]", re.I), re.compile(r"driving", re.I)
PAIRS_FILE = "pairs.csv"  # as in the drawn world's own set
COLUMNS = ("photo", "video", "category", "misalignment")
FILE_COLUMNS = ("truth", "photo_poses", "driving_poses")  # files that a pair may have
MAX_NAME = 80  # bytes in UTF-8: file systems take 255, and endings and the names of unfinished files are added
FORBIDDEN_ENDS = " ._-"


@dataclass(frozen=True)
class Pair:
    """One photo and one driving video. `name` is the pair's folder; `labels` are a pairs file's further columns.

    truth: video of the ground truth, where it is known. photo_poses, driving_poses: JSON files that replace a detector.
    """

    photo: Path
    video: Path
    name: str = ""
    category: str = ""
    misalignment: str = ""
    truth: Path | None = None
    photo_poses: Path | None = None
    driving_poses: Path | None = None
    labels: dict[str, str] = field(default_factory=dict)


def find_pairs(photos: Path, videos: Path, pairs_file: Path | None = None, leave_out: Path | None = None) -> list[Pair]:
    """Return every photo with every video, or the rows of the pairs file, in a fixed order and under unique names.

    Files below `leave_out` (the results) are ignored. ValueError where a folder or the pairs file holds nothing usable.
    """
    for folder in (photos, videos):
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder. Give a folder of photos and a folder of videos.")
    if pairs_file is not None:
        return named(read_pairs(pairs_file, photos, videos), photos, videos)
    found = product(find_photos(photos, leave_out), find_videos(videos, leave_out))
    pairs = [Pair(p, v, category=" / ".join(filter(None, (pc, vc)))) for (p, pc), (v, vc) in found]
    return named(pairs, photos, videos)


def find_photos(root: Path, leave_out: Path | None = None) -> list[tuple[Path, str]]:
    """Return (file, category) of the photos below `root`; of X-Dance's layout only those in its reference folders."""
    references = _folders(root, REFERENCES)
    return _files(root, references or [root], PHOTOS, "photos", leave_out)


def find_videos(root: Path, leave_out: Path | None = None) -> list[tuple[Path, str]]:
    """Return (file, category) of the videos below `root`; of X-Dance's layout those in Driving..., or else loose."""
    driving = _folders(root, DRIVING)
    if len(driving) == 1:
        return _files(driving[0], driving, VIDEOS, "videos", leave_out)
    if driving or not _folders(root, REFERENCES):
        return _files(root, driving or [root], VIDEOS, "videos", leave_out)
    return _files(root, [root], VIDEOS, "videos", leave_out, "*")


def _folders(root: Path, pattern: re.Pattern) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and pattern.match(entry.name))


def _files(
    root: Path, folders: list[Path], endings: set[str], what: str, leave_out: Path | None, pattern: str = "**/*"
) -> list[tuple[Path, str]]:
    files = (file for folder in folders for file in sorted(folder.glob(pattern)) if file.suffix.lower() in endings)
    found = []
    for file in files:
        place = file.relative_to(root)
        hidden = any(part.startswith(".") for part in place.parts)
        is_result = leave_out is not None and leave_out.resolve() in file.resolve().parents
        if file.is_file() and not hidden and not is_result:
            found.append((file, "/".join(place.parent.parts)))
    if found:
        return found
    inside = Counter(entry.suffix.lower() or ("folder" if entry.is_dir() else "no ending") for entry in root.iterdir())
    holds = ", ".join(f"{count} {kind}" for kind, count in sorted(inside.items())) or "nothing"
    raise ValueError(f"Found no {what} in {root} (it holds {holds}). Needed are {', '.join(sorted(endings))} files.")


def read_pairs(file: Path, photos: Path, videos: Path) -> list[Pair]:
    """Return the rows of a CSV file, or of a JSON list of objects, whose columns are the fields of `Pair`.

    A path is relative to `photos` or `videos`, else to the file's own folder. Rows whose files are missing are kept.
    """
    rows = _rows(file)
    pairs = [_pair(row, f"{file}, row {number}", file.parent, photos, videos) for number, row in enumerate(rows, 1)]
    if not pairs:
        raise ValueError(f"{file} holds no rows. Give one row a pair, with at least photo and video.")
    repeated = [pair for pair, count in Counter((p.photo, p.video) for p in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"{file} names {repeated[0][0].name} with {repeated[0][1].name} more than once. Keep one row.")
    return pairs


def _rows(file: Path) -> list[dict]:
    is_json = file.suffix.lower() == ".json"
    try:
        text = file.read_text("utf-8-sig")
        rows = json.loads(text) if is_json else None
    except (OSError, ValueError) as error:
        form = "a JSON list of pairs, or CSV" if is_json else "a CSV file in UTF-8, or JSON"
        raise ValueError(f"{file} cannot be read ({error}). Give {form}.") from None
    if not is_json:
        header = text.partition("\n")[0]
        return list(csv.DictReader(text.splitlines(), delimiter=";" if ";" in header and "," not in header else ","))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f'{file} must be a JSON list of objects: [{{"photo": "a.png", "video": "b.mp4"}}, ...].')
    return rows


def _pair(row: dict, where: str, home: Path, photos: Path, videos: Path) -> Pair:
    values = {str(key).strip(): str(value or "").strip() for key, value in row.items() if key is not None}
    missing = [name for name in ("photo", "video") if not values.get(name)]
    if missing:
        raise ValueError(f"{where}: no {' and no '.join(missing)} (found {', '.join(values)}). Each row needs both.")
    photo, video = (_place(values[name], root, home) for name, root in (("photo", photos), ("video", videos)))
    category = values.get("category") or (photo.parent.name if photo.parent.resolve() != photos.resolve() else "")
    files = {name: _place(values[name], videos, home) for name in FILE_COLUMNS if values.get(name)}
    labels = {name: value for name, value in values.items() if name not in COLUMNS + FILE_COLUMNS and value}
    return Pair(photo, video, "", category, values.get("misalignment", ""), labels=labels, **files)


def _place(path: str, root: Path, home: Path) -> Path:
    return next((place for place in (root / path, home / path) if place.is_file()), root / path)


def named(pairs: list[Pair], photos: Path, videos: Path) -> list[Pair]:
    """Return the pairs with a unique folder name each, which depends on where the files are below their two folders."""
    names = [slug("__".join(filter(None, (p.category, p.photo.stem, p.video.stem)))) for p in pairs]
    uses = Counter(name.lower() for name in names)
    renamed = []
    for pair, name in zip(pairs, names, strict=True):
        if uses[name.lower()] > 1 or len(name.encode()) > MAX_NAME:
            places = f"{os.path.relpath(pair.photo, photos)}\n{os.path.relpath(pair.video, videos)}"
            short = name.encode()[:MAX_NAME].decode("utf-8", "ignore")
            name = f"{short}-{hashlib.sha256(places.encode()).hexdigest()[:8]}"
        renamed.append(replace(pair, name=name))
    return renamed


def slug(text: str) -> str:
    """Return the text as a name that every file system takes: letters, digits, '.', '_' and '-'."""
    return re.sub(r"[^\w.-]+", "_", text).strip(FORBIDDEN_ENDS) or "pair"
