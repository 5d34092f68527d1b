"""Frame 0 against the photo: measured before, exact after, and the way between them."""

import math

import pytest
import torch

from steadydancer_pack.nodes.first_frame import ExactFirstFrame
from steadydancer_pack.steadydancer_core.long_video.first_frame import exact_first_frame, psnr

FRAMES, HEIGHT, WIDTH = 6, 32, 48


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


@pytest.fixture
def images():
    return noise(FRAMES, HEIGHT, WIDTH, 3)


@pytest.fixture
def photo():
    return noise(1, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("difference", "decibels"), [(1.0, 0.0), (0.1, 20.0), (0.01, 40.0)])
def test_psnr(difference, decibels):
    image = torch.zeros(4, 5, 3)
    assert psnr(image, image + difference) == pytest.approx(decibels, abs=1e-5)


def test_psnr_of_equal_images_and_of_different_shapes(photo):
    assert psnr(photo, photo.clone()) == math.inf
    with pytest.raises(ValueError, match="different shapes"):
        psnr(photo, photo[..., :1])


@pytest.mark.parametrize("crossfade", [0, 1, 3, 5, 50])
def test_frames_blend_from_the_photo(images, photo, crossfade):
    before = images.clone()
    result = exact_first_frame(images, photo, crossfade)
    assert torch.equal(result[0], photo[0])
    for k in range(1, FRAMES):
        weight = min(k / (crossfade + 1), 1)
        torch.testing.assert_close(result[k], photo[0] * (1 - weight) + images[k] * weight)
    assert torch.equal(result[crossfade + 1 :], images[crossfade + 1 :])
    assert torch.equal(images, before)


@pytest.mark.parametrize("shape", [(1, 80, 120, 3), (3, 32, 48, 4), (1, 32, 48, 1), (1, 100, 37, 3), (1, 15, 23, 4)])
def test_any_photo_is_fitted(images, shape):
    photo = noise(*shape).round()  # hard edges: bicubic overshoots there
    result = exact_first_frame(images, photo, 3)
    assert result.shape == images.shape and result.dtype == images.dtype
    assert result.min() >= 0 and result.max() <= 1
    if shape[1:3] == (HEIGHT, WIDTH):
        assert torch.equal(result[0], photo[0, ..., :3].expand(-1, -1, 3))


def test_a_single_frame_and_alpha(photo):
    result = exact_first_frame(noise(1, HEIGHT, WIDTH, 4), photo, 3)
    assert torch.equal(result, photo)


@pytest.mark.parametrize(
    ("frames", "photos", "crossfade", "message"),
    [(0, 1, 0, "at least one"), (1, 0, 0, "at least one"), (1, 1, -1, "0 or")],
)
def test_nothing_to_paste_is_refused(images, photo, frames, photos, crossfade, message):
    with pytest.raises(ValueError, match=message):
        exact_first_frame(images[:frames], photo[:photos], crossfade)


def test_the_node_measures_what_was_generated_and_pastes_unless_disabled(images, photo):
    images = images.clone()
    images[0] = photo[0] * 0.5
    wanted = psnr(images[0], photo[0])
    output = ExactFirstFrame.execute(images, photo, True, 3)
    result, decibels, _ = output.result
    assert decibels == wanted and 5 < wanted < 15
    assert torch.equal(result[0], photo[0])
    assert output.ui.as_dict()["text"] == (
        f"PSNR of frame 0 against the photo: {wanted:.2f} dB\n"
        "The photo was pasted onto frame 0 and blended into the next 3 frames.",
    )
    output = ExactFirstFrame.execute(images, photo, enabled=False)
    assert output.result[0] is images and output.result[1] == wanted
    assert output.ui.as_dict()["text"][0].endswith("dB\nThe photo was not pasted.")
    assert ExactFirstFrame.execute(exact_first_frame(images, photo, 0), photo, True, 0).result[1] == math.inf
