"""Which pose detector is used: DW-Pose where its two files are, else the bundled one."""

from pathlib import Path

import folder_paths

from ...dwpose.detect.blazepose import BlazePose
from ...dwpose.detect.detector import Detector
from ...dwpose.detect.detector_files import DWPOSE, YOLOX, NetworkFile, download_note
from ...dwpose.detect.runtime import AUTO
from ...dwpose.detect.wholebody import DWPose
from .pose_detection import FOLDER, SUFFIX, make_room_for, this_gpu

BUNDLED = "bundled body-only (BlazePose)"
FROM_FILES = "DW-Pose (YOLOX + DW-Pose files)"
HANDS_NOT_SEEN = "Hands are not seen: the bundled detector finds the body only. For hands get DW-Pose's two files: "
WHERE_TO_GET = "Load Pose Detector says where."


def automatic_detector(
    provider: str = AUTO, flip_test: bool = False, color_order: str = "trained"
) -> tuple[Detector, list[str]]:
    """Return DW-Pose where its files are and can be run, else the bundled detector and why hands are not seen."""
    make_room_for(provider)
    yolox, dwpose = path_of(YOLOX, AUTO), path_of(DWPOSE, AUTO)
    try:
        if yolox and dwpose:
            return DWPose(yolox, dwpose, provider, this_gpu(), flip_test, color_order), []
        remark = HANDS_NOT_SEEN + WHERE_TO_GET
    except ValueError as error:
        remark = f"The files of DW-Pose cannot be used here, so hands are not seen. {error}"
    return BlazePose(provider, this_gpu()), [remark]


def network_files(yolox_file: str, dwpose_file: str) -> tuple[Path, Path]:
    """Return the paths of the files chosen, or found by their names; ValueError that says how to get a missing one."""
    return _find(YOLOX, yolox_file), _find(DWPOSE, dwpose_file)


def files_state() -> str:
    """Return what changes when DW-Pose's files come or go: the node that looks for them then runs again."""
    paths = [path_of(kind, AUTO) for kind in (YOLOX, DWPOSE)]
    return " ".join(f"{path}:{path.stat().st_mtime_ns}" for path in paths if path)


def path_of(kind: NetworkFile, name: str) -> Path | None:
    """Return the path of the listed file `name`, of "auto" that with the published name; None if there is none."""
    found = _named(kind) if name == AUTO else name
    path = folder_paths.get_full_path(FOLDER, found) if found else None  # never leads out of the folders
    return Path(path) if path and path.lower().endswith(SUFFIX) else None


def listed_files() -> list[str]:
    """Return what can be chosen; nothing before the folder is registered or while none exists."""
    return folder_paths.get_filename_list(FOLDER) if FOLDER in folder_paths.folder_names_and_paths else []


def downloads() -> list[str]:
    """Return how to get the files that are not there; nothing if both are."""
    missing = [kind for kind in (YOLOX, DWPOSE) if _named(kind) is None]
    return [download_note(missing), f"Put into {_own_folder()} and press R."] if missing else []


def _find(kind: NetworkFile, name: str) -> Path:
    path = path_of(kind, name)
    if path is None:
        wanted = kind.file if name == AUTO else name
        folders = "\n".join(folder_paths.get_folder_paths(FOLDER))
        raise ValueError(
            f"There is no {kind.slot} file '{wanted}' here. Choose the detector '{BUNDLED}', which needs no file, or "
            f"download {kind.file} into {_own_folder()} and press R.\n{download_note([kind])}\nLooked in:\n{folders}"
        )
    return path


def _named(kind: NetworkFile) -> str | None:
    """Return the listed file that has the published name, in whichever subfolder."""
    return next((name for name in listed_files() if Path(name).name.lower() == kind.file), None)


def _own_folder() -> str:
    return folder_paths.get_folder_paths(FOLDER)[0]
