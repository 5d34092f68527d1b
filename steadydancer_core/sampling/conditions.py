"""Condition reconciliation: photo, pose and prompt become three conditions that differ only where they must.

Source: paper 3.1 to 3.3; SteadyDancer wan/image2video_dancer.py, generate().

    positive       prompt            pose
    negative       negative prompt   pose
    pose-negative  prompt            augmented pose

All three carry the same photo and the same first pose, so ComfyUI can run them as one batch. The causal VAE makes the
first latent of a clip equal to the latent of its first frame: photo and first pose cost no encoding of their own.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import comfy.clip_vision
import comfy.ldm.wan.vae
import comfy.model_management
import torch
from node_helpers import conditioning_set_values
from torch import Tensor

from ...media.frame_size import (
    FRAMES_PER_LATENT,
    LARGEST_AREA,
    MAX_ASPECT_DIFFERENCE,
    MIN_FRAMES,
    aspect_difference,
    choose_size,
    crop_fraction,
    crop_note,
    latent_frames,
    valid_length,
)
from ...media.frame_source import FrameSource
from ...media.frames import blank_video, clip_pixels, crop, fit_image, size_of, to_rgb
from ...media.log import logger
from ..model.pose_modulation import LATENT_CHANNELS
from .display import NO_DISPLAY, Display
from .frame_prompts import check_prompts, fit_prompts
from .live_preview import known_colors

REACH = 28  # latents after that of a frame that the VAE's encoder makes of it too
CLIP_TOKENS, CLIP_WIDTH = 257, 1280
CLIP_NAMES = {768: "CLIP-B", 1024: "CLIP-L", 1152: "SigLIP", 1664: "CLIP-G"}
SINGLE_IMAGE = (
    "A single image is connected to pose_frames, or max_frames is 1, or the node before it is bypassed. Connect the "
    "whole skeleton clip of 'Draw Poses' or 'Poses From Video'."
)
TOO_FEW_FRAMES = (
    "Raise max_frames of 'Poses From Video' or 'Extract Poses' (0 = the whole video); if it is not in the way, take a "
    "longer driving video."
)
NO_CLIP = (
    "no CLIP vision connected, so its features are zero: the 14B model needs them. Connect clip_vision to Load CLIP "
    "Vision with clip_vision_h.safetensors"
)


class ClipPair(NamedTuple):
    """CLIP vision outputs of the photo and of the first pose frame."""

    photo: Any
    pose: Any


class Reconciled(NamedTuple):
    """What the sampler takes, and what was decided on the way."""

    positive: list
    negative: list
    pose_negative: list | None
    latent: dict
    notes: list[str]


class Frame(NamedTuple):
    """Size of the clip in pixels and frames."""

    width: int
    height: int
    length: int


def reconcile(
    positive,
    negative,
    vae,
    photo: Tensor,
    pose: FrameSource,
    pose_negative: FrameSource | None = None,
    clip_vision=None,
    clip_outputs: tuple = (None, None),
    width: int = 0,
    height: int = 0,
    length: int = 81,
    display: Display = NO_DISPLAY,
) -> Reconciled:
    """Return the three conditions and the empty latent; ValueError, before any encoding, for what cannot work.

    photo [B, H, W, C], pose and pose_negative [F, H, W, C] in 0..1; width and height in pixels, both 0 for the size
    of the pose frames, 0 for one side for the photo's aspect; length in frames. `clip_vision` is a model, or
    `clip_outputs` are ready outputs of photo and first pose frame; with neither, features are zero.
    """
    notes: list[str] = []
    display.say("encoding")
    check_vae(vae)
    photo = first_image(photo, notes)
    frame = choose_frame(photo, pose, width, height, length, notes)
    check_poses(photo, pose, pose_negative, frame.length)
    notes += [note for cond in (positive, negative) for note in check_prompts(cond, frame.length)]
    kept = crop_fraction(size_of(photo), frame.width, frame.height)
    fit = partial(fit_image, width=frame.width, height=frame.height, kept=kept)
    clip = clip_pair(clip_vision, clip_outputs, crop(photo, kept), crop(pose[:1], kept), notes)
    shared, pose_latent = encode_shared(vae, fit(photo), fit(pose[: frame.length]), clip, display)
    posed = shared | {"pose_video_latent": pose_latent}
    positive, negative = (fit_prompts(cond, range(frame.length), pose_latent) for cond in (positive, negative))
    conds = [conditioning_set_values(cond, posed) for cond in (positive, negative)]
    augmented = None
    if pose_negative is not None:
        latent = vae.encode(fit(pose_negative[: frame.length]))
        augmented = conditioning_set_values(positive, shared | {"pose_video_latent": latent})
    for note in notes:
        logger.warning("%s", note)
    return Reconciled(*conds, augmented, empty_latent(pose_latent), notes)


def encode_shared(
    vae, known: Tensor, pose: Tensor, clip: ClipPair, display: Display = NO_DISPLAY
) -> tuple[dict, Tensor]:
    """Return what all conditions share, and the pose latent [1, 16, T, h, w]; known: the clip's first K frames."""
    image_latent = encode_known(vae, known, pose.shape[0])
    pose_latent = vae.encode(pose)
    mask = torch.ones((1, 1, *image_latent.shape[2:]), dtype=image_latent.dtype, device=image_latent.device)
    mask[:, :, : latent_frames(len(known))] = 0
    shared = {
        "concat_latent_image": image_latent,
        "concat_mask": mask,
        "reference_pose_latent": pose_latent[:, :, :1],
        "clip_vision_output": clip.photo,
        "pose_clip_vision_output": clip.pose,
    }
    if display.shows_pictures:
        shared |= known_colors(vae, known[:1], image_latent[:, :, :1])
    return shared, pose_latent


def encode_known(vae, known: Tensor, length: int) -> Tensor:
    """Return the latent [1, 16, T, h, w] of a clip of `length` frames: `known` [K, H, W, 3], then gray; both 4n+1.

    The latents of gray frames that the known ones do not reach are equal: two are encoded, the others are copies. Two,
    and the odd one at the end, because the encoder takes latents in pairs and rounds both otherwise.
    """
    total, start = latent_frames(length), (latent_frames(len(known)) + REACH) | 1
    encoded = start + 2 + (total + 1) % 2
    if encoded >= total:
        return vae.encode(blank_video(known, length))
    latent = vae.encode(blank_video(known, (encoded - 1) * FRAMES_PER_LATENT + 1))
    pair, end = latent[:, :, start : start + 2], latent[:, :, start + 2 :]
    copies = pair.repeat(1, 1, (total - encoded) // 2, 1, 1)
    return torch.cat([latent[:, :, : start + 2], copies, end], dim=2)


def empty_latent(like: Tensor) -> dict:
    """Return the LATENT of zeros that sampling starts from."""
    return {"samples": torch.zeros_like(like, device=comfy.model_management.intermediate_device())}


def choose_frame(photo: Tensor, pose: FrameSource, width: int, height: int, length: int, notes: list[str]) -> Frame:
    """Return the clip's size, that of the pose frames where none is given, up to LARGEST_AREA.

    A side that is not a multiple of 16 and a length that is not 4n+1 are brought there.
    """
    if width < 0 or height < 0:
        raise ValueError(f"The size is {width}x{height}; each side must be 0 or a multiple of 16.")
    if not width and not height and math.prod(size_of(pose)) <= LARGEST_AREA:
        chosen = choose_size(*size_of(photo), *size_of(pose))
    else:
        chosen = choose_size(*size_of(photo), width, height)
    notes += filter(None, [crop_note(crop_fraction(size_of(photo), *chosen))])
    if any(given not in (0, side) for given, side in zip((width, height), chosen, strict=True)):
        notes.append(f"size {width}x{height} brought to {chosen[0]}x{chosen[1]}, multiples of 16")
    return Frame(*chosen, choose_length(length, pose.shape[0], notes))


def choose_length(length: int, pose_frames: int, notes: list[str]) -> int:
    """Return the largest 4n+1 that neither `length` nor the pose frames fall short of, and note a change."""
    if pose_frames < MIN_FRAMES:
        raise ValueError(
            f"Found {pose_frames} pose frame(s); SteadyDancer needs at least {MIN_FRAMES}. "
            + (SINGLE_IMAGE if pose_frames == 1 else TOO_FEW_FRAMES)
        )
    if length < MIN_FRAMES:
        raise ValueError(f"The length is {length} frame(s); it must be at least {MIN_FRAMES}. 81 (5 seconds) is usual.")
    chosen = valid_length(min(length, pose_frames))
    if chosen != length:
        notes.append(f"length {length} brought to {chosen} (4n+1, {pose_frames} pose frames given)")
    return chosen


def check_poses(photo: Tensor, pose: FrameSource, pose_negative: FrameSource | None, length: int) -> None:
    """Raise ValueError unless the pose frames have the photo's aspect and the pose-negative covers the clip."""
    want = size_of(photo)
    for name, frames in (("pose", pose), ("pose-negative", pose_negative)):
        if frames is None:
            continue
        found = size_of(to_rgb(frames[:1]))
        if aspect_difference(found, want) > MAX_ASPECT_DIFFERENCE:
            raise ValueError(
                f"The {name} frames are {found[0]}x{found[1]} but the photo is {want[0]}x{want[1]}: the shapes differ, "
                "so the skeleton would not lie on the person. Use 'Align Poses' on the pose, or crop one to the "
                "other's shape. With a custom size in 'Poses From Video' connect its photo output here."
            )
    if pose_negative is not None and pose_negative.shape[0] < length:
        raise ValueError(
            f"There are {pose_negative.shape[0]} pose-negative frames for a clip of {length} frames. "
            "Give as many pose-negative frames as pose frames, as 'Draw Poses' makes them; or leave "
            "pose_negative_frames unconnected and set pose_guidance to 0."
        )


def first_image(photo: Tensor, notes: list[str]) -> Tensor:
    """Return the first of the photos as RGB [1, H, W, 3]; ValueError if there is none."""
    photo = to_rgb(photo)
    if photo.shape[0] == 0:
        raise ValueError("The photo is an empty batch; connect one image.")
    if photo.shape[0] > 1:
        notes.append(f"the first of {photo.shape[0]} photos is used")
    return photo[:1]


def check_vae(vae) -> None:
    """Raise ValueError unless `vae` is a Wan 2.1 VAE: 16 channels, time in the latent, 8 pixels a cell."""
    needed = "SteadyDancer needs the Wan 2.1 VAE. Choose wan_2.1_vae.safetensors in Load VAE."
    if vae is None:
        raise ValueError(f"The connected vae is empty: the checkpoint it comes from holds none. {needed}")
    network = getattr(vae, "first_stage_model", None)
    if vae.latent_channels == LATENT_CHANNELS and isinstance(network, comfy.ldm.wan.vae.WanVAE):
        return
    found = {48: "Found a Wan 2.2 VAE", 4: "Found an SD or SDXL VAE"}.get(
        vae.latent_channels, "Found another model's VAE"
    )
    raise ValueError(f"{found} ({type(network).__name__}, {vae.latent_channels} latent channels). {needed}")


def clip_pair(clip_vision, outputs: tuple, photo: Tensor, first_pose: Tensor, notes: list[str]) -> ClipPair:
    """Return CLIP vision of photo and first pose frame [1, H, W, 3] at full size, or ready outputs, or zeros.

    The pixels are upstream's: the pose frame at the photo's size, both without antialiasing at 224x224.
    """
    if clip_vision is not None:
        if any(output is not None for output in outputs):
            notes.append("the CLIP vision model is used, the ready CLIP vision outputs are not")
        images = clip_pixels(photo.clamp(0, 1)), clip_pixels(first_pose.clamp(0, 1), size_of(photo))
        pair = ClipPair(*(clip_vision.encode_image(image, crop=False) for image in images))
    elif all(output is not None for output in outputs):
        pair = ClipPair(*(first_features(output, notes) for output in outputs))
    elif any(output is not None for output in outputs):
        raise ValueError(
            "Only one CLIP vision output is connected; SteadyDancer needs that of the photo and that of the first "
            "pose frame. Connect both, or connect a CLIP vision model instead."
        )
    else:
        notes.append(NO_CLIP)
        return zero_clip()
    for output in pair:
        size = tuple(output.penultimate_hidden_states.shape[1:])
        if size != (CLIP_TOKENS, CLIP_WIDTH):
            name = CLIP_NAMES.get(size[-1], "another vision model")
            raise ValueError(
                f"Found features of {name} ({' x '.join(map(str, size))}), not {CLIP_TOKENS} x {CLIP_WIDTH}. "
                "SteadyDancer needs CLIP-H. Choose clip_vision_h.safetensors in Load CLIP Vision."
            )
    return pair


def zero_clip() -> ClipPair:
    """Return what stands for CLIP vision where there is none; the miniature was trained so."""
    zeros = torch.zeros(1, CLIP_TOKENS, CLIP_WIDTH, dtype=torch.float32, device="cpu")
    return ClipPair(features_output(zeros), features_output(zeros))


def first_features(output, notes: list[str]):
    """Return a CLIP vision output of one image: a whole clip's would give every sample another image."""
    images = output.penultimate_hidden_states.shape[0]
    if images == 1:
        return output
    notes.append(f"the first of {images} images in a CLIP vision output is used")
    return features_output(output.penultimate_hidden_states[:1])


def features_output(features: Tensor) -> comfy.clip_vision.Output:
    """Return a CLIP vision output that holds `features` [B, 257, 1280]."""
    output = comfy.clip_vision.Output()
    output["penultimate_hidden_states"] = features
    return output
