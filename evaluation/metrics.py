"""What each figure means: its label, unit, digits, and which way is better. The order is that of tables."""

from typing import NamedTuple


class Measure(NamedTuple):
    """better: 1 if higher is, -1 if lower is, 0 if neither."""

    label: str
    unit: str
    digits: int
    better: int
    meaning: str


PARTS = ("head", "hands", "feet", "body")

MEASURES: dict[str, Measure] = {
    "first_frame_psnr": Measure("First frame PSNR", "dB", 2, 1, "Frame 0 against the photo. 100 if they are equal."),
    "first_frame_ssim": Measure("First frame SSIM", "", 4, 1, "Frame 0 against the photo. 1 if they are equal."),
    "first_frame_lpips": Measure("First frame LPIPS", "", 4, -1, "Frame 0 against the photo, as a network sees it."),
    "identity": Measure("Identity", "", 4, 1, "Likeness of the person to the photo's, mean of the frames. 1: alike."),
    "identity_lowest": Measure("Lowest identity", "", 4, 1, "The same in the frame where it is lowest."),
    "pck": Measure("PCK", "", 4, 1, "Share of the target's keypoints found within the threshold. Mean of the parts."),
    **{f"pck_{part}": Measure(f"PCK {part}", "", 4, 1, f"The same for the {part}.") for part in PARTS},
    "joint_error": Measure("Joint error", "% of height", 2, -1, "Mean distance of those found. Mean of the parts."),
    **{
        f"joint_error_{part}": Measure(f"Joint error {part}", "% of height", 2, -1, f"The same for the {part}.")
        for part in PARTS
    },
    "found": Measure("Keypoints found", "", 4, 1, "Share of the target's keypoints that were found at all."),
    "truth_psnr": Measure("PSNR", "dB", 2, 1, "Every frame against the true answer, mean. 100 if all are equal."),
    "truth_ssim": Measure("SSIM", "", 4, 1, "Every frame against the true answer, mean. 1 if all are equal."),
    "truth_lpips": Measure("LPIPS", "", 4, -1, "Every frame against the true answer, as a network sees it."),
    "fvd": Measure("FVD", "", 1, -1, "Frechet distance of the clip's features from the true answer's."),
    "smoothness": Measure("Smoothness", "", 4, 1, "1 less the difference of odd frames from their neighbours' mean."),
    "flicker": Measure(
        "Flicker score", "", 4, 1, "1 less the mean change in the half of the picture that changes least."
    ),
    "motion": Measure("Motion", "of 255", 2, 0, "Mean change from frame to frame. 0 is a frozen video."),
    "seam_jump": Measure("Largest seam", "x", 2, -1, "Change at a border over that around it. 1 is as elsewhere."),
    "seam_colour": Measure("Seam colour", "of 255", 2, -1, "How far colours move across a border beyond their trend."),
    "seams_visible": Measure("Visible seams", "", 0, -1, "Borders that an eye should find."),
}


def measure_of(name: str) -> Measure:
    """Return what is known of a figure; an unknown one is shown under its own name."""
    return MEASURES.get(name, Measure(name.replace("_", " "), "", 4, 0, ""))


def number(name: str, value: object) -> str:
    """Return a value as a table shows it: figures with their digits, texts as they are, nothing as '-'."""
    if value is None or value != value:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if name not in MEASURES:
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{value:.{MEASURES[name].digits}f}"
