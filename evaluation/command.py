"""Measure a finished video: `python -m evaluation VIDEO --photo PHOTO --help`.

VIDEO and --truth are video files or folders of pictures; poses are the JSON files of Save Poses. Run it with ComfyUI's
Python: in the pack's folder as above, from any other as `python FOLDER_OF_THE_PACK/evaluation VIDEO`. Nothing is
downloaded: what needs a network is measured if its file is given.
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
from ..dwpose.detect.runtime import CPU, open_session
from ..dwpose.detect.wholebody import DWPose
from ..dwpose.formats.pose_json import load
from ..dwpose.poses import PoseClip
from ..dwpose.skeleton import LIMBS
from ..dwpose.track.search import search
from ..media.clips import read_frames, read_photo
from ..media.frames import size_of, to_float
from ..media.video_stream import VideoStream
from .body_keypoints import Keypoints, check_canvas, found_person, main_person
from .contact_sheet import contact_sheet
from .evaluation_report import write_report
from .feature_networks import ClipFeatures, PictureFeatures, check_clips, check_pictures
from .measure import Case, Evaluation, describe, measure
from .perceptual import Lpips
from .plots import draw_curves


def main(arguments: list[str] | None = None) -> int:
    """Evaluate; 0 after the figures, 1 after an error in words, 130 after Ctrl-C."""
    options = parse(arguments)
    return exit_status(lambda: run(options), (ValueError, OSError))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options; argparse ends the program on wrong ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("video", type=Path, help="the finished video, or a folder of its frames")
    add("--photo", type=Path, help="the photo that it was made from")
    add("--truth", type=Path, help="the video as it should be, where that is known")
    add("--poses", type=Path, help="poses seen in the video")
    add("--target", type=Path, help="poses that the video should follow")
    add("--detector", nargs="*", metavar="ONNX", help="look for the poses: bundled, or files of YOLOX and DW-Pose")
    add("--threshold", type=float, default=0.1, help="of PCK in parts of the person's height: %(default)s")
    add("--window", type=int, default=0, help="frames of a window, for seams; 0: the video is one part")
    add("--overlap", type=int, default=16, help="frames that windows share: %(default)s")
    add("--lpips", type=Path, help="safetensors of torchvision's VGG-16, AlexNet or SqueezeNet 1.1, for LPIPS")
    add("--clip-network", type=Path, help="ONNX file of features of clips, for FVD")
    add("--identity-network", type=Path, help="ONNX file of features of pictures, for identity")
    add("--output", type=Path, help="folder for a report in HTML and Markdown")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Measure, tell the figures, and write the report if it is asked for."""
    case = make_case(options)
    evaluation = measure(case)
    sys.stdout.write(f"{describe(evaluation)}\n")
    if options.output:
        page, _ = write(case, evaluation, options.output, options.video.stem)
        sys.stdout.write(f"Report: {page}\n")


def make_case(options: argparse.Namespace) -> Case:
    """Return the video with all that it is measured against."""
    frames = load_frames(options.video)
    poses, target = _keypoints(frames, options)
    borders, reach = _borders(len(frames), options)
    return Case(
        frames,
        _photo(options.photo) if options.photo else None,
        load_frames(options.truth) if options.truth else None,
        poses=poses, target=target, borders=borders, reach=reach, threshold=options.threshold, **_networks(options),
    )  # fmt: skip


def write(case: Case, evaluation: Evaluation, folder: Path, name: str) -> tuple[Path, Path]:
    """Write the report of one clip with its pictures; return the HTML and the Markdown file."""
    pictures = {"Contact sheet": contact_sheet(case, LIMBS.tolist()), "Over the frames": draw_curves(evaluation.curves)}
    return write_report([{"name": name, **evaluation.values}], folder, "Evaluation", pictures, evaluation.notes)


def load_frames(source: Path) -> Tensor:
    """Return the frames of a video file, each once, or of a folder of pictures, as uint8 [F, H, W, 3]."""
    stream = read_frames(source) if source.is_dir() else VideoStream(str(source), fps=0.0)
    frames = [np.asarray(frame) for frame in stream]
    sizes = {frame.shape[1::-1] for frame in frames}
    if len(sizes) != 1:
        raise ValueError(f"{source} holds {len(frames)} frames of {len(sizes)} sizes. Give frames of one size.")
    return torch.from_numpy(np.stack(frames))


def _photo(file: Path) -> Tensor:
    return to_float(np.array(read_photo(file)))[None]


def _keypoints(frames: Tensor, options: argparse.Namespace) -> tuple[Keypoints | None, Keypoints | None]:
    target = main_person(_poses(options.target, frames).tracks) if options.target else None
    if options.poses:
        seen = _poses(options.poses, frames)
    elif options.detector is not None:
        seen = search(frames.numpy(), _detector(options.detector), size_of(frames), len(frames))
    else:
        return None, target
    return found_person(seen.tracks, seen.frames, target), target


def _poses(file: Path, frames: Tensor) -> PoseClip:
    clip, _ = load(file, size_of(frames))
    check_canvas(f"poses in {file.name}", (clip.width, clip.height), size_of(frames))
    return clip


def _detector(files: list[str]):
    if len(files) not in (0, 2):
        raise ValueError(f"--detector got {len(files)} files. Give none for the bundled one, or YOLOX and DW-Pose.")
    return DWPose(*map(Path, files), CPU, None) if files else BlazePose(CPU, None)


def _borders(frames: int, options: argparse.Namespace) -> tuple[list[int], int]:
    if not options.window:
        return [], 0
    use_comfyui()
    from ..steadydancer_core.long_video.windows import window_borders  # needs ComfyUI

    return window_borders(frames, options.window, options.overlap)


def _networks(options: argparse.Namespace) -> dict:
    """Return the networks that were given, by the field of Case."""
    loaders = {
        "lpips": (options.lpips, Lpips),
        "clips": (options.clip_network, lambda path: ClipFeatures(open_session(path, CPU, check=check_clips))),
        "pictures": (
            options.identity_network, lambda path: PictureFeatures(open_session(path, CPU, check=check_pictures))
        ),
    }  # fmt: skip
    return {field: load(path) for field, (path, load) in loaders.items() if path}


if __name__ == "__main__":
    sys.exit(main())
