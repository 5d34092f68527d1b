"""What a running node shows of its work: the stage in words, and moving pictures. nodes/common implements it."""

from collections.abc import Sequence

from PIL import Image


class Display:
    """Shows nothing: for runs without a page. shows_pictures: whether `play` is worth calling."""

    shows_pictures = False

    def start_chunk(self, number: int, count: int) -> None:
        """Say of all stages from here on that they belong to chunk `number` of `count`."""

    def say(self, stage: str, **values) -> None:
        """Show a stage: "encoding", "loading" or "decoding"; or "step" with step, steps, pose and seconds left."""

    def play(self, pictures: Sequence[Image.Image]) -> None:
        """Show these pictures one after the other, at the speed of latent frames, until others come."""


NO_DISPLAY = Display()
