"""OpenCV where it is used: without it the pack loads all the same, and Doctor tells that it is missing."""

from types import ModuleType


def import_cv2() -> ModuleType:
    """Return the module cv2; ValueError that says what to install if it is missing, torn or cannot be loaded."""
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            f"Finding and drawing poses needs OpenCV, which cannot be imported here ({error}). Install opencv-python "
            "with pip into ComfyUI's Python and restart ComfyUI. All other nodes work without it."
        ) from error
    if not hasattr(cv2, "fillConvexPoly"):
        raise ValueError(
            "OpenCV is installed only in part: of two packages of it one was uninstalled, and took files of the other. "
            "Uninstall every package with pip whose name begins with opencv, install one of them again and restart "
            "ComfyUI. All other nodes work without it."
        )
    return cv2
