"""Videos and folders of pictures in, packed videos and contact sheets out."""

import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from . import media_file
from .atomic_write import atomic_write
from .frame_size import MIN_FRAMES, MODEL_FPS

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
PHOTO_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # others, such as EPS, start programs
MAX_PHOTO_PIXELS = 100_000_000
FOLDER_FPS = Fraction(MODEL_FPS)
TILE_AREA = 200 * 200
SHEET_TIMES = 6
SHEET_COLUMNS = 2
CAPTION_HEIGHT = 22
GAP = 8
BACKGROUND, INK = (24, 24, 28), (230, 230, 230)


def read_photo(file: Path) -> Image.Image:
    """Return the picture as RGB, turned as its EXIF says; ValueError if it is none."""
    try:
        with Image.open(file, formats=PHOTO_FORMATS) as photo:
            if photo.width * photo.height > MAX_PHOTO_PIXELS:
                size = f"{photo.width}x{photo.height} pixels"
                raise ValueError(f"{file} has {size}; up to 100 megapixels can be read. Make it smaller.")
            return ImageOps.exif_transpose(photo).convert("RGB")
    except FileNotFoundError:
        raise ValueError(f"There is no file {file}.") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} is no picture that can be read ({error}). Give a PNG, JPEG or WebP file.") from None


def read_frames(source: Path) -> Iterator[Image.Image]:
    """Yield the RGB frames of a video file, or the pictures of a folder in the order of their names."""
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.suffix.lower() in PICTURES)
        yield from (read_photo(file) for file in files)
        return
    with _open_video(source) as (container, stream):
        for frame in container.decode(stream):
            yield frame.to_image()


def frame_rate(source: Path) -> Fraction:
    """Return a video's frames per second; 16 for a folder of pictures."""
    if source.is_dir():
        return FOLDER_FPS
    with _open_video(source) as (_, stream):
        return stream.average_rate or FOLDER_FPS


@contextmanager
def _open_video(source: Path) -> Generator[tuple[av.container.InputContainer, av.VideoStream]]:
    if not source.exists():
        raise ValueError(f"There is no file or folder {source}.")
    with media_file.open_media(str(source)) as container:
        yield container, media_file.video_of(container, str(source))


def pack_video(source: Path, target: Path, count: int) -> int:
    """Write the first `count` frames, 5 or more of one size, without loss into an MP4; return how many there were."""
    frames = list(islice(read_frames(source), count))
    if len(frames) < MIN_FRAMES:
        raise ValueError(f"Found {len(frames)} frames in {source}; at least {MIN_FRAMES} are needed.")
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise ValueError(f"The pictures in {source} differ in size: {sorted(sizes)}. Make them one size.")
    with av.open(str(target), "w") as video:
        stream = video.add_stream("libx264rgb", rate=frame_rate(source), options={"qp": "0"})
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "rgb24"
        for frame in (*map(av.VideoFrame.from_image, frames), None):
            video.mux(stream.encode(frame))
    return len(frames)


def contact_sheet(photo: Image.Image, shown: dict[str, Path], result: Path, target: Path) -> int:
    """Write a PNG of six evenly spaced times, each photo, `shown` and result side by side; return the result's frames.

    shown: videos or folders by caption. All begin together at their own rates; one that ends early stands still.
    """
    frames = sum(1 for _ in read_frames(result))
    times = sheet_times(frames)
    rate = frame_rate(result)
    rows = [pick(source, [round(time * frame_rate(source) / rate) for time in times]) for source in shown.values()]
    scale = math.sqrt(TILE_AREA / (photo.width * photo.height))
    size = round(photo.width * scale), round(photo.height * scale)
    caption = ", ".join(("photo", *shown, "result"))
    cells = [
        row_of((photo, *pictures), size, f"frame {time} of {frames}: {caption}")
        for time, *pictures in zip(times, *rows, pick(result, times), strict=True)
    ]
    with atomic_write(target) as part:
        grid(cells).save(part, "PNG")
    return frames


def sheet_times(frames: int) -> list[int]:
    """Return up to six evenly spaced frames, the first and the last among them."""
    return sorted({round(i * (frames - 1) / (SHEET_TIMES - 1)) for i in range(SHEET_TIMES)})


def pick(source: Path, indices: list[int]) -> list[Image.Image]:
    """Return the frames at the ascending indices; the last frame stands for those beyond the end."""
    wanted, picked, frame = list(indices), [], None
    for index, frame in enumerate(read_frames(source)):
        while wanted and index == wanted[0]:
            picked.append(frame)
            wanted.pop(0)
        if not wanted:
            break
    return picked + [frame] * len(wanted)


def row_of(images: Iterable[Image.Image], size: tuple[int, int], caption: str) -> Image.Image:
    """Return the images side by side, each fitted into `size`, under a caption."""
    images = list(images)
    cell = Image.new("RGB", (size[0] * len(images), size[1] + CAPTION_HEIGHT), BACKGROUND)
    ImageDraw.Draw(cell).text((2, 3), caption, fill=INK, font=ImageFont.load_default(14))
    for column, image in enumerate(images):
        cell.paste(ImageOps.pad(image, size, color=BACKGROUND), (column * size[0], CAPTION_HEIGHT))
    return cell


def grid(cells: list[Image.Image]) -> Image.Image:
    """Return cells of one size in two columns, read left to right."""
    width, height = (side + GAP for side in cells[0].size)
    rows = math.ceil(len(cells) / SHEET_COLUMNS)
    sheet = Image.new("RGB", (width * min(len(cells), SHEET_COLUMNS) + GAP, height * rows + GAP), BACKGROUND)
    for number, cell in enumerate(cells):
        row, column = divmod(number, SHEET_COLUMNS)
        sheet.paste(cell, (column * width + GAP, row * height + GAP))
    return sheet
