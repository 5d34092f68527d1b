"""The video so far as small pictures, one for each latent frame, in the colors of the photo.

ComfyUI previews the first latent frame alone, which is the photo. It turns latents into colors by a linear map that
was fitted to one VAE. Here the map is corrected on the run's own first frame, whose latents and colors are both known:
so it fits any VAE. The causal VAE encodes the first frame otherwise than the later ones, four at a time: each kind has
a map of its own. Nothing is drawn from a random generator and no tensor of the run is changed.
"""

from collections.abc import Callable
from functools import partial

import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

MAX_PICTURES = 48  # of a longer clip as many, evenly spread
RIDGE = 0.01  # of the number of cells: how much the corrected map is held to ComfyUI's
LATENT, COLORS = "preview_latent", "preview_colors"  # keys of the conditions, see known_colors
STILL = 5  # frames: those of two latent frames

Pictures = Callable[[Tensor], list[Image.Image]]


def choose_pictures(model: ModelPatcher, cond: dict) -> Pictures | None:
    """Return what makes pictures of x0 [B, C, T, h, w] of a run with this condition, None if another pack does it."""
    latent_format = model.model.latent_format
    previewer = latent_preview.get_previewer(model.load_device, latent_format)
    if isinstance(previewer, latent_preview.TAESDPreviewerImpl):
        return partial(pictures_by_previewer, previewer)
    if previewer is not None and type(previewer) is not latent_preview.Latent2RGBPreviewer:
        return None
    maps = [stock_map(latent_format)] * 2
    if LATENT in cond and cond[LATENT].isfinite().all():
        latent = model.model.process_latent_in(cond[LATENT].cpu().float())[0]
        maps = [color_map(latent[:, i], cond[COLORS][0], stock) for i, stock in enumerate(maps)]
    return partial(pictures_by_map, maps)


def known_colors(vae, frame: Tensor, first: Tensor) -> dict[str, Tensor]:
    """Return what the colors of a run are known by, from its first frame [1, H, W, 3] and that one's latent.

    Keys: the raw latent [1, 16, 2, h, w] of the frame as the first one and as four later ones, and the mean colors
    [1, h, w, 3] of its cells in 0..1.
    """
    still = vae.encode(frame.expand(STILL, -1, -1, -1))[:, :, 1:]
    colors = interpolate(frame.movedim(-1, 1).float().cpu(), still.shape[-2:], mode="area").movedim(1, -1)
    return {LATENT: torch.cat([first, still], dim=2), COLORS: colors}


def color_map(latent: Tensor, colors: Tensor, stock: Tensor) -> Tensor:
    """Return the map [C + 1, 3] from a latent [C, h, w] to its colors [h, w, 3] in 0..1 that is nearest to `stock`.

    The last row is the bias; the map gives -1..1, as ComfyUI's do.
    """
    cells = _with_one(latent.flatten(1).T.double())
    missed = (colors.reshape(-1, 3).double() * 2 - 1) - cells @ stock.double()
    held = RIDGE * len(cells) * torch.eye(len(stock), dtype=torch.float64)
    return (stock.double() + torch.linalg.solve(cells.T @ cells + held, cells.T @ missed)).float()


def stock_map(latent_format) -> Tensor:
    """Return ComfyUI's map [C + 1, 3] for a latent format."""
    bias = latent_format.latent_rgb_factors_bias or [0.0, 0.0, 0.0]
    return torch.tensor([*latent_format.latent_rgb_factors, bias])


def pictures_by_map(maps: list[Tensor], x0: Tensor) -> list[Image.Image]:
    """Return the pictures of the first video of x0 [B, C, T, h, w], by the maps of its first and its later frames."""
    frames = _spread(x0[0]).permute(1, 2, 3, 0).float()  # [T, h, w, C]
    first, later = (mapping.to(frames) for mapping in maps)
    colors = torch.cat([frames[:1] @ first[:-1] + first[-1], frames[1:] @ later[:-1] + later[-1]])
    values = ((colors + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(picture) for picture in values.cpu().numpy()]


def pictures_by_previewer(previewer: latent_preview.LatentPreviewer, x0: Tensor) -> list[Image.Image]:
    """Return the pictures that a previewer of ComfyUI makes of each frame alone."""
    frames = _spread(x0[0])
    every = (previewer.decode_latent_to_preview_image("JPEG", frame[None]) for frame in frames.split(1, dim=1))
    return [picture for _, picture, _ in every]


def _spread(clip: Tensor) -> Tensor:
    """Return at most MAX_PICTURES frames of a clip [C, T, h, w]."""
    count = clip.shape[1]
    return clip[:, torch.linspace(0, count - 1, min(count, MAX_PICTURES)).round().long().tolist()]


def _with_one(cells: Tensor) -> Tensor:
    return torch.cat([cells, torch.ones_like(cells[:, :1])], dim=1)
