"""OpenCV where it is used: without it the pack loads all the same, and Doctor reports that it is missing."""

from types import ModuleType

from .pip_advice import IMPORT_ERRORS, distributions, import_failure, torn

# The one to keep first: contrib has all that the others have.
PACKAGES = ("opencv-contrib-python", "opencv-contrib-python-headless", "opencv-python", "opencv-python-headless")


def import_cv2() -> ModuleType:
    """Return the module cv2; ValueError that says what to do if it is missing, does not load or is torn."""
    needed = "Poses and SSIM need OpenCV; the rest works without it."
    try:
        import cv2
    except IMPORT_ERRORS as error:
        raise ValueError(f"{needed} {import_failure('OpenCV', 'cv2', error, _package())}") from error
    if not hasattr(cv2, "fillConvexPoly"):
        raise ValueError(f"{needed} {torn('OpenCV', 'cv2', _package())}")
    return cv2


def _package() -> str:
    """Return the package to keep of those installed, or to install where there is none."""
    installed = distributions("cv2")
    return next((name for name in PACKAGES if name in installed), "opencv-python")
