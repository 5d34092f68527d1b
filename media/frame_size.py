"""Sizes of frames, and rate and lengths of clips, that the model takes, in pixels and frames.

Source: SteadyDancer wan/image2video_dancer.py, generate(): the frame keeps the photo's aspect at a given area, and each
side is floored to a multiple of 16 pixels (8 of the VAE times 2 of the patch).
"""

import math

MODEL_FPS = 16.0  # the rate of Wan 2.1, and so of every clip that SteadyDancer saw and makes
SIZE_STEP = 16
FRAMES_PER_LATENT = 4
MIN_FRAMES = 5  # one latent frame more than the photo's own
DEFAULT_AREA = 1024 * 576
MAX_ASPECT_DIFFERENCE = 0.08  # what the flooring to 16 pixels can make


def default_size(image_width: int, image_height: int, area: int = DEFAULT_AREA) -> tuple[int, int]:
    """Return (width, height) in pixels: the image's aspect at `area` pixels, each side a multiple of 16."""
    aspect = image_height / image_width
    width, height = (int(math.sqrt(area * r) // SIZE_STEP) * SIZE_STEP for r in (1 / aspect, aspect))
    return max(width, SIZE_STEP), max(height, SIZE_STEP)


def choose_size(image_width: int, image_height: int, width: int, height: int) -> tuple[int, int]:
    """Return (width, height) in multiples of 16; 0 for one side follows the image's aspect, 0 for both its area too."""
    if not width and not height:
        return default_size(image_width, image_height)
    sides = width or height * image_width / image_height, height or width * image_height / image_width
    wide, high = (max(SIZE_STEP, int(side // SIZE_STEP) * SIZE_STEP) for side in sides)
    return wide, high


def valid_length(frames: int) -> int:
    """Return the largest 4n+1 that is not above `frames`: the clip lengths that the causal VAE can hold."""
    return (frames - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT + 1


def latent_frames(frames: int) -> int:
    """Return how many latent frames the causal VAE makes of `frames`: one of the first, one of each four after it."""
    return (frames - 1) // FRAMES_PER_LATENT + 1


def aspect_difference(size_a: tuple[int, int], size_b: tuple[int, int]) -> float:
    """Return how far two (width, height) are from one shape: 0 is equal, 0.1 is one tenth wider or narrower."""
    ratio = (size_a[0] * size_b[1]) / (size_a[1] * size_b[0])
    return max(ratio, 1 / ratio) - 1


def crop_fraction(image_size: tuple[int, int], width: int, height: int) -> tuple[float, float]:
    """Return the fractions of an image's (width, height) that a frame shows; what flooring makes is not cropped."""
    w, h = image_size
    if aspect_difference((w, h), (width, height)) <= MAX_ASPECT_DIFFERENCE:
        return 1.0, 1.0
    return min(1.0, h * width / (height * w)), min(1.0, w * height / (width * h))


def crop_note(kept: tuple[float, float]) -> str:
    """Return what of an image is cut where a frame shows the fractions `kept` of its (width, height); "" if nothing."""
    sides = ("left and right", "width"), ("top and bottom", "height")
    for (where, side), part in zip(sides, kept, strict=True):
        if part < 1:
            return f"The photo is cropped to the shape of the video: {where} {1 - part:.0%} of the {side} are cut."
    return ""
