"""What each metric means: its label, unit, digits, and which way is better. The order is that of tables."""

from typing import NamedTuple


class NotMeasured(ValueError):
    """A metric that this clip cannot have; the text says why, without a subject and a full stop."""


class Metric(NamedTuple):
    """better: 1 if higher is, -1 if lower is, 0 if neither."""

    label: str
    unit: str
    digits: int
    better: int
    meaning: str


PARTS = ("head", "hands", "feet", "body")

METRICS: dict[str, Metric] = {
    "first_frame_psnr": Metric("First frame PSNR", "dB", 2, 1, "Frame 0 against the photo. 100 if they are equal."),
    "first_frame_ssim": Metric("First frame SSIM", "", 4, 1, "Frame 0 against the photo. 1 if they are equal."),
    "first_frame_lpips": Metric("First frame LPIPS", "", 4, -1, "Perceptual distance of frame 0 to the photo."),
    "identity": Metric("Identity", "", 4, 1, "Similarity of the person to the photo's, mean over frames. 1: equal."),
    "identity_lowest": Metric("Lowest identity", "", 4, 1, "The same in the frame where it is lowest."),
    "pck": Metric("PCK", "", 4, 1, "Share of the target's keypoints found within the threshold, mean of the parts."),
    **{f"pck_{part}": Metric(f"PCK {part}", "", 4, 1, f"The same for the {part}.") for part in PARTS},
    "joint_error": Metric("Joint error", "% of height", 2, -1, "Mean distance of those found, mean of the parts."),
    **{
        f"joint_error_{part}": Metric(f"Joint error {part}", "% of height", 2, -1, f"The same for the {part}.")
        for part in PARTS
    },
    "found": Metric("Keypoints found", "", 4, 1, "Share of the target's keypoints that were found at all."),
    "truth_psnr": Metric("PSNR", "dB", 2, 1, "Every frame against the ground truth, mean. 100 if all are equal."),
    "moving_psnr": Metric("PSNR of moving pixels", "dB", 2, 1, "Pixels of the ground truth that differ from frame 0."),
    "truth_ssim": Metric("SSIM", "", 4, 1, "Every frame against the ground truth, mean. 1 if all are equal."),
    "truth_lpips": Metric("LPIPS", "", 4, -1, "Perceptual distance of every frame to the ground truth, mean."),
    "fvd": Metric("FVD", "", 1, -1, "Frechet distance of the clip's features to those of the ground truth."),
    "smoothness": Metric("Smoothness", "", 4, 1, "1 less the difference of odd frames from their neighbors' mean."),
    "flicker": Metric("Flicker score", "", 4, 1, "1 less the mean change in the half of the pixels that change least."),
    "motion": Metric("Motion", "of 255", 2, 0, "Mean change from frame to frame. 0 is a frozen video."),
    "seam_jump": Metric("Largest seam", "x", 2, -1, "Change at a border over that around it. 1: as elsewhere."),
    "seam_colour": Metric("Seam color", "of 255", 2, -1, "Color shift across a border beyond its trend."),
    "seams_visible": Metric("Visible seams", "", 0, -1, "Number of borders with a visible change."),
}


def metric_of(name: str) -> Metric:
    """Return what is known of a metric; an unknown one is shown under its own name."""
    return METRICS.get(name, Metric(name.replace("_", " "), "", 4, 0, ""))


def number(name: str, value: object) -> str:
    """Return a value as a table shows it: metrics with their digits, texts unchanged, nothing as '-'."""
    if value is None or value != value:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if name not in METRICS:
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{value:.{METRICS[name].digits}f}"
