"""The hash of a whole file, read in blocks."""

import hashlib
from pathlib import Path

BLOCK = 1 << 20


def file_sha256(file: Path) -> str:
    """Return the sha256 of a file as hex digits; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
