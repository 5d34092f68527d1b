"""The running node as a display: its stage as progress text, and the pictures of the video so far, which move."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from comfy.cli_args import args
from comfy_api.feature_flags import supports_feature
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import ExecutionContext, get_executing_context
from PIL import Image
from protocol import BinaryEventTypes

from ...steadydancer_core.sampling.display import Display
from .page_words import page_words

PREVIEWS = "supports_preview_metadata"  # ComfyUI's name of what a page can do
LATENTS_PER_SECOND = 4  # a latent holds 4 of the model's 16 frames per second
STAGES = {
    "encoding": "Encoding the photo and the poses",
    "loading": "Loading the model",
    "decoding": "Decoding the frames",
    "step": "Step {step} of {steps}",
    "pose": "{stage}, with pose guidance",
    "left": "{stage}, about {time} left",
    "chunk": "Chunk {number} of {count}: {stage}",
    "seconds": "{seconds} s",
    "minutes": "{minutes} min",
    "hours": "{hours} h {minutes} min",
}


@contextmanager
def running_display() -> Generator[Display]:
    """Yield the display of the running node, one that shows nothing where no page has started the run."""
    context = get_executing_context()
    if context is None:
        yield Display()
        return
    from server import PromptServer  # only here: a command that runs nodes has no server

    server = getattr(PromptServer, "instance", None)
    if server is None or server.client_id is None:
        yield Display()
        return
    display = NodeDisplay(server, context)
    try:
        yield display
    finally:
        display.stop()


class NodeDisplay(Display):
    """Sends to the page that started the run. Pictures come from a thread of their own, between the steps too."""

    def __init__(self, server, context: ExecutionContext):
        self._server, self._context, self._client = server, context, server.client_id
        self._stages, self._chunk = {**STAGES, **page_words("stages")}, {}
        self._pictures: Sequence[Image.Image] = ()
        self._stopped = threading.Event()
        self._player = threading.Thread(target=self._play, name="SteadyDancer preview", daemon=True)

    @property
    def shows_pictures(self) -> bool:
        """Whether a page shows previews, and its setting does not say none. Without a setting it does."""
        if not supports_feature(self._server.sockets_metadata, self._client, PREVIEWS):
            return False  # a program that queues prompts
        running, _ = self._server.prompt_queue.get_current_queue_volatile()
        mine = (extra for _, prompt_id, _, extra, *_ in running if prompt_id == self._context.prompt_id)
        return next(mine, {}).get("preview_method") != "none"

    def start_chunk(self, number: int, count: int) -> None:
        self._chunk = {"number": number, "count": count}

    def say(self, stage: str, **values) -> None:
        text = describe_stage(self._stages, stage, self._chunk, **values)
        self._server.send_progress_text(text, self._context.node_id, self._client)

    def play(self, pictures: Sequence[Image.Image]) -> None:
        self._pictures = pictures
        if self._player.ident is None:
            self._player.start()

    def stop(self) -> None:
        """Show no more pictures, and no stage."""
        self._server.send_progress_text("", self._context.node_id, self._client)
        self._stopped.set()
        if self._player.ident is not None:
            self._player.join()

    def _play(self) -> None:
        progress, node = get_progress_state().dynprompt, self._context.node_id
        names = {
            "node_id": node,
            "prompt_id": self._context.prompt_id,
            "display_node_id": progress.get_display_node_id(node),
            "parent_node_id": progress.get_parent_node_id(node),
            "real_node_id": progress.get_real_node_id(node),
        }
        shown = 0
        while not self._stopped.wait(1 / LATENTS_PER_SECOND if shown else 0):
            pictures = self._pictures
            picture = "JPEG", pictures[shown % len(pictures)], args.preview_size
            self._server.send_sync(BinaryEventTypes.PREVIEW_IMAGE_WITH_METADATA, (picture, dict(names)), self._client)
            shown += 1


def describe_stage(
    words: dict[str, str],
    stage: str,
    chunk: dict[str, int],
    pose: bool = False,
    seconds: float | None = None,
    **values: int,
) -> str:
    """Return a stage in these words; chunk: its number and count, {} without; seconds: left, None if not known."""
    text = words[stage].format(**values)
    if pose:
        text = words["pose"].format(stage=text)
    if seconds is not None:
        text = words["left"].format(stage=text, time=_duration(words, seconds))
    return words["chunk"].format(stage=text, **chunk) if chunk else text


def _duration(words: dict[str, str], seconds: float) -> str:
    if seconds < 90:
        return words["seconds"].format(seconds=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return words["minutes"].format(minutes=minutes)
    return words["hours"].format(hours=minutes // 60, minutes=minutes % 60)
