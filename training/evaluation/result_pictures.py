"""The pictures of training/results: the metrics as bars, and some pairs with what was made of them."""

import io
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from ...evaluation.charts import draw_bars, draw_lines
from .baselines import WITHOUT_POSE
from .kept import SHEET_PAIRS, Rows, kept_clips, rows_file
from .metrics import hands_by_latent_frame, means
from .pairs import FRAMES, make_pairs
from .variants import SHIPPED
from .worlds import NEW, World

PLOTTED = ("moving_psnr", "pck_all", "pck_hands", "pck_feet")
SHOWN = ((1, 5), (4, 7))  # pairs, as they lie
SHOWN_FRAMES = (0, 4, 8, 12, 16)
GAP, DARK, ENLARGED, QUALITY = 6, 24, 1.5, 85


def bars(rows: dict[str, Rows]) -> np.ndarray:
    """Return the means of these rows as bars, uint8 [H, W, 3]."""
    return draw_bars([{"name": name, **means(own)} for name, own in rows.items()], PLOTTED)


def hands_chart(rows: dict[str, Rows]) -> np.ndarray:
    """Return the share of hands that are right over the latent frames, uint8 [H, W, 3]."""
    lines = {name: found for name, own in rows.items() if (found := hands_by_latent_frame(own))}
    return draw_lines("Hands found, by latent frame", lines)


def jpeg(picture: np.ndarray) -> bytes:
    """Return a picture, uint8 [H, W, 3], as the bytes of a JPEG file."""
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "JPEG", quality=QUALITY)
    return target.getvalue()


def pairs_sheet(folder: Path, world: World = NEW) -> np.ndarray | None:
    """Return some pairs, uint8 [H, W, 3], or None where `folder` has no clips of them.

    Of each pair from above: the driver, the truth, the shipped pipeline and the base without pose.
    """
    names = (SHIPPED.name, WITHOUT_POSE)
    if not all(rows_file(folder, name).with_suffix(".npz").exists() for name in names):
        return None
    made, blocks = [kept_clips(folder, name) for name in names], {}
    pairs = make_pairs(SHEET_PAIRS, FRAMES, world.size, world=world)
    for i in itertools.chain(*SHOWN):
        clips = [pairs[i].driver.frames, pairs[i].truth.frames, *(clips[i] for clips in made)]
        blocks[i] = np.concatenate([np.concatenate(list(clip[list(SHOWN_FRAMES)]), axis=1) for clip in clips])
    sheet = _joined([_joined([blocks[i] for i in line], 1) for line in SHOWN], 0)
    height, width = (round(ENLARGED * side) for side in sheet.shape[:2])
    return np.asarray(Image.fromarray(sheet).resize((width, height), Image.Resampling.BICUBIC))


def _joined(blocks: list[np.ndarray], axis: int) -> np.ndarray:
    """Return two blocks with a dark line between them."""
    shape = list(blocks[0].shape)
    shape[axis] = GAP
    return np.concatenate([blocks[0], np.full(shape, DARK, np.uint8), blocks[1]], axis)
