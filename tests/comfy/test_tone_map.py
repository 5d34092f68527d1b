"""HDR videos: previews as a screen shows them, poses on the pixels as they are coded."""

import io

import numpy as np
import pytest

from steadydancer_pack.media.tone_map import HLG, PQ, tone_mapped
from steadydancer_pack.media.video_stream import VideoStream
from steadydancer_pack.tests.comfy import test_pose_extract_node as node
from steadydancer_pack.tests.comfy.test_pose_extract_node import user_folder  # noqa: F401  fixture
from steadydancer_pack.tests.comfy.test_video_stream import file_video, make_video

SDR, BT2020 = 1, 9
WHITE = {PQ: 148, HLG: 191}  # of 255: 203 cd/m2, by ITU-R BT.2408 58 % of PQ and 75 % of HLG


def hdr_video(transfer, level):
    """Return an MP4 of ten frames in which a gray person of that level stands in front of black."""
    picture = np.zeros((node.HEIGHT, node.WIDTH, 3), np.uint8)
    picture[:, 20:40] = level
    colors = {"color_trc": transfer, "color_primaries": BT2020, "colorspace": BT2020}
    return make_video(io.BytesIO(), pictures=[picture] * 10, rate=16, container="mp4", **colors)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_the_preview_of_hdr_is_tone_mapped_and_the_poses_stay(transfer):
    plain, hdr = (hdr_video(kind, WHITE[transfer]) for kind in (SDR, transfer))
    coded = list(VideoStream(plain))
    assert len(coded) == 10 and np.array_equal(coded, list(VideoStream(hdr)))
    wanted, found = (node.run(video=file_video(file)).result for file in (plain, hdr))
    assert found[0] == wanted[0] and found[5] == wanted[5]
    level = [round(255 * float(result[1][0, 88:, 20:40].median())) for result in (wanted, found)]
    assert level == pytest.approx([WHITE[transfer], 233], abs=1)
    assert not found[1][0, :, 100:].any()


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_cached_preview_of_hdr_is_mapped_once(transfer):
    video = file_video(hdr_video(transfer, WHITE[transfer]))
    first, again = (node.run(video=video, use_cache=True).result[1] for _ in range(2))
    assert first.equal(again)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_gray_stays_gray_and_grows_with_the_light_and_other_pixels_stay_the_same(transfer):
    pixels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, -1)
    shown = tone_mapped(pixels, transfer)[:, 0]
    assert (np.ptp(shown, axis=1) == 0).all() and (np.diff(shown[:, 0].astype(int)) >= 0).all()
    assert shown[0, 0] == 0 and shown[-1, 0] == 255
    assert tone_mapped(pixels, SDR) is pixels
