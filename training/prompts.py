"""The miniature's language: some words, each a fixed vector; a prompt is a row of them, filled up with zeros."""

import zlib

import numpy as np
import torch
from torch import Tensor

ROWS, WIDTH = 8, 64
VERBS = {"dance": "dances", "walk": "walks", "wave": "waves", "turn": "turns", "jacks": "jumps"}
POSITIVE, NEGATIVE = "a person dances", "blurred still deformed"


def prompt_vectors(prompt: str) -> Tensor:
    """Return a prompt as [ROWS, WIDTH] in float32; the words may be any."""
    rows = torch.zeros(ROWS, WIDTH)
    for row, word in zip(rows, prompt.split(), strict=False):
        row.copy_(torch.from_numpy(np.random.RandomState(zlib.crc32(word.encode())).standard_normal(WIDTH)))
    return rows


def prompt_of(kind: str) -> str:
    """Return the prompt of a clip whose motion is of this kind (world/motion.py KINDS)."""
    return f"a person {VERBS[kind]}"
