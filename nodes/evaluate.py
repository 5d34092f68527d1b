"""Evaluate: the metrics of a finished video, curves, a contact sheet, and a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import folder_paths
from comfy_api.latest import io
from torch import Tensor

from ..dwpose.detect.detector import Detector
from ..dwpose.track.extract import ExtractSettings, extract
from ..dwpose.track.pick import main_person
from ..evaluation.body_keypoints import Keypoints, checked, found_person
from ..evaluation.clip_report import clip_report, evaluate_and_draw
from ..evaluation.evaluate import Case, describe
from ..evaluation.evaluation_report import write_new_report
from ..evaluation.feature_networks import ClipFeatures, PictureFeatures
from ..evaluation.lpips import Lpips
from ..media.atomic_write import Numbered
from ..media.frames import size_of, to_float, to_rgb
from ..media.video_stream import ImageStream
from ..steadydancer_core.long_video.windows import window_borders
from .common import model_folders
from .common.node_picture import show_picture
from .common.node_text import show_text
from .common.output_file import check_prefix, output_names
from .common.pose_detection import node_callbacks
from .common.pose_input import read_poses
from .common.pose_types import PoseDetector, PoseKeypoint

FOLDER = "measures"
WEIGHTS, NETWORKS = ".safetensors", ".onnx"
NONE = "none"
Network = TypeVar("Network")


def register_folders() -> None:
    """Add models/measures, for the networks that some metrics need, to ComfyUI's model folders."""
    for suffix in (WEIGHTS, NETWORKS):
        model_folders.register(FOLDER, suffix)


class Evaluate(io.ComfyNode):
    """IMAGE and all that is known of it to metrics, curves and a contact sheet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerEvaluate",
            display_name="Evaluate",
            category="SteadyDancer/video",
            description=(
                "Scores a finished video: first frame against the photo, identity, pose accuracy, smoothness, "
                "flicker, seams, and distance to the ground truth."
            ),
            search_aliases=["metrics", "psnr", "ssim", "lpips", "fvd", "pck", "benchmark", "quality", "compare videos"],
            is_output_node=True,
            inputs=[
                *_clip_inputs(),
                *_window_and_file_inputs(),
                io.String.Input(
                    "filename_prefix",
                    default="",
                    tooltip="Folder in ComfyUI's output for a report in HTML and Markdown, such as evaluation/dance. A "
                    "number is added, so nothing is overwritten. Empty = no report.",
                ),
            ],
            outputs=[
                io.String.Output("report", tooltip="One line per metric, then what was not measured and why."),
                io.Image.Output("plots", tooltip="The metrics over the frames, as curves."),
                io.Image.Output(
                    "sheet", tooltip="A contact sheet: photo, frames, ground truth, keypoints drawn on the frames."
                ),
                io.String.Output("values", tooltip="The metrics as JSON: name and number."),
                io.String.Output("path", tooltip="The folder of the report. Empty if there is none."),
            ],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        return not (filename_prefix or "").strip() or check_prefix(filename_prefix)

    @classmethod
    def fingerprint_inputs(
        cls, lpips_file: str = NONE, clip_network: str = NONE, identity_network: str = NONE, **_
    ) -> str:
        names = (name for name in (lpips_file, clip_network, identity_network) if name not in (None, NONE))
        return " ".join(f"{path}:{path.stat().st_mtime_ns}" for path in map(_find, names))

    @classmethod
    def execute(
        cls,
        images: Tensor,
        photo: Tensor | None = None,
        truth: Tensor | None = None,
        poses: list | None = None,
        target: list | None = None,
        detector: Detector | None = None,
        threshold: float = 0.1,
        window: int = 0,
        overlap: int = 16,
        lpips_file: str = NONE,
        clip_network: str = NONE,
        identity_network: str = NONE,
        filename_prefix: str = "",
    ) -> io.NodeOutput:
        images = to_rgb(images)
        names = _names(filename_prefix, size_of(images))  # a wrong prefix is refused before anything is measured
        lpips, clips = _network(Lpips, lpips_file), _network(ClipFeatures, clip_network)
        pictures = _network(PictureFeatures, identity_network)
        borders, reach = window_borders(len(images), window, overlap) if window else ([], 0)
        found, goal = _keypoints(images, poses, target, detector)
        ground_truth = None if truth is None else to_rgb(truth)
        case = Case(images, photo, ground_truth, found, goal, borders, reach, threshold, lpips, clips, pictures)
        evaluation, drawn = evaluate_and_draw(case)
        text, folder = describe(evaluation), ""
        if names:
            name = Path(filename_prefix.strip()).name
            folder = str(write_new_report(names, clip_report(name, evaluation, drawn)))
            text += f"\nReport: {folder}"
        sheet, plots = (to_float(picture.copy())[None] for picture in drawn.values())
        shown = [image for picture in drawn.values() for image in show_picture(cls, picture).get("images", ())]
        ui = {"images": shown, **show_text(text).as_dict()}
        return io.NodeOutput(text, plots, sheet, json.dumps(evaluation.values), folder, ui=ui)


def _clip_inputs() -> list[io.Input]:
    return [
        io.Image.Input("images", tooltip="The decoded frames of the video."),
        io.Image.Input(
            "photo",
            optional=True,
            tooltip="The photo the video was made from. It is resized to the frames. If there are several images, the "
            "first is used.",
        ),
        io.Image.Input(
            "truth",
            optional=True,
            tooltip="Ground truth frames, if you have them: the driving video itself if the photo is its first frame.",
        ),
        PoseKeypoint.Input(
            "poses",
            optional=True,
            tooltip="Poses of the finished frames, from Extract Poses with images and fps 0. If not connected, the "
            "detector finds them.",
        ),
        PoseKeypoint.Input(
            "target",
            optional=True,
            tooltip="The poses the video should follow: those connected to Draw Poses, one per frame.",
        ),
        PoseDetector.Input(
            "detector",
            optional=True,
            tooltip="Detects the poses in the frames if poses is not connected. Use the same detector as for the "
            "target.",
        ),
        io.Float.Input(
            "threshold",
            default=0.1,
            min=0.001,
            max=1.0,
            step=0.01,
            tooltip="For PCK: how far a keypoint may be from its target, as a fraction of the person's height.",
        ),
    ]


def _window_and_file_inputs() -> list[io.Input]:
    weights, networks = ([NONE, *_listed(suffix)] for suffix in (WEIGHTS, NETWORKS))
    return [
        io.Int.Input(
            "window",
            default=0,
            min=0,
            max=100001,
            tooltip="For seams: the window of Long Video (Windows), 5 or more. 0 = the video has no seams.",
        ),
        io.Int.Input(
            "overlap", default=16, min=0, max=100001, step=4, tooltip="For seams: the overlap of Long Video (Windows)."
        ),
        io.Combo.Input(
            "lpips_file",
            options=weights,
            default=NONE,
            tooltip="For LPIPS: torchvision's VGG-16, AlexNet or SqueezeNet 1.1, trained on ImageNet, as safetensors "
            "in models/measures. Nothing is downloaded.",
        ),
        io.Combo.Input(
            "clip_network",
            options=networks,
            default=NONE,
            tooltip="For FVD: an ONNX file in models/measures that turns RGB clips [N, 3, frames, height, width] in "
            "-1..1 into features.",
        ),
        io.Combo.Input(
            "identity_network",
            options=networks,
            default=NONE,
            tooltip="For identity: an ONNX file in models/measures that turns RGB pictures [N, 3, height, width] in "
            "-1..1 into features. none: the colors of the body parts are compared.",
        ),
    ]


def _keypoints(
    images: Tensor, poses: list | None, target: list | None, detector: Detector | None
) -> tuple[Keypoints | None, Keypoints | None]:
    size, goal = size_of(images), None
    if target is not None:
        goal = Keypoints.of(main_person(checked(read_poses(target), "target poses", size)))
    if poses is not None:
        seen = checked(read_poses(poses), "poses", size)
    elif detector is not None:
        callbacks = node_callbacks()

        def on_frame(index: int, *_) -> None:
            callbacks.progress(index + 1, len(images))

        stream, every_frame = ImageStream(images, fps=0.0), ExtractSettings(detect_every=1)
        seen = extract(stream, detector, every_frame, on_frame, callbacks.check, allow_nobody=True)
    else:
        return None, goal
    return found_person(seen, goal), goal


def _network(load: Callable[[Path], Network], name: str) -> Network | None:
    return None if name == NONE else load(_find(name))


def _find(name: str) -> Path:
    path = folder_paths.get_full_path(FOLDER, name)  # never leads out of the folders
    if path is None:
        raise ValueError(f"There is no file '{name}' in models/{FOLDER}. Put it there and press R, or choose another.")
    return Path(path)


def _listed(suffix: str) -> list[str]:
    names = folder_paths.get_filename_list(FOLDER) if FOLDER in folder_paths.folder_names_and_paths else []
    return [name for name in names if name.lower().endswith(suffix)]


def _names(prefix: str, size: tuple[int, int]) -> Numbered | None:
    """Return the names for the report's folder, None where none is wanted. size: (width, height) of the frames."""
    if not prefix.strip():
        return None
    try:
        return output_names(prefix, "", *size)
    except OSError as error:
        raise ValueError(
            f"No report can be saved as {prefix.strip()}: {error.strerror or error}. Choose another filename_prefix, "
            "or make the folder writable."
        ) from error


NODES = [Evaluate]
