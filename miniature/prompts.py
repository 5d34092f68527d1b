"""Made-up prompt embeddings for the miniature, in the file format of steadydancer_core/prompt_embeddings.py.

Written out here, because this package runs without the rest of the pack; a test holds the two writers together.
"""

import json

import torch

from .container import safetensors_bytes
from .weights import MINIATURE, made_up_input

TOKENS, ROWS = 512, 7


def prompt_file(name: str) -> bytes:
    """Return the embedding called `name`, [1, 512, text_dim] with 7 rows that are not zero, as a safetensors file."""
    rows = made_up_input(f"miniature {name}", (1, ROWS, MINIATURE["text_dim"]))
    entry = {"rows": TOKENS, "tensors": [], "values": {}}
    metadata = {
        "format": "steadydancer_prompt_embeddings",
        "version": "1",
        "prompt": f"made-up {name} prompt",
        "entries": json.dumps([entry]),
    }
    return safetensors_bytes({"cond.0": torch.from_numpy(rows)}, metadata)
