"""Another frame rate for a finished clip: which of its interpolated frames is shown when."""

import math


def nearest_frames(frames: int, fps: float, multiplier: int, new_fps: float) -> list[int]:
    """Return the index of the frame nearest in time to each frame at `new_fps`, of a clip that was interpolated.

    frames: after interpolation, which makes (n - 1) * multiplier + 1 of n. fps: before it. The clip lasts n / fps
    seconds, rounded to whole new frames; its last frame is held to the end.
    Raises ValueError for rates that are not above 0 and a number of frames that `multiplier` does not make.
    """
    for name, rate in (("fps", fps), ("The new frame rate", new_fps)):
        if not 0 < rate < math.inf:
            raise ValueError(f"{name} is {rate}. It must be above 0: the rate at which the images play.")
    if frames < 1 or (frames - 1) % multiplier:
        raise ValueError(
            f"Found {frames} images, which are no clip interpolated with multiplier {multiplier}: there would be "
            f"{max(0, frames - 1) // multiplier * multiplier + 1}. Set multiplier to that of Run Frame Interpolation "
            "Model, or to 1 for a clip that was not interpolated."
        )
    count = max(1, math.floor(((frames - 1) // multiplier + 1) / fps * new_fps + 0.5))
    return [min(math.floor(k * fps * multiplier / new_fps + 0.5), frames - 1) for k in range(count)]


def shown_frames(count: int, fps: float, frames: int, source_fps: float) -> list[int]:
    """Return which of `frames` images at `source_fps` is on screen at each of `count` frames at `fps`."""
    return [min(math.floor(k * source_fps / fps + 1e-6), frames - 1) for k in range(count)]
