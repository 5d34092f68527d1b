"""What a VAE must give back before a stage is trained on its latents: what it loses, no stage can learn."""

import json
from pathlib import Path

LEAST_PSNR = {  # metric of metrics.json -> what it is, dB on held-out clips
    "moving_psnr": ("moving pixels of characters", 24.0),
    "skeleton_moving_psnr": ("moving pixels of skeletons", 23.0),
    "photo_psnr": ("photo", 33.0),
}


def check_vae(metrics_file: Path) -> None:
    """Raise ValueError where the metrics that `train_vae` wrote are not there or miss LEAST_PSNR."""
    advice = "Train the VAE first (python -m training vae WORK), or pass --accept-vae to go on with it."
    try:
        found = json.loads(metrics_file.read_text("utf-8"))["metrics"]
        missed = [
            f"{what} {found[name]:.1f} dB, at least {least:.0f} needed"
            for name, (what, least) in LEAST_PSNR.items()
            if not found[name] >= least
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{metrics_file} does not say how good the VAE is: {error!r}. {advice}") from error
    if missed:
        raise ValueError(f"The VAE is not good enough ({metrics_file}): {'; '.join(missed)}. {advice}")
