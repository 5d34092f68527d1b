"""The end of a finished clip as the start of a new video."""

import pytest
import torch

from steadydancer_pack.media.frame_source import LazyFrames
from steadydancer_pack.steadydancer_core.long_video.transition import transition_frames

WIDTH, HEIGHT = 32, 48


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


def test_the_last_frames_stay_as_they_are():
    clip = noise(9, HEIGHT, WIDTH, 3)
    assert torch.equal(transition_frames(clip, 5, WIDTH, HEIGHT), clip[4:])
    assert torch.equal(transition_frames(clip, 9, WIDTH, HEIGHT), clip)
    assert torch.equal(transition_frames(clip, 1, WIDTH, HEIGHT), clip[8:])


@pytest.mark.parametrize("shape", [(96, 64, 3), (24, 16, 1), (HEIGHT, WIDTH, 4), (50, 32, 3)])
def test_another_size_of_the_same_shape_is_resized_within_the_range(shape):
    frames = transition_frames(noise(6, *shape).round(), 5, WIDTH, HEIGHT)  # hard edges: bicubic overshoots there
    assert frames.shape == (5, HEIGHT, WIDTH, 3) and frames.dtype == torch.float32
    assert frames.min() >= 0 and frames.max() <= 1


def test_only_the_frames_that_are_used_are_read():
    class Clip(LazyFrames):
        shape, read = torch.Size((1000, HEIGHT, WIDTH, 3)), []

        def frame(self, index):
            self.read.append(index)
            return torch.full(self.shape[1:], index / 1000)

    frames = transition_frames(Clip(), 5, WIDTH, HEIGHT)
    assert Clip.read == [995, 996, 997, 998, 999]
    assert torch.allclose(frames[:, 0, 0, 0], torch.tensor(Clip.read) / 1000)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, HEIGHT, WIDTH, 3), "The transition video is empty"),
        ((4, HEIGHT, WIDTH, 3), r"has 4 frame\(s\), .* its last 9\. Connect a longer clip, or set overlap to 1\."),
        ((8, HEIGHT, WIDTH, 3), r"set overlap to 5\."),
        ((9, WIDTH, HEIGHT, 3), "is 48x32 but the new video is 32x48: the shapes differ"),
        ((9, HEIGHT, WIDTH, 2), "an IMAGE is"),
    ],
)
def test_what_cannot_be_continued(shape, message):
    with pytest.raises(ValueError, match=message):
        transition_frames(noise(*shape), 9, WIDTH, HEIGHT)
