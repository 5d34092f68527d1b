"""Poses in the place of pose frames: the same conditions and the same video bit for bit, and memory for one chunk."""

import comfy.sd
import pytest
import torch
from safetensors.torch import load_file

from steadydancer_pack.dwpose.formats.keypoints import to_keypoints
from steadydancer_pack.media.disk_cache import DiskCache
from steadydancer_pack.miniature import shipped
from steadydancer_pack.nodes import chunks
from steadydancer_pack.nodes.chunks import ChunkSampler
from steadydancer_pack.nodes.common.condition_inputs import pose_sources
from steadydancer_pack.nodes.common.pose_images import DrawnFrames
from steadydancer_pack.nodes.conditioning import ReconcileConditions
from steadydancer_pack.nodes.pose_align import AugmentPoses, DrawPoses
from steadydancer_pack.tests.comfy.test_chunks import QuickVae, noise
from steadydancer_pack.tests.figures import ADULT, Camera, clip, dance

FRAMES = 13
POSES = to_keypoints(clip(ADULT, dance(FRAMES), Camera(96, 160, (0.5, 0.3), 0.5)))
(NEGATIVE,) = AugmentPoses.execute(POSES, 5).result
TEXTS = {name: [[noise(name, 1, 512, 64), {}]] for name in ("positive", "negative")}
PHOTO = noise("photo", 1, 160, 96, 3)
SIZES = [(0, 0), (48, 80), (48, 0), (48, 48)]


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def drawn(width, height):
    frames, negative = DrawPoses.execute(POSES, width, height, "steadydancer", 1.0, True, NEGATIVE).result
    return {"pose_frames": frames, "pose_negative_frames": negative}


@pytest.mark.parametrize("size", SIZES)
def test_frames_are_those_of_draw_poses(size):
    sources = pose_sources("Node", *size, poses=POSES, negative_poses=NEGATIVE)
    for source, frames in zip(sources, drawn(*size).values(), strict=True):
        assert source.shape == frames.shape and len(source) == FRAMES
        for some in (slice(None), slice(1), slice(3, 8), [4, 12, 12]):
            assert torch.equal(source[some], frames[some])


@pytest.mark.parametrize("size", SIZES[1::2])
def test_the_conditions_are_those_of_the_frames(size):
    vae = comfy.sd.VAE(sd=load_file(shipped("steadydancer_miniature_vae.safetensors")))
    same = {**TEXTS, "vae": vae, "photo": PHOTO, "width": size[0], "height": size[1], "length": 9}
    by_frames = ReconcileConditions.execute(**same, **drawn(*size)).result
    by_poses = ReconcileConditions.execute(**same, poses=POSES, negative_poses=NEGATIVE).result
    for want, found in zip(by_frames[:3], by_poses[:3], strict=True):
        (text, values), (same_text, found_values) = want[0], found[0]
        assert text is same_text and values.keys() == found_values.keys()
        for name in ("concat_latent_image", "concat_mask", "pose_video_latent", "reference_pose_latent"):
            assert torch.equal(values[name], found_values[name])
    assert torch.equal(by_frames[3]["samples"], by_poses[3]["samples"])


def sample(model, **changes):
    preset = {"preset": "Custom", "steps": 2, "text_guidance": 1.0, "pose_guidance": 1.0, "solver": "official euler"}
    how = {"chunk_length": 9, "overlap": 5, "colour_match": 1.0, "keep_chunks": True, "chunks_gb": 1}
    inputs = {**TEXTS, "vae": QuickVae(), "photo": PHOTO, "width": 48, "height": 80, "seed": 3, "tiled_vae": False}
    return ChunkSampler.execute(model, **{**inputs, **how, "preset": preset, **changes}).result


def test_the_video_is_that_of_the_frames_and_its_chunks_serve_both(model, monkeypatch, tmp_path):
    monkeypatch.setattr(chunks, "chunk_folder", lambda: tmp_path / "frames")
    frames, report, _ = sample(model, **drawn(48, 80))
    again, found, _ = sample(model, poses=POSES, negative_poses=NEGATIVE)
    assert torch.equal(again, frames) and "2 of 2 chunks were finished before" in found
    monkeypatch.setattr(chunks, "chunk_folder", lambda: tmp_path / "poses")
    anew, same_report, _ = sample(model, poses=POSES, negative_poses=NEGATIVE)
    assert torch.equal(anew, frames) and same_report == report


def test_a_chunk_draws_its_own_frames_only(model, monkeypatch):
    counts, take = [], DrawnFrames.__getitem__

    def counted(self, some):
        frames = take(self, some)
        counts.append(len(frames))
        return frames

    monkeypatch.setattr(DrawnFrames, "__getitem__", counted)
    monkeypatch.setattr(chunks, "DiskCache", lambda *_: DiskCache("never", ".frames", 0))
    sample(model, poses=POSES, negative_poses=NEGATIVE)
    assert max(counts) == 9


@pytest.mark.parametrize(
    ("connected", "found"),
    [
        ({}, "neither pose_frames nor poses"),
        ({"pose_frames": PHOTO, "poses": POSES}, "both frames and poses"),
        ({"pose_frames": PHOTO, "negative_poses": POSES}, "both frames and poses"),
        ({"pose_negative_frames": PHOTO, "poses": POSES}, "both frames and poses"),
        ({"pose_negative_frames": PHOTO}, "neither pose_frames nor poses"),
    ],
)
def test_frames_and_poses_together_and_neither_are_refused(connected, found):
    with pytest.raises(ValueError, match=rf"Node has {found} connected. Connect either pose_frames and p"):
        pose_sources("Node", 0, 0, **connected)
