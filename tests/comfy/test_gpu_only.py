"""ComfyUI with --gpu-only on Apple's GPU: frames lie on a device that knows no float64."""

import pytest
import torch

from steadydancer_pack.evaluation.contact_sheet import contact_sheet
from steadydancer_pack.evaluation.evaluate import Case, evaluate
from steadydancer_pack.steadydancer_core.long_video.color_match import match_colors
from steadydancer_pack.steadydancer_core.long_video.first_frame import exact_first_frame, fit_photo, psnr
from steadydancer_pack.steadydancer_core.long_video.seams import seam_scores
from steadydancer_pack.tests.float32_device import Float32Device, on_device

FRAMES, SIZE = 6, (48, 32)


@pytest.fixture
def clip():
    """Frames and a photo of another size, on the CPU."""
    return torch.rand(FRAMES, *SIZE, 3), torch.rand(1, 60, 40, 3)


def test_the_device_refuses_what_apples_gpu_refuses():
    with Float32Device():
        there = on_device(torch.ones(2))
        for use in (there.double, lambda: torch.zeros(2, dtype=torch.float64, device=there.device)):
            with pytest.raises(TypeError):
                use()
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(2)
        assert there.cpu().double().sum().item() == 2 and torch.ones(2).double().to(there).device == there.device


def test_the_first_frame(clip):
    frames, photo = clip
    want = psnr(frames[0], fit_photo(frames, photo)), exact_first_frame(frames, photo, 3)
    with Float32Device():
        there = on_device(frames)
        assert psnr(there[0], fit_photo(there, on_device(photo))) == want[0]
        assert torch.equal(exact_first_frame(there, on_device(photo), 3).cpu(), want[1])


def test_the_color_match_and_the_seams(clip):
    frames, photo = clip
    before, photo = frames[:2] * 0.9, fit_photo(frames, photo)[None]
    want, scores = match_colors(frames, before, photo, 1.0), seam_scores(frames, [3])
    with Float32Device():
        found = match_colors(*(on_device(tensor) for tensor in (frames, before, photo)), 1.0)
        assert torch.equal(found.cpu(), want) and not torch.equal(want, frames)
        assert seam_scores(on_device(frames), [3]) == scores


def test_the_metrics(clip):
    frames, photo = clip
    want = evaluate(Case(frames, photo, frames.flip(0), borders=[3]))
    sheet = contact_sheet(Case(frames, photo), [])
    with Float32Device():
        there = [on_device(tensor) for tensor in (frames, photo, frames.flip(0))]
        found = evaluate(Case(*there, borders=[3]))
        assert (contact_sheet(Case(*there[:2]), []) == sheet).all()
    assert found.values == want.values and found.notes == want.notes
    assert {"first_frame_psnr", "identity", "truth_ssim", "flicker", "smoothness", "seam_jump"} <= set(found.values)
