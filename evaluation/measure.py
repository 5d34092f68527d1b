"""One clip against all that is known of it: the photo, the poses it should follow, the true answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from ..steadydancer_core.long_video.seams import NEIGHBOURS, SeamScore, seam_scores
from .body_keypoints import Keypoints, Parts, comparable
from .feature_networks import ClipFeatures, PictureFeatures
from .fidelity import fitted_photo, fitted_truth, frame_psnr, frame_ssim
from .frechet import frechet_distance
from .identity import identity_by_colour, identity_by_network
from .metrics import MEASURES, measure_of, number
from .motion import measure_motion
from .perceptual import Lpips
from .pose_error import THRESHOLD, pose_error
from .shared_pieces import NotMeasured, check_frames, unit


@dataclass(frozen=True, eq=False)
class Case:
    """A clip, and what it is measured against; whatever is None or empty is not measured.

    frames, truth: [F, H, W, 3]; photo: [B, h, w, C], fitted to the frames as for the model. poses: keypoints seen in
    the frames; target: those that should be. borders, reach: as `long_video.windows.window_borders` gives them.
    threshold: of PCK, in person's heights. parts: keypoints by part of the body.
    """

    frames: Tensor
    photo: Tensor | None = None
    truth: Tensor | None = None
    poses: Keypoints | None = None
    target: Keypoints | None = None
    borders: Sequence[int] = ()
    reach: int = 0
    threshold: float = THRESHOLD
    parts: Parts | None = None
    lpips: Lpips | None = None
    clips: ClipFeatures | None = None
    pictures: PictureFeatures | None = None

    @property
    def aspect(self) -> float:
        """Width / height of the frames."""
        return self.frames.shape[2] / self.frames.shape[1]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """values: figures by the names of `catalogue.MEASURES`, in its order. curves: float64 [F] by name, NaN where a
    frame has no value. notes: what was not measured and why, and what to know about the rest."""

    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, values: Mapping[str, float], curves: Mapping[str, np.ndarray] | None = None) -> None:
        """Add figures and curves."""
        self.values.update(values)
        self.curves.update(curves or {})


def evaluate(frames: Tensor, **known) -> dict[str, float]:
    """Return the figures of a clip as one flat dict; `known` are the other fields of `Case`. See `measure`."""
    return measure(Case(frames, **known)).values


def measure(case: Case) -> Evaluation:
    """Measure all that can be measured. ValueError for inputs that are no frames, photo or keypoints of one kind."""
    result = Evaluation()
    case = _checked(case, result)
    for name, step in STEPS.items():
        try:
            step(case, result)
        except NotMeasured as reason:
            result.notes.append(f"{name}: not measured: {reason}.")
    order = {name: place for place, name in enumerate(MEASURES)}
    values = dict(sorted(result.values.items(), key=lambda item: order.get(item[0], len(order))))
    return replace(result, values=values)


def describe(evaluation: Evaluation) -> str:
    """Return the figures, one a line, then the notes."""
    lines = [
        " ".join([f"{measure_of(name).label}: {number(name, value)}", measure_of(name).unit]).strip()
        for name, value in evaluation.values.items()
    ]
    return "\n".join([*lines, *evaluation.notes])


def _checked(case: Case, result: Evaluation) -> Case:
    check_frames(case.frames)
    if case.truth is None:
        return case
    check_frames(case.truth, "The true answer")
    if case.truth.shape[1:3] != case.frames.shape[1:3]:
        sizes = [f"{clip.shape[2]}x{clip.shape[1]}" for clip in (case.truth, case.frames)]
        result.notes.append(f"The true answer of {sizes[0]} was fitted to the frames of {sizes[1]}.")
    if len(case.truth) != len(case.frames):
        result.notes.append(_cut_note("true answer", len(case.truth), len(case.frames)))
    return replace(case, truth=fitted_truth(case.frames, case.truth))


def _cut_note(what: str, has: int, frames: int) -> str:
    return f"The {what} has {has} frames, the clip {frames}: the first {min(has, frames)} are compared."


def _first_frame(case: Case, result: Evaluation) -> None:
    _need(case.photo, "no photo is given")
    first, photo = unit(case.frames[:1]), fitted_photo(case.frames, case.photo)
    result.add({"first_frame_psnr": float(frame_psnr(first, photo)[0])})
    result.add({"first_frame_ssim": float(frame_ssim(first, photo)[0])})


def _first_frame_lpips(case: Case, result: Evaluation) -> None:
    _need(case.photo, "no photo is given")
    _need(case.lpips, "no file with its weights is given")
    scores = case.lpips(unit(case.frames[:1]), fitted_photo(case.frames, case.photo))
    result.add({"first_frame_lpips": float(scores[0])})


def _identity(case: Case, result: Evaluation) -> None:
    keypoints = case.poses or case.target
    count = min(len(case.frames), len(keypoints.points)) if keypoints else len(case.frames)
    frames = case.frames[:count]
    photo = unit(frames[:1]) if case.photo is None else fitted_photo(frames, case.photo)
    if case.pictures is None:
        scores = identity_by_colour(frames, photo, keypoints, case.parts)
    else:
        scores = identity_by_network(frames, photo, case.pictures, keypoints)
    if np.isnan(scores).all():
        raise NotMeasured("nobody is seen in frame 0 and again later")
    if keypoints is None:
        result.notes.append("Identity: of the whole picture, because no poses are given.")
    if case.photo is None:
        result.notes.append("Identity: likeness to frame 0, because no photo is given.")
    values = {"identity": float(np.nanmean(scores)), "identity_lowest": float(np.nanmin(scores))}
    result.add(values, {"identity": _padded(scores, len(case.frames))})


def _pose_error(case: Case, result: Evaluation) -> None:
    _need(case.target, "no target poses are given")
    _need(case.poses, "neither poses of the frames nor a detector is given")
    lengths = len(case.poses.points), len(case.target.points), len(case.frames)
    if len(set(lengths)) > 1:
        result.notes.append("Pose error: " + "{} poses, {} target poses, {} frames".format(*lengths) + "; the first "
                            f"{min(lengths)} are compared.")  # fmt: skip
    found, target = case.poses.first(min(lengths)), case.target.first(min(lengths))
    target, left_out = comparable(found, target)
    error = pose_error(found, target, case.aspect, case.threshold, case.parts)
    if left_out:
        result.notes.append(f"Pose error: the poses hold no {' and no '.join(left_out)}; they are not compared.")
    curves = {"pck": error.pck, "joint_error": error.joint_error}
    result.add(error.values, {name: _padded(curve, len(case.frames)) for name, curve in curves.items()})


def _truth(case: Case, result: Evaluation) -> None:
    _need(case.truth, "no true answer is given")
    scores = {"truth_psnr": frame_psnr, "truth_ssim": frame_ssim}
    for name, score in scores.items():
        _add_scores(name, score(*_pair(case)), case, result)


def _truth_lpips(case: Case, result: Evaluation) -> None:
    _need(case.truth, "no true answer is given")
    _need(case.lpips, "no file with its weights is given")
    _add_scores("truth_lpips", case.lpips(*_pair(case)), case, result)


def _fvd(case: Case, result: Evaluation) -> None:
    _need(case.truth, "no true answer is given")
    _need(case.clips, "no feature network is given")
    features = [case.clips(clip) for clip in _pair(case)]
    result.add({"fvd": frechet_distance(*features)})
    result.notes.append(f"FVD: of {len(features[0])} pieces of {case.clips.length} frames of one clip; it only ranks.")


def _motion(case: Case, result: Evaluation) -> None:
    if len(case.frames) == 1:
        raise NotMeasured("the clip has one frame")
    motion, frames = measure_motion(case.frames), len(case.frames)
    for name, scores, places in (
        ("smoothness", motion.smoothness, range(1, frames - 1, 2)),
        ("flicker", motion.flicker, range(1, frames)),
        ("motion", motion.motion, range(1, frames)),
    ):
        if len(scores):
            result.add({name: float(scores.mean())}, {name: _placed(scores.numpy(), places, frames)})


def _seams(case: Case, result: Evaluation) -> None:
    scores = [score for border in case.borders for score in _seam(case, border)]
    if not scores:
        raise NotMeasured("the video is one part, or its window is not given")
    result.add(
        {
            "seam_jump": max(score.jump for score in scores),
            "seam_colour": max(score.colour for score in scores),
            "seams_visible": sum(score.visible for score in scores),
        }
    )


def _seam(case: Case, border: int) -> list[SeamScore]:
    """Return the score of one border, of which only the frames around it are made floats."""
    start = max(0, border - case.reach - NEIGHBOURS - 1)
    return seam_scores(unit(case.frames[start : border + case.reach + NEIGHBOURS + 1]), [border - start], case.reach)


STEPS: dict[str, Callable[[Case, Evaluation], None]] = {
    "First frame": _first_frame,
    "First frame LPIPS": _first_frame_lpips,
    "Identity": _identity,
    "Pose error": _pose_error,
    "PSNR and SSIM against the truth": _truth,
    "LPIPS against the truth": _truth_lpips,
    "FVD": _fvd,
    "Motion": _motion,
    "Seams": _seams,
}


def _need(value: object, reason: str) -> None:
    if value is None:
        raise NotMeasured(reason)


def _pair(case: Case) -> tuple[Tensor, Tensor]:
    count = min(len(case.frames), len(case.truth))
    return case.frames[:count], case.truth[:count]


def _add_scores(name: str, scores: Tensor, case: Case, result: Evaluation) -> None:
    result.add({name: float(scores.mean())}, {name: _padded(scores.numpy(), len(case.frames))})


def _padded(scores: np.ndarray, frames: int) -> np.ndarray:
    return _placed(scores, range(len(scores)), frames)


def _placed(scores: np.ndarray, places: range, frames: int) -> np.ndarray:
    curve = np.full(frames, np.nan)
    curve[list(places)] = scores
    return curve
