"""The names that users give to files: one rule for every node and system, so that a workflow runs wherever it goes.

`prefix_fault` and `file_fault` judge the name alone, `path_fault` its path on this system, `place_fault` what is on the
disk. All return a message, "" if nothing is wrong.
"""

import os
import re
import time
from pathlib import Path, PureWindowsPath

FORBIDDEN = set('<>:"|?*')
RULES = (
    "no '..', no leading slash, no drive, no dot or blank at the end of a part, none of < > : \" | ? *, no invisible "
    "character"
)
# Windows keeps these for devices, whatever follows the first dot.
RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in "123456789\xb9\xb2\xb3"
}
MAX_BYTES = 255  # of one name in UTF-8, on most disks; NTFS takes 255 UTF-16 units, which is never less
MAX_SHOWN = 120  # characters of a name in a message
NUMBER = "_00001_"  # added to a prefix by ComfyUI's counter
PART_NAME = 38  # characters of the name that a file has while it is written
MAX_WINDOWS_PATH, MAX_WINDOWS_LONG_PATH = 259, 32766
# What folder_paths.get_save_image_path fills in.
PLACEHOLDERS = ("%year%", "%month%", "%day%", "%hour%", "%minute%", "%second%", "%width%", "%height%")
UNKNOWN_SIDE = 1000  # before the run: as long as most widths and heights
# %date:yyyy-MM-dd%, %seed%, %Node title.widget%: ComfyUI's page fills them in, but for its own save nodes alone.
UNFILLED = re.compile(r"%(?:date:[^%]*|[^%\s/\\]+|[^%/\\]+\.[^%/\\]+)%")


def is_file_name(name: str) -> bool:
    r"""Return whether `name` names a file below a folder on every system; / and \ divide it into parts."""
    path = PureWindowsPath(name)  # knows both / and \ and drive letters
    if not path.name or path.anchor or name.endswith(("/", "\\")):
        return False
    # Windows drops dots and blanks at the end of a part, so '.. ' is '..' there.
    whole = all(part == part.rstrip(". ") for part in path.parts)
    return whole and name.isprintable() and not FORBIDDEN & set(name)


def file_fault(field: str, name: str, ending: str = "") -> str:
    """Return why no disk takes a file called `name` + `ending`, or its folders.

    field: the input that the name comes from. name: one for which `is_file_name` holds.
    """
    for part in PureWindowsPath(name).parts:
        if part.partition(".")[0].rstrip().upper() in RESERVED:
            return (
                f"{field} {quoted(name)}: Windows keeps the name {quoted(part)} for a device and takes no file or "
                f"folder that is called so. Choose another name, such as my_{part}."
            )
    excess = max(len(part.encode()) for part in Path(name + ending).parts) - MAX_BYTES
    if excess <= 0:
        return ""
    added = f", with the {quoted(ending)} that is added," if ending else ""
    return (
        f"{field} {quoted(name)} is too long: a name has at most {MAX_BYTES} bytes between two slashes{added} and this "
        f"one has {excess} more. Shorten it by {excess} letters; a Chinese character counts as 3."
    )


def fill_in(prefix: str, width: int = UNKNOWN_SIDE, height: int = UNKNOWN_SIDE) -> str:
    """Return `prefix` without blanks around it and with its placeholders filled in, as ComfyUI does it."""
    filled, values = prefix.strip(), (*time.strftime("%Y %m %d %H %M %S").split(), str(width), str(height))
    for placeholder, value in zip(PLACEHOLDERS, values, strict=True):
        filled = filled.replace(placeholder, value)
    return filled


def prefix_fault(prefix: str, ending: str = "") -> str:
    """Return why `prefix`, a filename_prefix, names no file with this ending in the output folder."""
    filled = fill_in(prefix)
    unfilled = UNFILLED.search(filled)
    if unfilled:
        return (
            f"filename_prefix {quoted(prefix)} holds {unfilled[0]}, which is not filled in here: ComfyUI does that for "
            "its own save nodes alone. Write %year%-%month%-%day% for the date; %hour%, %minute%, %second%, %width% "
            "and %height% are filled in too."
        )
    if is_file_name(filled):
        return file_fault("filename_prefix", filled, NUMBER + ending)
    return (
        f"filename_prefix {quoted(prefix)} does not name a file inside ComfyUI's output folder. "
        f"Give a name, with subfolders if wanted, such as dance/clip; {RULES}."
    )


def place_fault(field: str, path: Path) -> str:
    """Return why no folder for `path` can be made, going by what is on the disk now."""
    there = (place for place in path.parents if os.path.lexists(place))
    blocking = next((place for place in there if not os.path.isdir(place)), None)  # noqa: PTH112  never raises
    if not blocking:
        return ""
    return f"{field}: {blocking} is no folder, so nothing can be saved below it. Choose another subfolder."


def path_fault(field: str, path: Path) -> str:
    """Return that `path` is longer than this system takes."""
    longest, limit = path.parent / max(path.name, "x" * PART_NAME, key=_length), _longest_path()
    excess = _length(str(longest)) - limit
    if excess <= 0:
        return ""
    advice = " or switch long paths on in Windows" if limit == MAX_WINDOWS_PATH else ""
    return (
        f"{field} leads to a path that is {excess} characters too long for this system, which takes {limit}: "
        f"{quoted(str(path))}. Take fewer or shorter subfolders{advice}."
    )


def quoted(name: str) -> str:
    """Return `name` in quotes for a message: cut if it is long, with a code for what cannot be shown."""
    cut = name if len(name) <= MAX_SHOWN else f"{name[: MAX_SHOWN - 3]}..."
    shown = (char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
    return f"'{''.join(shown)}'"


def _length(name: str) -> int:
    """Return the length of a path in bytes, on Windows in characters."""
    return len(name if os.name == "nt" else name.encode(errors="surrogateescape"))


def _longest_path() -> int:
    """Return the `_length` of the longest path."""
    if os.name != "nt":
        return os.pathconf("/", "PC_PATH_MAX") - 1  # less the zero at its end
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            enabled, _ = winreg.QueryValueEx(key, "LongPathsEnabled")
    except OSError:  # Windows before 10 has no such value
        enabled = 0
    return MAX_WINDOWS_LONG_PATH if enabled else MAX_WINDOWS_PATH
