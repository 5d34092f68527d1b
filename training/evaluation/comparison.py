"""Several models on the held-out pairs of every drawn world, each world at its own size: one table."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..pipeline import Work
from .baselines import photos
from .choices import FINAL
from .kept import Rows, kept_rows, key_of
from .pairs import FRAMES, make_pairs
from .results import STILL, by_metric
from .run import variant_clips
from .variants import SHIPPED
from .worlds import WORLDS, World


def compare(models: Mapping[str, Work], count: int, folder: Path, worlds: Mapping[str, World] = WORLDS) -> str:
    """Return a Markdown table for each world; a model meets frames of another size than it was trained on.

    Rows are kept below `folder` as those of `evaluate` are.
    """
    parts = []
    for world in worlds.values():
        pairs = make_pairs(count, FRAMES, world.size, world=world)
        rows: dict[str, Rows] = {}
        for name, work in models.items():
            key = key_of(count, work.weights(FINAL), work.vae_file, world)
            make = partial(variant_clips, SHIPPED, work, pairs)
            rows[name] = kept_rows(folder / world.name, name, key, pairs, make)
        key = key_of(count, None, None, world)
        rows[STILL] = kept_rows(folder / world.name, STILL, key, pairs, partial(photos, pairs))
        parts.append(f"World `{world.name}`, {world.size} x {world.size} px:\n\n{by_metric(rows, rows[STILL])}")
    return "\n\n".join(parts)
