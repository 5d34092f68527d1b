"""Animated WebP files, written picture by picture as they come from the encoder.

FFmpeg's own animation encoder holds all pictures to the end, joins equal ones and keeps neither the duration of a still
clip nor a workflow. Each picture encoded alone takes no more space.

A WebP is a RIFF file: chunks of name (4 bytes), size (uint32) and data padded to even. Source: the WebP container
specification (developers.google.com/speed/webp/docs/riff_container) and TIFF 6.0 for the EXIF directory; little-endian.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

HEAD = 30  # bytes that hold the size of any WebP
ANIMATION_FLAG, EXIF_FLAG = 0x02, 0x08
OVERWRITE = 0x02  # a picture replaces what was shown before instead of being blended with it
# ComfyUI's frontend reads every text entry as "name:JSON"; its core writes them under these camera tags.
EXIF_TAGS = {"workflow": 0x010F, "prompt": 0x0110}  # Make, Model; ascending, as TIFF asks
TIFF_TEXT = 2
# Browsers show a picture of up to 10 ms, among them the 0 that Pillow writes by default, for 100 ms.
SHORTEST, INSTEAD = 10, 100


class WebpAnimation:
    """An animation on a seekable file; `plays` 0: without end. Keeps "workflow" and "prompt" of the metadata."""

    def __init__(self, file: BinaryIO, width: int, height: int, plays: int, metadata: Mapping[str, str]):
        self._file = file
        self._size = _uint24(width - 1) + _uint24(height - 1)
        self._entries = {EXIF_TAGS[key]: f"{key}:{metadata[key]}" for key in EXIF_TAGS if key in metadata}
        file.write(struct.pack("<4sI4s", b"RIFF", 0, b"WEBP"))
        flags = ANIMATION_FLAG | (EXIF_FLAG if self._entries else 0)
        self._write(b"VP8X", bytes([flags, 0, 0, 0]) + self._size)
        self._write(b"ANIM", struct.pack("<IH", 0, plays))  # background color, plays

    def add(self, picture: bytes, milliseconds: int) -> None:
        """Append a still WebP file, opaque and of the animation's size, shown for that long."""
        body = b"".join(_chunk(name, data) for name, data in read_chunks(picture) if name != b"VP8X")
        self._write(b"ANMF", bytes(6) + self._size + _uint24(milliseconds) + bytes([OVERWRITE]) + body)

    def finish(self) -> None:
        if self._entries:
            self._write(b"EXIF", _exif(self._entries))
        length = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<I", length - 8))

    def _write(self, name: bytes, data: bytes) -> None:
        self._file.write(_chunk(name, data))


def read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the data of each chunk of a WebP file."""
    offset = 12
    while offset < len(data):
        name, size = struct.unpack_from("<4sI", data, offset)
        yield name, data[offset + 8 : offset + 8 + size]
        offset += 8 + size + size % 2


def canvas_size(head: bytes) -> tuple[int, int] | None:
    """Return (width, height) by the first `HEAD` bytes of a WebP, None for any other file. Source: RFC 9649."""
    if len(head) < HEAD or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def animation_rate(file: BinaryIO) -> float | None:
    """Return the average pictures per second of an animated WebP in a browser, None for any other file."""
    head = file.read(21)
    if head[:4] != b"RIFF" or head[8:16] != b"WEBPVP8X" or not head[20] & ANIMATION_FLAG:
        return None
    pictures = milliseconds = 0
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        body = file.read(min(size, 16))
        if name == b"ANMF" and len(body) == 16:
            pictures += 1
            shown = int.from_bytes(body[12:15], "little")
            milliseconds += shown if shown > SHORTEST else INSTEAD
        file.seek(size + size % 2 - len(body), 1)
    return 1000 * pictures / milliseconds if milliseconds else None


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2)


def _exif(entries: Mapping[int, str]) -> bytes:
    texts = [text.encode() + b"\0" for text in entries.values()]
    offset = 8 + 2 + 12 * len(entries) + 4
    directory = b""
    for tag, text in zip(entries, texts, strict=True):
        directory += struct.pack("<HHII", tag, TIFF_TEXT, len(text), offset)
        offset += len(text)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + b"".join(texts)


def _uint24(number: int) -> bytes:
    return number.to_bytes(3, "little")
