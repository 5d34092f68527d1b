"""Settings of the whole process that other packs change: nothing hangs, nothing comes out otherwise."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

PACK = Path(__file__).resolve().parents[2]
SECONDS = 60  # after which a process that has not ended counts as frozen
# torchvision up to 0.25 sets this level when it is imported. FFmpeg's threads then wait for Python to log.
READER = """
import sys
from types import ModuleType
import av.logging
av.logging.set_level(av.logging.ERROR)
pack = ModuleType("steadydancer_pack")
pack.__path__ = [sys.argv[1]]
sys.modules["steadydancer_pack"] = pack
from steadydancer_pack.steadydancer_core.video.video_stream import VideoStream

class Cancelled(Exception):
    pass

def cancel(stream):
    try:
        for _ in stream:
            raise Cancelled
    except Cancelled:
        return

for file in sys.argv[2:]:
    print(len(list(VideoStream(file, fps=0))), flush=True)
    early = iter(VideoStream(file))
    next(early)
    early.close()
    cancel(VideoStream(file))
    print("closed", flush=True)
"""
CODECS = {"libx264": {}, "libx265": {"x265-params": "log-level=none"}}


def moving_video(path, codec, frames=24, height=360, width=640):
    """Write a picture of noise that moves: enough work for several threads at once."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=24, options={"preset": "ultrafast", **CODECS[codec]})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(noise, 5 * index, 1), "rgb24")))
        output.mux(stream.encode(None))
    return path


def test_videos_are_read_whole_and_in_part_while_ffmpeg_logs_to_python(tmp_path):
    files = [str(moving_video(tmp_path / f"{codec}.mp4", codec)) for codec in CODECS]
    try:
        done = subprocess.run(
            [sys.executable, "-c", READER, str(PACK), *files], capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as frozen:
        pytest.fail(f"frozen after: {(frozen.stdout or b'').split()}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["24", "closed"] * len(files)
