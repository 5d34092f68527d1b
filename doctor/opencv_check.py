"""OpenCV's packages: they write into one folder, so one can overwrite another, and one uninstalled breaks the rest."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..dwpose.packages.opencv import PACKAGES, import_cv2
from ..dwpose.packages.pip_advice import in_report, lacks_display, without_reinstalling
from .findings import NOTE, OK, PROBLEM, WARNING, Finding
from .package_check import in_own_python, installed_version

CONTRIB, HEADLESS = "contrib", "-headless"
NEEDED_BY_HEADLESS = "libxcb"  # by opencv-python-headless 4.13.0.90 (opencv-python#1183)


@dataclass(frozen=True)
class OpenCV:
    """The installed packages of OpenCV and the one that Python loads.

    installed: version by package; imported: the version that Python loads, None if it fails; contrib and headless:
    whether that one is of a contrib or a headless package; cause: why it fails; advice: the fix where the package
    itself is complete; no_display: whether a library of the display is absent.
    """

    installed: Mapping[str, str]
    imported: str | None
    contrib: bool = False
    headless: bool = False
    cause: str = ""
    advice: str = ""
    no_display: bool = False


def installed_opencv() -> OpenCV:
    installed = {name: version for name in PACKAGES if (version := installed_version(name))}
    try:
        cv2 = import_cv2()
    except ValueError as error:
        cause, package = error.__cause__, next(iter(installed), "opencv-python")
        if not isinstance(cause, Exception):  # a folder that is left over
            return OpenCV(installed, None)
        advice = in_report(without_reinstalling("cv2", cause, package))
        return OpenCV(installed, None, False, False, str(cause), advice, lacks_display(package, cause))
    about = getattr(cv2, "version", None)  # written by pip's packages, as the module is
    contrib, headless = getattr(about, "contrib", False), getattr(about, "headless", False)
    return OpenCV(installed, cv2.__version__, contrib, headless)


def in_words(found: OpenCV) -> str:
    """Return the installed packages with their versions and the version that Python loads; "-" for none."""
    installed = ", ".join(f"{name} {version}" for name, version in found.installed.items())
    return "; loads ".join(filter(None, (installed, found.imported))) or "-"


def check_opencv(found: OpenCV) -> Finding:
    if not found.installed and found.imported:
        return Finding(OK, f"OpenCV {found.imported}, which pip has not installed.")
    if not found.installed:
        fix = in_own_python("install opencv-python")
        return Finding(PROBLEM, "OpenCV is not installed; poses cannot be drawn.", fix)
    named = " and ".join(f"{name} {version}" for name, version in sorted(found.installed.items()))
    again = in_own_python(f"install --force-reinstall --no-deps {_to_keep(found)}")
    if not found.imported:
        cause = f" ({found.cause})" if found.cause else ""
        what = f"OpenCV cannot be imported, though pip has installed {named}{cause}; poses cannot be found or drawn."
        return Finding(PROBLEM, what, found.advice or again)
    if any(CONTRIB in name for name in found.installed) and not found.contrib:
        what = f"{named}: the contrib functions, such as cv2.ximgproc, were overwritten; other packs may need them."
        return Finding(WARNING, what, again)
    if len(found.installed) == 1:
        return Finding(OK, f"One OpenCV: {named}.")
    what = f"{len(found.installed)} packages of OpenCV share one folder, and it is whole: {named}."
    return Finding(NOTE, what, f"Keep all of them. Uninstalling one breaks the rest, and this repairs it. {again}")


def _to_keep(found: OpenCV) -> str:
    """Return the fullest package, with its version; one that needs no display where the others' libraries are absent.

    The version is left out where it may be the one that does not load.
    """
    name = max(found.installed, key=lambda name: (CONTRIB in name, (HEADLESS in name) == found.headless))
    if found.no_display:
        name = name.removesuffix(HEADLESS) + HEADLESS
        if NEEDED_BY_HEADLESS in found.cause.lower() or list(found.installed) == [name]:
            return name
    version = found.installed.get(name)
    return f"{name}=={version}" if version else name
