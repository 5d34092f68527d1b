"""The names that users give to files: one rule for every node and system, so that a workflow runs wherever it goes."""

import re
from pathlib import PureWindowsPath

FORBIDDEN = set('<>:"|?*')
RULES = "no '..', no leading slash, no drive, no dot or blank at the end of a part, none of < > : \" | ? *"
# What folder_paths.get_save_image_path fills in.
PLACEHOLDERS = ("%year%", "%month%", "%day%", "%hour%", "%minute%", "%second%", "%width%", "%height%")
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


def prefix_fault(prefix: str) -> str:
    """Return why `prefix`, a filename_prefix, names no file in the output folder, as a message; "" if it does."""
    filled = prefix.strip()
    for placeholder in PLACEHOLDERS:
        filled = filled.replace(placeholder, "0")
    unfilled = UNFILLED.search(filled)
    if unfilled:
        return (
            f"filename_prefix '{prefix}' holds {unfilled[0]}, which is not filled in here: ComfyUI does that for its "
            "own save nodes alone. Write %year%-%month%-%day% for the date; %hour%, %minute%, %second%, %width% and "
            "%height% are filled in too."
        )
    if is_file_name(filled):
        return ""
    return (
        f"filename_prefix '{prefix}' does not name a file inside ComfyUI's output folder. "
        f"Give a name, with subfolders if wanted, such as dance/clip; {RULES}."
    )


def check_prefix(prefix: str | None) -> bool | str:
    """Return the answer of validate_inputs: True, or what is wrong; None is a connected prefix, not known yet."""
    return (prefix is None) or prefix_fault(prefix) or True
