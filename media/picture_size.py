"""The size of a picture by its header, where the picture is too large to be decoded."""

import struct
from typing import BinaryIO

from PIL.Image import DecompressionBombError, DecompressionBombWarning

from .video_webp import HEAD, canvas_size

DAMAGED = (SyntaxError, OSError, ValueError, RuntimeError, MemoryError, struct.error)  # as Pillow's readers raise them


def size_by_header(file: BinaryIO) -> tuple[int, int] | None:
    """Return (width, height) in pixels as a picture's header claims them, None for any other or a damaged file."""
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.GifImagePlugin import GifImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile

    head = file.read(HEAD)
    if size := canvas_size(head):
        return size
    readers = {  # by how the file begins
        b"\xff\xd8\xff": JpegImageFile,
        b"\x89PNG": PngImageFile,
        b"GIF8": GifImageFile,
        b"BM": BmpImageFile,
        b"II*\0": TiffImageFile,
        b"MM\0*": TiffImageFile,
    }
    reader = next((reader for start, reader in readers.items() if head.startswith(start)), None)
    if reader is None:
        return None
    file.seek(0)
    try:
        with reader(file) as picture:
            return picture.size
    except (*DAMAGED, DecompressionBombError, DecompressionBombWarning):
        return None
