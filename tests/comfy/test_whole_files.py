"""The kill campaign notices a half file of each kind that it looks at."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track
from steadydancer_pack.dwpose.track.pose_cache import PoseCache, SeenVideo, cache_key
from steadydancer_pack.media.disk_cache import DiskCache
from steadydancer_pack.media.frame_files import SUFFIX
from steadydancer_pack.media.video_formats import FORMATS
from steadydancer_pack.media.video_writer import Settings, write_video
from steadydancer_pack.tests.campaigns.whole_files import LIMIT, fault

FRAMES = 4


def write_poses(folder):
    pose_json.save(clip(), folder / "poses.json")


def write_cached_poses(folder):
    PoseCache(folder, LIMIT).store(cache_key(of="a video"), SeenVideo(clip()))


def write_chunk(folder):
    DiskCache(folder, SUFFIX, LIMIT).save("0" * 64, bytes(range(64)))


def write_model(folder):
    save_file({"a": torch.rand(64)}, folder / "model.safetensors")


def writer(name):
    path = f"video.{FORMATS[name].container}"
    return lambda folder: write_video([folder / path], torch.rand(FRAMES, 64, 64, 3), 16, Settings(name))


def clip():
    points = np.random.default_rng(0).uniform(0, 1, (FRAMES, KEYPOINTS, 2))
    return PoseClip(64, 48, FRAMES, (Track(0, points, np.ones((FRAMES, KEYPOINTS))),))


WRITERS = {"poses": write_poses, "cached poses": write_cached_poses, "chunk": write_chunk, "model": write_model}
WRITERS |= {name: writer(name) for name in FORMATS}


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_half_file_is_noticed(tmp_path, write, cut):
    write(tmp_path)
    (path,) = tmp_path.iterdir()
    assert fault(path, FRAMES) == ""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    assert fault(path, FRAMES)
