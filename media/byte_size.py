"""Sizes of files and of memory in words. A GB is a thousand million bytes, as sites and disks count."""

GB = 10**9
UNITS = (("TB", 10**12), ("GB", GB), ("MB", 10**6), ("KB", 10**3))
ROUNDED_UP = 0.9995  # of a unit: what three digits would show as 1000 of the unit below


def size_text(size: int) -> str:
    """Return `size` in bytes with three digits, as people say it: 16.4 GB, 8 MB, 0 KB."""
    unit, factor = next((row for row in UNITS if size >= ROUNDED_UP * row[1]), UNITS[-1])
    return f"{size / factor:.3g} {unit}"
