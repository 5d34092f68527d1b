"""SteadyDancer's transformer: Wan 2.1 I2V 14B with pose modulation and two reference frames after the clip's tokens.

Source: paper 3.3 and 3.4; SteadyDancer wan/modules/model_dancer.py. Names here -> there: pose_latents -> condition,
clip_fea -> clip_fea_x. Checkpoint names are upstream's, except cross_attn.in_proj_* (see pose_modulation).

Everything before the blocks is computed in float32, as the stock patch embedding is.

Differences from upstream: samples of a batch may differ in everything; width and height need not be even; ComfyUI's
hooks (block replacement, block patches, wrappers) work as on the stock Wan model.

Dimension keys: B samples, T latent frames, h x w latent cells, L tokens, dim the width of the transformer.
"""

from collections.abc import Callable, Sequence
from functools import partial

import comfy.ldm.common_dit
import torch
from comfy.ldm.wan.model import WanModel, sinusoidal_embedding_1d
from comfy.model_management import cast_to
from torch import Tensor, nn

from .block_attention import OVERRIDE, BlockAttention, Nag
from .pose_modulation import (
    AS_TRAINED,
    LATENT_CHANNELS,
    REFERENCE_FRAMES,
    FrameAlignment,
    PoseModulation,
    PoseScales,
    Run,
    SpatialStructureRefiner,
    TemporalMotionCoherence,
    modulate_pose,
)
from .pose_windows import runs_in

WHOLE_TIMESTEPS = "steadydancer_whole_timesteps"
# In transformer_options during the blocks: photo and first_pose, each (first token, the token behind its last one).
REFERENCE_TOKENS = "steadydancer_reference_tokens"


class SteadyDancerWanModel(WanModel):
    """Velocity of the noisy latent under a photo, a pose and a prompt."""

    img_emb: nn.Module

    def __init__(self, *, operations, patch_size=(1, 2, 2), in_dim=36, dim=5120, device=None, dtype=None, **kwargs):
        stock = {**kwargs, "model_type": "i2v", "device": device, "dtype": dtype, "operations": operations}
        super().__init__(patch_size=patch_size, in_dim=in_dim, dim=dim, **stock)
        factory = {"device": device, "dtype": torch.float32}
        self.condition_embedding_temporal = TemporalMotionCoherence(LATENT_CHANNELS, operations, **factory)
        self.condition_embedding_spatial = SpatialStructureRefiner(LATENT_CHANNELS, operations, **factory)
        self.condition_embedding_align = FrameAlignment(LATENT_CHANNELS, operations, cast_to, **factory)

        def patch_conv(channels: int):
            return operations.Conv3d(channels, dim, patch_size, stride=patch_size, **factory)

        self.patch_embedding_fuse = patch_conv(in_dim + 2 * LATENT_CHANNELS)
        self.patch_embedding_ref_c = patch_conv(LATENT_CHANNELS)

    def _forward(
        self,
        x,
        timestep,
        context,
        clip_fea,
        time_dim_concat=None,
        transformer_options=None,
        *,
        pose_latents,
        ref_x,
        ref_c,
        clip_fea_c,
        pose_scales: PoseScales = AS_TRAINED,
        photo_strength: float | None = None,
        nag: Nag | None = None,
        **kwargs,
    ):
        """Return the velocity [B, 16, T, h, w].

        x [B, 36, T, h, w]: noisy latent 16, mask 4, image latent 16; timestep [B] in 0..1000; context
        [B, 512, text_dim]; clip_fea and clip_fea_c [B, 257, 1280] of photo and first pose frame; pose_latents [B,
        16, T, h, w], in a context window with the neighbors of its frames; ref_x [B, 36, 1, h, w]; ref_c [B, 16, 1,
        h, w]. All latents in model space (after process_latent_in). photo_strength: factor of the photo's values in
        self-attention, None as trained.
        """
        options = {} if transformer_options is None else transformer_options
        if photo_strength is not None or nag is not None:
            options = {**options, OVERRIDE: BlockAttention(options.get(OVERRIDE), photo_strength, nag, x.device)}
        if options.get(WHOLE_TIMESTEPS):
            timestep = timestep.floor()
        size = x.shape[-3:]
        x, pose_latents, ref_x, ref_c = (
            comfy.ldm.common_dit.pad_to_patch_size(t, self.patch_size) for t in (x, pose_latents, ref_x, ref_c)
        )
        embed = partial(
            self.embed_tokens, x, pose_latents, ref_x, ref_c, runs_in(options, pose_latents, x), pose_scales
        )
        freqs = self.rope_encode(
            size[0] + REFERENCE_FRAMES, *size[1:], device=x.device, dtype=x.dtype, transformer_options=options
        )
        if nag is not None:
            context = torch.cat([context, nag.text.to(context).expand(len(context), -1, -1)], dim=1)
        context, image_tokens = self.embed_context(context, clip_fea, clip_fea_c)
        velocity = self.run_blocks(x, embed, timestep, context, image_tokens, freqs, options)
        return velocity[:, :, : size[0], : size[1], : size[2]]

    def modulate(
        self, x: Tensor, pose_latents: Tensor, runs: Sequence[Run] = (), scales: PoseScales = AS_TRAINED
    ) -> PoseModulation:
        """Return the pose stage's results in float32; see modulate_pose. x is the model's input [B, 36, T, h, w]."""
        return modulate_pose(
            self.condition_embedding_temporal,
            self.condition_embedding_spatial,
            self.condition_embedding_align,
            pose_latents.float(),
            x[:, :LATENT_CHANNELS].float(),
            runs,
            scales,
        )

    def embed_tokens(
        self,
        x: Tensor,
        pose_latents: Tensor,
        ref_x: Tensor,
        ref_c: Tensor,
        runs: Sequence[Run] = (),
        scales: PoseScales = AS_TRAINED,
    ) -> Tensor:
        """Return the token grid [B, dim, T + 2, h/2, w/2]: the clip, then the photo, then the first pose."""
        pose = self.modulate(x, pose_latents, runs, scales)
        fused, aligned = scales.pose * pose.fused, scales.pose * scales.alignment * pose.aligned
        clip = torch.cat([x.float(), fused, aligned], dim=1)
        pairs = ((self.patch_embedding_fuse, clip), (self.patch_embedding, ref_x), (self.patch_embedding_ref_c, ref_c))
        return torch.cat([embed(t.float()).to(x.dtype) for embed, t in pairs], dim=2)

    def embed_time(self, timestep: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the head's time vector [B, 1, dim] and the blocks' modulation [B, 1, 6, dim]."""
        e = self.time_embedding(sinusoidal_embedding_1d(self.freq_dim, timestep.flatten()).to(dtype))
        e = e.reshape(timestep.shape[0], -1, e.shape[-1])
        return e, self.time_projection(e).unflatten(2, (6, self.dim))

    def embed_context(self, text: Tensor, clip_fea: Tensor, clip_fea_c: Tensor) -> tuple[Tensor, int]:
        """Return [image tokens, text tokens] and the number of image tokens; photo and pose features are added."""
        image = self.img_emb(clip_fea) + self.img_emb(clip_fea_c)
        return torch.cat([image, self.text_embedding(text)], dim=1), image.shape[1]

    def run_blocks(
        self,
        x_input: Tensor,
        embed: Callable[[], Tensor],
        timestep: Tensor,
        context: Tensor,
        image_tokens: int,
        freqs: Tensor,
        transformer_options: dict,
    ) -> Tensor:
        """Return the head's output as a latent [B, 16, T + 2, h, w]; runs ComfyUI's block hooks.

        `embed` makes the token grid: a caller that held the tokens would keep the first ones alive through all blocks.
        """
        tokens = embed()
        grid = tokens.shape[2:]
        e, modulation = self.embed_time(timestep, tokens.dtype)
        places, attention = reference_tokens(*grid), transformer_options.get(OVERRIDE)
        begin = partial(attention.begin_block, places["photo"]) if isinstance(attention, BlockAttention) else None
        transformer_options |= {"grid_sizes": grid, "total_blocks": len(self.blocks), "block_type": "double"}
        transformer_options[REFERENCE_TOKENS] = places
        replacements = transformer_options.get("patches_replace", {}).get("dit", {})
        after_block = transformer_options.get("patches", {}).get("double_block", ())
        tokens = tokens.flatten(2).transpose(1, 2)
        for i, block in enumerate(self.blocks):
            transformer_options["block_index"] = i
            args = {"img": tokens, "txt": context, "vec": modulation, "pe": freqs}
            args["transformer_options"] = transformer_options
            run = _block_runner(block, image_tokens, begin)
            replace = replacements.get(("double_block", i))
            tokens = (run(args) if replace is None else replace(args, {"original_block": run}))["img"]
            for patch in after_block:
                args = {"img": tokens, "x": x_input, "vec": e, "block_index": i, "img_offset": 0}
                tokens = patch(args | {"transformer_options": transformer_options})["img"]
        return self.unpatchify(self.head(tokens, e), grid)


def reference_tokens(frames: int, rows: int, columns: int) -> dict[str, tuple[int, int]]:
    """Return REFERENCE_TOKENS of a token grid of `frames` = T + 2."""
    frame = rows * columns
    photo, first_pose = ((frames - place) * frame for place in (REFERENCE_FRAMES, 1))
    return {"photo": (photo, photo + frame), "first_pose": (first_pose, first_pose + frame)}


def _block_runner(block, image_tokens: int, begin: Callable[[], None] | None) -> Callable[[dict], dict]:
    """Return the block as the function of ComfyUI's block hooks; `begin` is called before it."""

    def run(args: dict) -> dict:
        if begin is not None:
            begin()
        inputs = {"context": args["txt"], "e": args["vec"], "freqs": args["pe"], "context_img_len": image_tokens}
        return {"img": block(args["img"], **inputs, transformer_options=args["transformer_options"])}

    return run
