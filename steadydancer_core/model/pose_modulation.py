"""Synergistic Pose Modulation (paper 3.4, equation 5): how the driving pose enters the model.

    temporal = TMCM(pose)                        motion across frames
    spatial  = SSAR(pose)                        structure inside a frame
    fused    = pose + temporal + spatial
    aligned  = FAAU(query = noise, key = value = fused)

Pure torch; every layer comes from the injected `operations`, so ComfyUI casts, streams and quantizes it. Run it in
float32: that costs less than a hundredth of a pass, and no pose overflows it.

Source: SteadyDancer wan/modules/{small_archs,mobilenetv2_dcd}.py. Names here -> there: TemporalMotionCoherence ->
condition_embedding_temporal, SpatialStructureRefiner -> DYModule (condition_embedding_spatial), FrameAlignment ->
PoseRefNetNoBNV3 (condition_embedding_align), cross_attn.in_proj.* -> cross_attn.in_proj_* of nn.MultiheadAttention.

Differences from upstream: samples of a batch stay apart (upstream runs one at a time). The alignment attends across
the T frames at each latent cell, not across the cells of a frame: upstream omits batch_first and the weights were
trained so.

Dimension keys: B samples, C = 16 latent channels, T latent frames, H x W latent cells, D = 128 alignment width, N
heads.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT_CHANNELS = 16
REFERENCE_FRAMES = 2  # the photo and the first pose, after the clip's tokens
DYNAMIC_RANK = 4
TEMPORAL_BLOCKS = 3
TEMPORAL_REACH = TEMPORAL_BLOCKS  # frames on each side that a frame's motion is computed from
ALIGN_DIM = 128
ALIGN_HEADS = 8
# Cells times frames that the alignment holds at a time: 8 KB each at 21 frames, 0.13 GB in all however large the frame.
MAX_CELL_FRAMES = 16384


class PoseModulation(NamedTuple):
    """The latent-sized results [B, 16, T, H, W] of one pass over the pose."""

    temporal: Tensor
    spatial: Tensor
    fused: Tensor
    aligned: Tensor


class PoseScales(NamedTuple):
    """Factors of the pose stage, 1 as trained: of the motion and of the structure inside the fused pose (equation 5),
    of the aligned pose where the patch embedding takes it, and of all pose channels there."""

    pose: float = 1.0
    spatial: float = 1.0
    temporal: float = 1.0
    alignment: float = 1.0


AS_TRAINED = PoseScales()


class Run(NamedTuple):
    """Neighboring frames of a window: the clip's frames start..stop it needs, and where its own lie among them."""

    start: int
    stop: int
    own: list[int]


class FactorizedConv3d(nn.Module):
    """Depthwise 1x3x3 in space, then a full 3x1x1 in time; both keep the size."""

    def __init__(self, channels: int, operations, **factory):
        super().__init__()
        self.spatial = operations.Conv3d(
            channels, channels, (1, 3, 3), padding=(0, 1, 1), groups=channels, bias=False, **factory
        )
        self.temporal = operations.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal(F.silu(self.spatial(x)))


class TemporalMotionCoherence(nn.Sequential):
    """TMCM: three factorized convolutions, each followed by SiLU; [B, C, T, H, W] -> the same shape."""

    def __init__(self, channels: int, operations, **factory):
        blocks = (FactorizedConv3d(channels, operations, **factory) for _ in range(TEMPORAL_BLOCKS))
        super().__init__(*(layer for block in blocks for layer in (block, nn.SiLU())))


class SqueezeGate(nn.Module):
    """Scale a vector by a gate from its own linear image."""

    def __init__(self, dim: int, operations, **factory):
        super().__init__()
        self.fc = nn.Sequential(operations.Linear(dim, dim, bias=False, **factory))

    def forward(self, x: Tensor) -> Tensor:
        return x * hard_gate(self.fc(x))


class SpatialStructureRefiner(nn.Module):
    """SSAR: a 1x1 convolution whose kernel each frame chooses from its own mean (dynamic convolution decomposition).

    [B*T, C, H, W] -> the same shape: scale(frame) * conv(x) + P (phi(frame) Q x + Q x), rank 4.
    """

    def __init__(self, channels: int, operations, **factory):
        super().__init__()
        rank = DYNAMIC_RANK
        self.conv = operations.Conv2d(channels, channels, 1, bias=False, **factory)
        self.conv_q = operations.Conv2d(channels, rank, 1, bias=False, **factory)
        self.fc = nn.Sequential(
            operations.Linear(channels, rank, bias=False, **factory), SqueezeGate(rank, operations, **factory)
        )
        self.fc_phi = operations.Linear(rank, rank * rank, bias=False, **factory)
        self.fc_scale = operations.Linear(rank, channels, bias=False, **factory)
        self.conv_p = operations.Conv2d(rank, channels, 1, bias=False, **factory)
        self.bn1 = operations.GroupNorm(rank, rank, **factory)
        self.bn2 = operations.GroupNorm(rank, rank, **factory)

    def forward(self, x: Tensor) -> Tensor:
        summary = self.fc(x.mean(dim=(2, 3)))  # B*T, rank
        scale = hard_gate(self.fc_scale(summary))[:, :, None, None]  # B*T, C, 1, 1
        phi = self.fc_phi(summary).unflatten(1, (DYNAMIC_RANK, DYNAMIC_RANK))
        q = self.bn1(self.conv_q(x))
        mixed = self.bn2(phi @ q.flatten(2)) + q.flatten(2)  # B*T, rank, H*W
        return self.conv_p(mixed.view_as(q)) + scale * self.conv(x)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of [B, D, H, W]; weight and bias are [1, D, 1, 1] in the checkpoint."""

    def __init__(self, channels: int, cast_to, eps: float = 1e-5, **factory):
        super().__init__()
        self.eps = eps
        self.cast_to = cast_to
        self.weight = nn.Parameter(torch.empty(1, channels, 1, 1, **factory))
        self.bias = nn.Parameter(torch.empty(1, channels, 1, 1, **factory))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (self.cast_to(p, dtype=x.dtype, device=x.device).flatten() for p in (self.weight, self.bias))
        return F.layer_norm(x.movedim(1, -1), weight.shape, weight, bias, self.eps).movedim(-1, 1)


class FrameAttention(nn.Module):
    """Cross-attention along the second dimension of [B*H*W, T, D]; one joint projection, as in the checkpoint."""

    def __init__(self, dim: int, heads: int, operations, **factory):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.in_proj = operations.Linear(dim, 3 * dim, **factory)
        self.out_proj = operations.Linear(dim, dim, **factory)

    def forward(self, query: Tensor, source: Tensor) -> Tensor:
        # The joint weight may be quantized and cannot be sliced, so both inputs pass through all of it.
        q = self.in_proj(query)[..., : self.dim]
        k, v = self.in_proj(source)[..., self.dim :].chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))  # B*H*W, N, T, D/N
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class FrameAlignment(nn.Module):
    """FAAU: cross-attention of the noise latent (query) to the fused pose; [B, C, T, H, W] -> the same shape.

    Cells are independent of each other, so they are computed in chunks.
    """

    def __init__(self, channels: int, operations, cast_to, **factory):
        super().__init__()
        dim = ALIGN_DIM
        self.proj_p = operations.Conv2d(channels, dim, 1, **factory)
        self.proj_r = operations.Conv2d(channels, dim, 1, **factory)
        self.proj_p_back = operations.Conv2d(dim, channels, 1, **factory)
        self.cross_attn = FrameAttention(dim, ALIGN_HEADS, operations, **factory)
        self.ffn_pose = nn.Sequential(
            operations.Conv2d(dim, dim, 1, **factory), nn.SiLU(), operations.Conv2d(dim, dim, 1, **factory)
        )
        self.norm1 = ChannelNorm(dim, cast_to, **factory)
        self.norm2 = ChannelNorm(dim, cast_to, **factory)

    def forward(self, pose: Tensor, noise: Tensor) -> Tensor:
        cells = max(1, MAX_CELL_FRAMES // (pose.shape[0] * pose.shape[2]))
        columns = (t.flatten(3).unsqueeze(4).split(cells, dim=3) for t in (pose, noise))  # B, C, T, cells, 1
        return torch.cat([self._align(*part) for part in zip(*columns, strict=True)], dim=3).view_as(pose)

    def _align(self, pose: Tensor, noise: Tensor) -> Tensor:
        batch, _, frames, height, width = pose.shape
        query, source = (
            _cells(proj(_frames(x)), batch) for proj, x in ((self.proj_r, noise), (self.proj_p, pose))
        )  # B*H*W, T, D
        out = self.cross_attn(query, source).view(batch, height, width, frames, ALIGN_DIM)
        out = self.norm1(out.permute(0, 3, 4, 1, 2).flatten(0, 1))  # B*T, D, H, W
        out = self.norm2(out + self.ffn_pose(out))
        return self.proj_p_back(out).unflatten(0, (batch, frames)).transpose(1, 2)


def modulate_pose(
    temporal: nn.Module,
    spatial: nn.Module,
    align: nn.Module,
    pose: Tensor,
    noise: Tensor,
    runs: Sequence[Run] = (),
    scales: PoseScales = AS_TRAINED,
) -> PoseModulation:
    """Run the three modules on pose and noise latents [B, 16, T, H, W] in model space (equation 5).

    With `runs`, `pose` holds the frames of those runs one after the other, and the noise their own frames only. Of
    `scales`, the spatial and the temporal one act here.
    """
    motion, pose = _in_runs(temporal, pose, runs) if runs else (temporal(pose), pose)
    structure = spatial(_frames(pose)).unflatten(0, (pose.shape[0], -1)).transpose(1, 2)
    motion, structure = scales.temporal * motion, scales.spatial * structure
    fused = pose + motion + structure
    return PoseModulation(motion, structure, fused, align(fused, noise))


def frame_runs(indices: Sequence[int], total: int) -> list[Run]:
    """Return the runs that a window over the frames `indices` of a clip of `total` needs, in its order."""
    groups: list[list[int]] = []
    for index in indices:
        if groups and 0 < index - groups[-1][-1] <= 2 * TEMPORAL_REACH + 1:
            groups[-1].append(index)
        else:
            groups.append([index])
    return [_widen(group, total) for group in groups]


def _widen(group: list[int], total: int) -> Run:
    start, stop = max(0, group[0] - TEMPORAL_REACH), min(total, group[-1] + TEMPORAL_REACH + 1)
    return Run(start, stop, [index - start for index in group])


def _in_runs(temporal: nn.Module, pose: Tensor, runs: Sequence[Run]) -> tuple[Tensor, Tensor]:
    """Return the motion and the pose of the runs' own frames."""
    pieces = pose.split([run.stop - run.start for run in runs], dim=2)
    own = [(temporal(piece)[:, :, run.own], piece[:, :, run.own]) for piece, run in zip(pieces, runs, strict=True)]
    motion, pose = (torch.cat(parts, dim=2) for parts in zip(*own, strict=True))
    return motion, pose


def hard_gate(x: Tensor) -> Tensor:
    """Return a hard sigmoid of range 0..2: upstream divides by 3, not 6, and the weights were trained so."""
    return F.relu6(x + 3) / 3


def _frames(x: Tensor) -> Tensor:
    """[B, C, T, H, W] -> [B*T, C, H, W]"""
    return x.transpose(1, 2).flatten(0, 1)


def _cells(x: Tensor, batch: int) -> Tensor:
    """[B*T, D, H, W] -> [B*H*W, T, D]"""
    return x.unflatten(0, (batch, -1)).permute(0, 3, 4, 1, 2).flatten(0, 2)
