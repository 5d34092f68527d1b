"""One clip against all that is known of it: the photo, the poses it should follow, the ground truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
from torch import Tensor

from ..steadydancer_core.long_video.seams import NEIGHBORS, seam_scores
from .body_keypoints import Keypoints, Parts, comparable
from .extra_packages import TORCHMETRICS, MissingPackage, import_advice
from .feature_networks import ClipFeatures, PictureFeatures
from .fidelity import fitted_ground_truth, fitted_photo, frame_psnr, frame_ssim
from .frame_batches import check_frames, unit
from .frechet import frechet_distance
from .identity import identity_by_color, identity_by_network
from .lpips import LPIPS_MODULE, Lpips
from .metrics import METRICS, NotMeasured, metric_of, number
from .motion import measure_motion
from .pose_error import THRESHOLD, pose_error

Known = TypeVar("Known")
Pair = Callable[["Case"], tuple[Tensor, Tensor]]  # returns frames and what to compare them with


@dataclass(frozen=True, eq=False)
class Case:
    """A clip, and what it is measured against; whatever is None or empty is not measured.

    frames, ground_truth: [F, H, W, 3]; photo: [B, h, w, C], fitted to the frames as for the model. poses: keypoints
    found in the frames; target: those that should be there. borders, reach: from `long_video.windows.window_borders`.
    threshold: of PCK, in person's heights. parts: keypoints by part of the body.
    """

    frames: Tensor
    photo: Tensor | None = None
    ground_truth: Tensor | None = None
    poses: Keypoints | None = None
    target: Keypoints | None = None
    borders: Sequence[int] = ()
    reach: int = 0
    threshold: float = THRESHOLD
    lpips: Lpips | None = None
    clips: ClipFeatures | None = None
    pictures: PictureFeatures | None = None
    parts: Parts | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured on a clip of `frames` frames.

    values: numbers by the names of METRICS, in its order. curves: float64 [F] by name, NaN where a frame has no value.
    notes: what was not measured and why, and what to know about the rest.
    """

    frames: int
    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_scores(self, name: str, scores: Tensor, frames: range | None = None) -> None:
        """Add the mean of scores [N] as a metric and, if there are several, the scores as a curve."""
        self.values[name] = float(scores.mean())
        if len(scores) > 1:
            self.add_curve(name, scores.numpy(), frames)

    def add_curve(self, name: str, scores: np.ndarray, frames: range | None = None) -> None:
        """Add scores [N] of the given frames, of the first N if there are none."""
        self.curves[name] = np.full(self.frames, np.nan)
        self.curves[name][list(frames or range(len(scores)))] = scores


def evaluate(case: Case) -> Evaluation:
    """Measure all that can be measured. ValueError for inputs that are no frames, photo or keypoints of one kind."""
    check_frames(case.frames)
    result = Evaluation(len(case.frames))
    if case.lpips is not None and not (case.photo is None and case.ground_truth is None):
        advice = import_advice(TORCHMETRICS, LPIPS_MODULE)
        if advice:
            result.notes.append(advice)
    if case.ground_truth is not None:
        case = replace(case, ground_truth=_fitted(case.frames, case.ground_truth, result))
    for name, step in STEPS.items():
        try:
            step(case, result)
        except NotMeasured as reason:
            result.notes.append(f"{name}: not measured: {reason}.")
        except MissingPackage as error:
            result.notes.append(f"{name}: not measured: {str(error).partition('. ')[0]}.")
    names = (*METRICS, *result.values)
    return replace(result, values={name: result.values[name] for name in names if name in result.values})


def describe(evaluation: Evaluation) -> str:
    lines = [
        f"{metric_of(name).label}: {number(name, value)} {metric_of(name).unit}".rstrip()
        for name, value in evaluation.values.items()
    ]
    return "\n".join([*lines, *evaluation.notes])


def _fitted(frames: Tensor, ground_truth: Tensor, result: Evaluation) -> Tensor:
    check_frames(ground_truth, "The ground truth")
    if ground_truth.shape[1:3] != frames.shape[1:3]:
        sizes = [f"{clip.shape[2]}x{clip.shape[1]}" for clip in (ground_truth, frames)]
        result.notes.append(f"The ground truth of {sizes[0]} was fitted to the frames of {sizes[1]}.")
    if len(ground_truth) != len(frames):
        result.notes.append(
            f"The ground truth has {len(ground_truth)} frames, the clip {len(frames)}: the first "
            f"{min(len(ground_truth), len(frames))} are compared."
        )
    return fitted_ground_truth(frames, ground_truth)


def _need(value: Known | None, missing: str) -> Known:
    if value is None:
        raise NotMeasured(missing)
    return value


def _first_frame(case: Case) -> tuple[Tensor, Tensor]:
    photo = _need(case.photo, "no photo is given")
    return unit(case.frames[:1]), fitted_photo(case.frames, photo)


def _all_frames(case: Case) -> tuple[Tensor, Tensor]:
    ground_truth = _need(case.ground_truth, "no ground truth is given")
    count = min(len(case.frames), len(ground_truth))
    return case.frames[:count], ground_truth[:count]


def _psnr_and_ssim(prefix: str, pair: Pair, case: Case, result: Evaluation) -> None:
    compared = pair(case)
    result.add_scores(f"{prefix}_psnr", frame_psnr(*compared))
    result.add_scores(f"{prefix}_ssim", frame_ssim(*compared))


def _lpips(prefix: str, pair: Pair, case: Case, result: Evaluation) -> None:
    compared = pair(case)
    score = _need(case.lpips, "no file with its weights is given")
    result.add_scores(f"{prefix}_lpips", score(*compared))


def _fvd(case: Case, result: Evaluation) -> None:
    compared = _all_frames(case)
    clips = _need(case.clips, "no feature network is given")
    features = [clips(frames) for frames in compared]
    result.values["fvd"] = frechet_distance(*features)
    result.notes.append(f"FVD: {len(features[0])} pieces of {clips.length} frames of one clip; use it to rank only.")


def _identity(case: Case, result: Evaluation) -> None:
    keypoints = case.poses or case.target
    frames = case.frames[: len(keypoints.points)] if keypoints else case.frames
    photo = unit(frames[:1]) if case.photo is None else fitted_photo(frames, case.photo)
    if case.pictures is None:
        scores = identity_by_color(frames, photo, keypoints, case.parts)
    else:
        scores = identity_by_network(frames, photo, case.pictures, keypoints)
    if np.isnan(scores).all():
        raise NotMeasured("nobody is seen in frame 0 and again later")
    if keypoints is None:
        result.notes.append("Identity: of the whole picture, because no poses are given.")
    if case.photo is None:
        result.notes.append("Identity: similarity to frame 0, because no photo is given.")
    result.values.update(identity=float(np.nanmean(scores)), identity_lowest=float(np.nanmin(scores)))
    result.add_curve("identity", scores)


def _pose_error(case: Case, result: Evaluation) -> None:
    target = _need(case.target, "no target poses are given")
    poses = _need(case.poses, "neither poses of the frames nor a detector is given")
    lengths = len(poses.points), len(target.points), len(case.frames)
    shortest = min(lengths)
    if max(lengths) > shortest:
        counts = "{} poses, {} target poses, {} frames".format(*lengths)
        result.notes.append(f"Pose error: {counts}; the first {shortest} are compared.")
    found = poses.first(shortest)
    target, left_out = comparable(found, target.first(shortest))
    aspect = case.frames.shape[2] / case.frames.shape[1]
    error = pose_error(found, target, aspect, case.threshold, case.parts)
    if left_out:
        result.notes.append(f"Pose error: the poses hold no {' and no '.join(left_out)}; they are not compared.")
    result.values.update(error.values)
    result.add_curve("pck", error.pck)
    result.add_curve("joint_error", error.joint_error)


def _motion(case: Case, result: Evaluation) -> None:
    count = len(case.frames)
    if count == 1:
        raise NotMeasured("the clip has one frame")
    motion, flicker, smoothness = measure_motion(case.frames)
    if len(smoothness):
        result.add_scores("smoothness", smoothness, range(1, count - 1, 2))
    result.add_scores("flicker", flicker, range(1, count))
    result.add_scores("motion", motion, range(1, count))


def _seams(case: Case, result: Evaluation) -> None:
    scores, near = [], case.reach + NEIGHBORS + 1
    for border in case.borders:  # only the frames around a border are made floats
        start = max(0, border - near)
        scores += seam_scores(unit(case.frames[start : border + near]), [border - start], case.reach)
    if not scores:
        raise NotMeasured("the video is one part, or its window is not given")
    result.values.update(
        seam_jump=max(score.jump for score in scores),
        seam_colour=max(score.color for score in scores),
        seams_visible=sum(score.visible for score in scores),
    )


STEPS: dict[str, Callable[[Case, Evaluation], None]] = {
    "First frame": partial(_psnr_and_ssim, "first_frame", _first_frame),
    "First frame LPIPS": partial(_lpips, "first_frame", _first_frame),
    "Identity": _identity,
    "Pose error": _pose_error,
    "PSNR and SSIM against the ground truth": partial(_psnr_and_ssim, "truth", _all_frames),
    "LPIPS against the ground truth": partial(_lpips, "truth", _all_frames),
    "FVD": _fvd,
    "Motion": _motion,
    "Seams": _seams,
}
