"""The drawn world's cross-source set on disk, in the layout of X-Dance and with what X-Dance has not: true answers.

    Ref-Cartoon-Movie/ Ref-Female-Upper-Body/ ...  photos, the folders as published
    Driving/  videos      Truth/  videos of the true answers      Poses/  exact keypoints of photos and videos
    pairs.csv  photo, video, category, misalignment, truth, photo_poses, driving_poses

`python -m evaluation.farm SET SET --pairs SET/pairs.csv --workflow "workflows/Stage by stage (no download).json"` runs
it with a ComfyUI server.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ...dwpose.formats import pose_json
from ..sample import video_file
from ..world.motion import FPS
from .pairs import Pair

CARTOON, UPPER = "cartoon", "upper body"
COLUMNS = ("photo", "video", "category", "misalignment", "truth", "photo_poses", "driving_poses")


def write_set(folder: Path, pairs: Iterable[Pair]) -> Path:
    """Write the pairs' files below `folder` and return its pairs.csv."""
    rows = []
    for pair in pairs:
        name = pair.name
        row = {
            "photo": f"{reference_folder(pair)}/{name}.png",
            "video": f"Driving/{name}.mp4",
            "truth": f"Truth/{name}.mp4",
            "photo_poses": f"Poses/{name}-photo.json",
            "driving_poses": f"Poses/{name}-video.json",
        }
        for path in row.values():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pair.photo).save(folder / row["photo"])
        (folder / row["video"]).write_bytes(video_file(pair.driver.frames, None))
        (folder / row["truth"]).write_bytes(video_file(pair.truth.frames, None))
        pose_json.save(pair.photo_poses, folder / row["photo_poses"])
        pose_json.save(pair.driver.poses, folder / row["driving_poses"], FPS)
        rows.append(row | {"category": pair.category, "misalignment": pair.misalignment})
    table = folder / "pairs.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return table


def reference_folder(pair: Pair) -> str:
    """Return X-Dance's folder for the photo; drawn characters take Female and Male in turn, as X-Dance has both."""
    if pair.category == CARTOON:
        return "Ref-Cartoon-Movie"
    sex = ("Female", "Male")[int(pair.name.partition("-")[0]) % 2]
    return f"Ref-{sex}-{'Upper' if pair.category == UPPER else 'Whole'}-Body"
