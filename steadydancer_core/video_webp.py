"""What FFmpeg's WebP muxer leaves out: the number of plays and the EXIF chunk from which ComfyUI reopens a workflow.

A WebP is a RIFF file: chunks of name (4 bytes), size (uint32) and data padded to even. Source: the WebP container
specification (developers.google.com/speed/webp/docs/riff_container) and TIFF 6.0 for the EXIF directory; little-endian.
"""

import struct
from collections.abc import Iterator, Mapping

EXIF_FLAG = 0x08
# ComfyUI's frontend reads every text entry as "name:JSON"; its core writes them under these camera tags.
EXIF_TAGS = {"workflow": 0x010F, "prompt": 0x0110}  # Make, Model; ascending, as TIFF asks
TIFF_TEXT = 2


def finish(data: bytes, width: int, height: int, loop: int, metadata: Mapping[str, str]) -> bytes:
    """Return the WebP `data` (width, height in pixels) with `loop` plays, 0 being without end, and `metadata` as EXIF.

    Of the metadata, "workflow" and "prompt" are kept.
    """
    chunks = [[name, body] for name, body in read_chunks(data)]
    for chunk in chunks:
        if chunk[0] == b"ANIM":
            chunk[1] = struct.pack("<4sH", chunk[1][:4], loop)  # background colour, plays
    entries = {EXIF_TAGS[key]: f"{key}:{metadata[key]}" for key in EXIF_TAGS if key in metadata}
    if entries:
        if chunks[0][0] != b"VP8X":  # a single frame comes in the simple layout
            chunks.insert(0, [b"VP8X", bytes(4) + _uint24(width - 1) + _uint24(height - 1)])
        chunks[0][1] = bytes([chunks[0][1][0] | EXIF_FLAG]) + chunks[0][1][1:]
        chunks.append([b"EXIF", _exif(entries)])
    body = b"WEBP" + b"".join(struct.pack("<4sI", n, len(b)) + b + bytes(len(b) % 2) for n, b in chunks)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the data of each chunk of a WebP file."""
    offset = 12
    while offset < len(data):
        name, size = struct.unpack_from("<4sI", data, offset)
        yield name, data[offset + 8 : offset + 8 + size]
        offset += 8 + size + size % 2


def _exif(entries: Mapping[int, str]) -> bytes:
    """Return a TIFF directory of text entries by tag."""
    texts = [text.encode() + b"\0" for text in entries.values()]
    offset = 8 + 2 + 12 * len(entries) + 4
    directory = b""
    for tag, text in zip(entries, texts, strict=True):
        directory += struct.pack("<HHII", tag, TIFF_TEXT, len(text), offset)
        offset += len(text)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + b"".join(texts)


def _uint24(number: int) -> bytes:
    return number.to_bytes(3, "little")
