"""A file that is there whole or not at all."""

from pathlib import Path

from ..media.atomic_write import atomic_write


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, also while others write it; whoever is killed meanwhile leaves the old one, or none."""
    with atomic_write(path) as part:
        part.write_bytes(data)
