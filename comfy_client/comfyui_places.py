"""Where ComfyUI lies: its own folder, the pack's, and the folders of Comfy Desktop, which keeps the two apart."""

import os
from collections.abc import Iterator
from glob import glob
from pathlib import Path

PACKS = "custom_nodes"
# Comfy Desktop's ComfyUI where the pack lies in a folder that the user chose; the last two since its version 1.
DESKTOP = (
    "$LOCALAPPDATA/Programs/@comfyorgcomfyui-electron/resources/ComfyUI",
    "$LOCALAPPDATA/Programs/ComfyUI/resources/ComfyUI",
    "$PROGRAMFILES/ComfyUI/resources/ComfyUI",
    "/Applications/ComfyUI.app/Contents/Resources/ComfyUI",
    "~/Applications/ComfyUI.app/Contents/Resources/ComfyUI",
    "$LOCALAPPDATA/Comfy-Desktop/ComfyUI-Installs/*/ComfyUI",
    "~/ComfyUI-Installs/*/ComfyUI",
)
SETTINGS = ("$APPDATA", "~/Library/Application Support", "~/.config", "~/.local/share")
OLD_PATHS = ("ComfyUI/extra_models_config.yaml",)
NEW_PATHS = ("Comfy Desktop/shared_model_paths.yaml", "comfyui-desktop-2/shared_model_paths.yaml")


def find_comfyui(pack: Path) -> Path:
    """Return the folder of the ComfyUI that COMFYUI_PATH names, else that the pack belongs to; ValueError if none."""
    named = os.environ.get("COMFYUI_PATH")
    if named and not _is_comfyui(Path(named)):
        raise ValueError(f"COMFYUI_PATH must name a ComfyUI folder; {named} has no comfy/sd.py.")
    places = [Path(named)] if named else [*_above(pack), *_existing(DESKTOP)]
    found = next(filter(_is_comfyui, places), None)
    if found is None:
        raise ValueError(
            "COMFYUI_PATH must name a ComfyUI folder, because the pack lies in none and Comfy Desktop was not found. "
            "It is the folder that holds ComfyUI's main.py. In PowerShell: $env:COMFYUI_PATH = 'FOLDER'; elsewhere: "
            "export COMFYUI_PATH='FOLDER'. Then run this again."
        )
    return found


def base_folder(pack: Path, comfyui: Path) -> Path | None:
    """Return the folder with `models` that the pack lies in, where that is not ComfyUI's own; None if there is none."""
    apart = (folder for folder in _above(pack) if not _is_comfyui(folder) and (folder / "models").is_dir())
    return None if comfyui in _above(pack) else next(apart, None)


def desktop_model_paths(comfyui: Path) -> list[Path]:
    """Return the files of more folders of models that Comfy Desktop starts the ComfyUI in this folder with."""
    if comfyui.parent.name.lower() == "resources":
        names = OLD_PATHS
    elif (comfyui.parent / "standalone-env").is_dir():
        names = NEW_PATHS
    else:
        return []
    return _existing(f"{folder}/{name}" for folder in SETTINGS for name in names)


def _above(pack: Path) -> list[Path]:
    """Return the folders whose custom_nodes the pack lies in, as given and with links resolved."""
    packs = dict.fromkeys((pack, pack.resolve()))
    return [folder.parent.parent for folder in packs if folder.parent.name == PACKS]


def _existing(patterns: Iterator[str] | tuple[str, ...]) -> list[Path]:
    spelled = (os.path.expanduser(os.path.expandvars(pattern)) for pattern in patterns)  # noqa: PTH111  never raises
    return [Path(path) for pattern in spelled for path in sorted(glob(pattern))]  # noqa: PTH207  whole paths


def _is_comfyui(folder: Path) -> bool:
    return (folder / "comfy" / "sd.py").is_file()
