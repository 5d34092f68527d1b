"""Poses in files, and in the dialects of other packs: nothing has to be detected twice, or here."""

from pathlib import Path

import folder_paths
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from ..dwpose.formats import pose_json
from ..dwpose.formats.dialects import DIALECTS, STRICT, write
from ..dwpose.formats.keypoints import to_keypoints
from ..dwpose.poses import PoseClip
from ..media.frame_size import MODEL_FPS
from .common.node_text import show_text
from .common.output_file import check_prefix, output_names
from .common.pose_input import fps_input, read_poses
from .common.pose_types import PoseKeypoint

SUFFIX = ".json"
UNCHANGED = "unchanged"
DIALECT_TOOLTIP = (
    "For a node of another pack; SteadyDancer's own nodes read every dialect. Strict is what every known pack reads. "
    "DWPose and OpenPose have null for a hand or face that is not seen, SDPose has real confidences and the hands "
    "under each other's name, BODY_25 is what OpenPose itself saves."
)


class SavePoses(io.ComfyNode):
    """POSE_KEYPOINT to one JSON file under output/."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSavePoses",
            display_name="Save Poses",
            category="SteadyDancer/pose",
            description=(
                "Saves the poses of a dance as a JSON file that pose editors and other packs can read too. Load Poses "
                "restores them exactly."
            ),
            search_aliases=["save keypoints", "export pose", "openpose json", "dwpose json", "convert keypoints"],
            is_output_node=True,
            inputs=[
                PoseKeypoint.Input("poses", tooltip="The poses, from Extract Poses or from any other pack."),
                io.String.Input(
                    "filename_prefix",
                    default="poses/SteadyDancer",
                    tooltip="Name of the file, with subfolders if you like. %year%, %month%, %day%, %hour%, %minute%, "
                    "%second%, %width% and %height% are filled in. A number is added, so nothing is overwritten.",
                ),
                fps_input("Frames per second of the poses, stored in the file. Connect the fps of Extract Poses."),
                io.Combo.Input(
                    "dialect",
                    options=[UNCHANGED, *DIALECTS],
                    default=UNCHANGED,
                    optional=True,
                    tooltip="How the poses are written, in the file and in the output. unchanged: strict in the file, "
                    f"and the output equals the input. {DIALECT_TOOLTIP}",
                ),
            ],
            outputs=[
                PoseKeypoint.Output(id="poses_out", display_name="poses", tooltip="The poses, in that dialect."),
                io.String.Output("path", tooltip="Path of the file on the machine that runs ComfyUI."),
            ],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        return check_prefix(filename_prefix, SUFFIX)

    @classmethod
    def execute(
        cls, poses: list, filename_prefix: str, fps: float = MODEL_FPS, dialect: str = UNCHANGED
    ) -> io.NodeOutput:
        clip = read_poses(poses)
        written = poses if dialect == UNCHANGED else write(clip, dialect)
        in_file = STRICT if dialect == UNCHANGED else dialect
        try:
            names = output_names(filename_prefix, SUFFIX, clip.width, clip.height)
        except OSError as error:
            fault = error.strerror or error
            raise ValueError(f"No file can be written for '{filename_prefix}': {fault}.") from error
        path = pose_json.save_new(clip, names, fps, in_file)
        return io.NodeOutput(written, str(path), ui=show_text(f"{path}\n{_summary(clip, fps)}"))


class LoadPoses(io.ComfyNode):
    """A JSON file under input/ or output/ to POSE_KEYPOINT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerLoadPoses",
            display_name="Load Poses",
            category="SteadyDancer/pose",
            description="Loads poses from a JSON file by Save Poses, another pack or a pose editor.",
            search_aliases=["load keypoints", "import pose", "openpose json", "dwpose json"],
            inputs=_load_inputs(),
            outputs=[
                PoseKeypoint.Output("poses", tooltip="The poses, for Align Poses or any node that takes keypoints."),
                io.Float.Output("fps_out", display_name="fps", tooltip="Frames per second of the poses."),
                io.Int.Output("frame_count", display_name="frame_count", tooltip="Number of frames in the file."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        return True if file is None or folder_paths.exists_annotated_filepath(file) else _missing(file)

    @classmethod
    def fingerprint_inputs(cls, file: str, **_) -> int:
        return _find(file).stat().st_mtime_ns

    @classmethod
    def execute(
        cls, file: str, fps: float = MODEL_FPS, width: int = 0, height: int = 0, dialect: str = STRICT
    ) -> io.NodeOutput:
        canvas = (width, height) if width and height else None
        clip, own_fps = pose_json.load(_find(file), canvas, throw_exception_if_processing_interrupted)
        rate = own_fps or fps
        poses = to_keypoints(clip) if dialect == STRICT else write(clip, dialect)
        return io.NodeOutput(poses, rate, clip.frames, ui=show_text(_summary(clip, rate)))


def _load_inputs() -> list[io.Input]:
    size = "0: as the file says. What OpenPose itself saves does not say it: give the size of its video."
    return [
        io.Combo.Input(
            "file",
            options=_files(),
            tooltip="A .json file in ComfyUI's input folder, or in its output folder, marked [output]. JSON files "
            "cannot be uploaded: copy the file into the input folder, then press R in ComfyUI.",
        ),
        fps_input("Frames per second, for files that do not store it. Files by Save Poses do."),
        io.Int.Input("width", default=0, min=0, max=16384, tooltip=f"Width of the picture in pixels. {size}"),
        io.Int.Input("height", default=0, min=0, max=16384, tooltip=f"Height of the picture in pixels. {size}"),
        io.Combo.Input(
            "dialect",
            options=list(DIALECTS),
            default=STRICT,
            optional=True,
            tooltip=f"How the output is written. {DIALECT_TOOLTIP}",
        ),
    ]


def _files() -> list[str]:
    """Return the .json files in input/, then those in output/, as ComfyUI annotates them."""
    folders = {"": folder_paths.get_input_directory(), " [output]": folder_paths.get_output_directory()}
    return [
        f"{path.relative_to(folder).as_posix()}{mark}"
        for mark, folder in folders.items()
        for path in sorted(Path(folder).rglob(f"*{SUFFIX}"))
    ]


def _missing(file: str) -> str:
    return f"There is no file '{file}'. Copy the .json file into ComfyUI's input folder and press R, or choose another."


def _find(file: str) -> Path:
    """Return the path of `file`, which never leads out of input/, output/ or temp/."""
    if not folder_paths.exists_annotated_filepath(file):
        raise ValueError(_missing(file))
    path = Path(folder_paths.get_annotated_filepath(file))
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"{path.name} is no {SUFFIX} file. Choose a file of poses.")
    return path


def _summary(clip: PoseClip, fps: float) -> str:
    people = "1 person" if len(clip.tracks) == 1 else f"{len(clip.tracks)} people"
    return f"{clip.frames} frames of {clip.width} x {clip.height} at {fps:g} fps, {people}"


NODES = [SavePoses, LoadPoses]
