"""The pose detector: which networks find people, where their files are, and what they run on."""

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..dwpose.detect.blazepose import BlazePose
from ..dwpose.detect.detector_files import DWPOSE, YOLOX
from ..dwpose.detect.runtime import AUTO, CHOICES
from ..dwpose.detect.wholebody import COLOR_ORDERS, DWPose
from .common import model_folders
from .common.detector_choice import (
    BUNDLED,
    FROM_FILES,
    automatic_detector,
    downloads,
    files_state,
    listed_files,
    network_files,
)
from .common.node_text import show_text
from .common.pose_detection import FOLDER, SUFFIX, make_room_for, this_gpu
from .common.pose_types import PoseDetector

AUX_CKPTS = "AUX_ANNOTATOR_CKPTS_PATH"  # where controlnet_aux keeps its files if not in its own folder
BODY_ONLY = "Body only, without hands. For hands choose DW-Pose, which needs two files."


def register_folders() -> None:
    """Add models/dwpose to ComfyUI's model folders, and read beside it where DW-Pose's files lie already."""
    known = folder_paths.folder_names_and_paths
    detection = folder_paths.get_folder_paths("detection") if "detection" in known else []
    packs = folder_paths.get_folder_paths("custom_nodes") if "custom_nodes" in known else []
    ckpts = [str(path) for pack in packs for path in sorted(Path(pack).glob("*/ckpts")) if path.is_dir()]
    own = filter(None, [os.environ.get(AUX_CKPTS)])
    model_folders.register(FOLDER, SUFFIX, *detection, *ckpts, *own)


class LoadPoseDetector(io.ComfyNode):
    """Files to a pose detector, checked and tried on its provider."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerLoadPoseDetector",
            display_name="Load Pose Detector",
            category="SteadyDancer/pose",
            description=(
                "Loads the networks that detect people and their joints, tries them on the best provider that ONNX "
                "Runtime has here, and reports which one runs and why."
            ),
            search_aliases=["dwpose", "openpose", "yolox", "blazepose", "onnxruntime", "pose estimator"],
            inputs=[*_network_inputs(), *SETTINGS],
            outputs=[
                PoseDetector.Output("pose_detector", tooltip="The detector, for Extract Poses."),
                io.String.Output("report", tooltip="What was loaded, which provider runs it, and why."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, detector: str, yolox_file: str, dwpose_file: str, **_) -> str:
        if detector != FROM_FILES:
            return files_state() if detector == AUTO else ""
        files = network_files(yolox_file, dwpose_file)
        return " ".join(f"{file}:{file.stat().st_mtime_ns}" for file in files)

    @classmethod
    def execute(
        cls,
        detector: str = AUTO,
        yolox_file: str = AUTO,
        dwpose_file: str = AUTO,
        provider: str = AUTO,
        flip_test: bool = False,
        colour_order: str = "trained",
    ) -> io.NodeOutput:
        if detector == AUTO:
            loaded, hint = automatic_detector(provider, flip_test, colour_order)
            hint += downloads()
        elif detector == BUNDLED:
            make_room_for(provider)
            loaded, hint = BlazePose(provider, this_gpu()), [BODY_ONLY, *downloads()]
        elif detector == FROM_FILES:
            files = network_files(yolox_file, dwpose_file)
            make_room_for(provider)
            loaded, hint = DWPose(*files, provider, this_gpu(), flip_test, colour_order), []
        else:
            raise ValueError(f"Unknown detector '{detector}'. Choose '{AUTO}', '{BUNDLED}' or '{FROM_FILES}'.")
        report = "\n".join(dict.fromkeys([loaded.name, *loaded.notes, *hint]))
        return io.NodeOutput(loaded, report, ui=show_text(report))


def _network_inputs() -> list:
    options = [AUTO, *listed_files()]
    return [
        io.Combo.Input(
            "detector",
            options=[AUTO, BUNDLED, FROM_FILES],
            default=AUTO,
            tooltip="auto: DW-Pose if its two files are here, else the bundled detector. The bundled detector needs no "
            "download and detects the body without hands. DW-Pose is what SteadyDancer's own preprocessing uses: body "
            "and hands, from two ONNX files.",
        ),
        io.Combo.Input(
            "yolox_file",
            options=options,
            default=AUTO,
            tooltip=f"DW-Pose only: the person detector, {YOLOX.file}. 'auto' finds it by its name in models/dwpose, "
            "models/detection and the ckpts folder of controlnet_aux.",
        ),
        io.Combo.Input(
            "dwpose_file",
            options=options,
            default=AUTO,
            tooltip=f"DW-Pose only: the keypoint network, {DWPOSE.file}. 'auto' finds it by its name in the same "
            "places.",
        ),
    ]


SETTINGS: list[io.Input] = [
    io.Combo.Input(
        "provider",
        options=list(CHOICES),
        default=AUTO,
        tooltip="The device ONNX Runtime runs on. 'auto' uses the first that works, GPU before CPU. Any other "
        "choice is used or raises an error. MIGraphX and TensorRT compile for minutes and run only if chosen: "
        "TensorRT compiles after each start of ComfyUI, MIGraphX once.",
    ),
    io.Boolean.Input(
        "flip_test",
        default=False,
        tooltip="DW-Pose only: also run on the mirrored picture and average, as upstream does. Left and right are "
        "steadier; the keypoint network takes twice as long.",
    ),
    io.Combo.Input(
        "colour_order",
        options=list(COLOR_ORDERS),
        default="trained",
        tooltip="DW-Pose only: 'trained' gives each network the channel order it was trained on. 'official' swaps "
        "red and blue in both, as SteadyDancer's own preprocessing does.",
    ),
]


NODES = [LoadPoseDetector]
