"""A short run of the bundled miniature through every stage of a real run."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import comfy.sd
import comfy.utils
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..media.frames import to_float
from ..media.video_stream import VideoStream
from ..steadydancer_core.sampling import run as sampling
from ..steadydancer_core.sampling.conditions import reconcile, zero_clip
from ..steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from ..steadydancer_core.sampling.presets import Settings
from ..steadydancer_core.weights import prompt_embeddings
from ..steadydancer_core.weights.loading import load_model
from .findings import OK, PROBLEM, Finding, of_error

FRAMES, STEPS, SEED = 9, 4, 1
SETTINGS = Settings("Doctor", STEPS, TextGuidance(5.0), PoseGuidance(1.0, 0.1, 0.4), "official unipc")
LEAST_SPREAD = 0.02  # of values in 0..1; a picture of one color has 0
ADVICE = "Install the pack again; if that does not help, report it with the lines below."
ERRORS = (ValueError, RuntimeError, OSError)  # of files and of PyTorch, out of memory included


@dataclass(frozen=True)
class Trial:
    """A finished run: seconds, whether all values are numbers, and the standard deviation of the video in 0..1."""

    seconds: float
    finite: bool
    spread: float


@torch.inference_mode()
def run(files: Mapping[str, Path], side: int) -> Trial:
    """Run the miniature over FRAMES frames of `side` pixels in STEPS steps. Raises one of ERRORS.

    files: see nodes.doctor.SAMPLE.
    """
    start = time.perf_counter()
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(files["vae"])))
    positive, negative = (prompt_embeddings.load(files[name]) for name in ("positive", "negative"))
    pose, pose_negative = _frames(files["pose"]), _frames(files["pose_negative"])
    with Image.open(files["photo"]) as image:
        photo = to_float(np.array(image.convert("RGB")))[None]
    conditions = reconcile(
        positive, negative, vae, photo, pose, pose_negative,
        clip_outputs=zero_clip(), width=side, height=side, length=FRAMES,
    )  # fmt: skip
    model = load_model(files["model"], {"dtype": torch.float16})  # its fp8 is not for every device
    latent, _ = sampling.run(model, *conditions[:4], SEED, SETTINGS)
    video = vae.decode(latent["samples"])[0]
    return Trial(time.perf_counter() - start, bool(video.isfinite().all()), float(video.float().std()))


def check_trial(trial: Trial | Exception, device: str) -> Finding:
    if isinstance(trial, ValueError):
        return of_error(PROBLEM, trial, "The miniature does not run: ")
    if isinstance(trial, Exception):
        what = f"The miniature does not run on {device}: {type(trial).__name__}: {trial}"
        return Finding(PROBLEM, what.rstrip(".") + ".", ADVICE)
    took = f"{STEPS} steps of the miniature on {device} took {trial.seconds:.1f} s with loading"
    if not trial.finite:
        fix = "Update PyTorch and the card's driver, and start ComfyUI without options that change the precision."
        return Finding(PROBLEM, f"{took} and gave values that are not numbers (NaN): videos will be black.", fix)
    if trial.spread < LEAST_SPREAD:
        return Finding(PROBLEM, f"{took} and gave a picture of one color.", ADVICE)
    return Finding(OK, f"{took}; the video has a picture.")


def _frames(file: Path) -> Tensor:
    return to_float(np.stack(list(islice(VideoStream(str(file), fps=0.0), FRAMES))))
