"""Measure a finished video: `python -m evaluation VIDEO --photo PHOTO --help`.

VIDEO and --ground-truth are video files or folders of pictures; poses are the JSON files of Save Poses. Run it with
ComfyUI's Python: in the pack's folder as above, from any other as `python FOLDER_OF_THE_PACK/evaluation VIDEO`. Nothing
is downloaded: metrics that need a network are measured if its file is given. LPIPS needs torchmetrics, the curves of a
report need matplotlib: evaluation/requirements.txt lists both.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..comfy_client.in_process import use_comfyui
from ..comfy_client.program import exit_status
from ..dwpose.detect.blazepose import BlazePose
from ..dwpose.detect.detector import Detector
from ..dwpose.detect.runtime import CPU
from ..dwpose.detect.wholebody import DWPose
from ..dwpose.formats.pose_json import load
from ..dwpose.track.extract import ExtractSettings, extract
from ..dwpose.track.pick import main_person
from ..media.clips import read_frames, read_photo
from ..media.frames import size_of, to_float
from ..media.video_stream import VideoStream
from .body_keypoints import Keypoints, checked, found_person
from .clip_report import clip_report, evaluate_and_draw
from .evaluate import Case, describe, evaluate
from .evaluation_report import write_report
from .feature_networks import ClipFeatures, PictureFeatures
from .lpips import Lpips


def main(arguments: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(arguments)), (ValueError, OSError))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("video", type=Path, help="the finished video, or a folder of its frames")
    add("--photo", type=Path, help="the photo that it was made from")
    add("--ground-truth", type=Path, help="the video that it should be, if there is one")
    add("--poses", type=Path, help="poses found in the video")
    add("--target", type=Path, help="poses that the video should follow")
    add("--detector", nargs="*", metavar="ONNX", help="detect the poses: bundled, or files of YOLOX and DW-Pose")
    add("--threshold", type=float, default=0.1, help="of PCK, as a fraction of the person's height: %(default)s")
    add("--window", type=int, default=0, help="frames of a window, for seams; 0: the video is one part")
    add("--overlap", type=int, default=16, help="frames that windows share: %(default)s")
    add("--lpips", type=Path, help="safetensors of torchvision's VGG-16, AlexNet or SqueezeNet 1.1, for LPIPS")
    add("--clip-network", type=Path, help="ONNX file of features of clips, for FVD")
    add("--identity-network", type=Path, help="ONNX file of features of pictures, for identity")
    add("--output", type=Path, help="folder for a report in HTML, Markdown and CSV")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    case = make_case(options)
    if not options.output:
        sys.stdout.write(f"{describe(evaluate(case))}\n")
        return
    evaluation, pictures = evaluate_and_draw(case)
    sys.stdout.write(f"{describe(evaluation)}\n")
    page, _ = write_report(options.output, clip_report(options.video.stem, evaluation, pictures))
    sys.stdout.write(f"Report: {page}\n")


def make_case(options: argparse.Namespace) -> Case:
    frames, borders, reach = load_frames(options.video), [], 0
    if options.window:
        use_comfyui()
        from ..steadydancer_core.long_video.windows import window_borders  # needs ComfyUI

        borders, reach = window_borders(len(frames), options.window, options.overlap)
    lpips = Lpips(options.lpips) if options.lpips else None
    clips = ClipFeatures(options.clip_network) if options.clip_network else None
    pictures = PictureFeatures(options.identity_network) if options.identity_network else None
    photo = to_float(np.array(read_photo(options.photo)))[None] if options.photo else None
    ground_truth = load_frames(options.ground_truth) if options.ground_truth else None
    poses, target = load_keypoints(frames, options.poses, options.target, options.detector)
    return Case(frames, photo, ground_truth, poses, target, borders, reach, options.threshold, lpips, clips, pictures)


def load_frames(source: Path) -> Tensor:
    """Return the frames of a video file, each once, or of a folder of pictures, as uint8 [F, H, W, 3]."""
    stream = read_frames(source) if source.is_dir() else VideoStream(str(source), fps=0.0)
    frames = [np.asarray(frame) for frame in stream]
    sizes = {frame.shape[1::-1] for frame in frames}
    if len(sizes) != 1:
        raise ValueError(f"{source} holds {len(frames)} frames of {len(sizes)} sizes. Give frames of one size.")
    return torch.from_numpy(np.stack(frames))


def load_keypoints(
    frames: Tensor, poses: Path | None, target: Path | None, detector: list[str] | None
) -> tuple[Keypoints | None, Keypoints | None]:
    """Return the keypoints in the frames, from a file or by the detector, and the target's; None where not given."""
    size, goal = size_of(frames), None
    if target:
        goal = Keypoints.of(main_person(checked(load(target, size)[0], f"poses in {target.name}", size)))
    if poses:
        seen = checked(load(poses, size)[0], f"poses in {poses.name}", size)
    elif detector is not None:
        every_frame = ExtractSettings(detect_every=1)
        seen = extract(frames.numpy(), open_detector(detector), every_frame, allow_nobody=True)
    else:
        return None, goal
    return found_person(seen, goal), goal


def open_detector(files: list[str]) -> Detector:
    """Return the detector in files of YOLOX and DW-Pose, or the bundled one; on the CPU."""
    if not files:
        return BlazePose(CPU)
    if len(files) != 2:
        raise ValueError(f"--detector got {len(files)} files. Give none for the bundled one, or YOLOX and DW-Pose.")
    return DWPose(*files, provider=CPU)


if __name__ == "__main__":
    sys.exit(main())
