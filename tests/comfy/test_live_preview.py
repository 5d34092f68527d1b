"""While a run lasts: pictures of the video so far in the colors of the photo, the step, and the time left."""

import re
import time
from itertools import islice
from types import SimpleNamespace

import av
import comfy.latent_formats
import comfy.sd
import comfy.utils
import latent_preview
import numpy as np
import pytest
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy_execution.utils import CurrentNodeContext
from PIL import Image
from protocol import BinaryEventTypes
from server import PromptServer

from steadydancer_pack.miniature import SIDE, shipped
from steadydancer_pack.nodes.common import node_display, page_words
from steadydancer_pack.nodes.common.node_display import STAGES, describe_stage, running_display
from steadydancer_pack.steadydancer_core.sampling import live_preview
from steadydancer_pack.steadydancer_core.sampling.conditions import encode_shared, zero_clip
from steadydancer_pack.steadydancer_core.sampling.display import Display
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.presets import PRESETS
from steadydancer_pack.steadydancer_core.sampling.run import run
from steadydancer_pack.steadydancer_core.sampling.run_progress import PlannedStep, RunProgress, plan_steps
from steadydancer_pack.steadydancer_core.sampling.schedule import make_sigmas

WAN = comfy.latent_formats.Wan21()


class Recorder(Display):
    """A display that keeps what it is given."""

    shows_pictures = True

    def __init__(self):
        self.stages, self.played = [], []

    def say(self, stage, **values):
        self.stages.append({"stage": stage, **values})

    def play(self, pictures):
        self.played.append(pictures)


def test_the_latents_are_those_of_a_run_without_a_page_and_each_step_shows_every_latent_frame(
    quick_model, conds, inputs
):
    settings, display = PRESETS["Fast 4"], Recorder()
    plain, _ = run(quick_model, *conds, inputs.empty(), 3, settings)
    shown, _ = run(quick_model, *conds, inputs.empty(), 3, settings, display)
    assert torch.equal(plain["samples"], shown["samples"])
    frames, height, width = plain["samples"].shape[2:]
    assert [len(pictures) for pictures in display.played] == [frames] * 4
    assert {picture.size for pictures in display.played for picture in pictures} == {(width, height)}
    assert [(told["stage"], told.get("step"), told.get("pose")) for told in display.stages] == [
        ("loading", None, None),
        ("step", 1, False),
        ("step", 2, True),
        ("step", 3, False),
        ("step", 4, False),
    ]
    assert [told.get("seconds") is None for told in display.stages] == [True, True, False, False, False]


class Vae:
    """Encodes to zeros, and keeps how many frames it is given."""

    def __init__(self):
        self.encoded = []

    def encode(self, pixels):
        self.encoded.append(len(pixels))
        return torch.zeros(1, 16, len(pixels) // 4 + 1, pixels.shape[1] // 8, pixels.shape[2] // 8)


@pytest.mark.parametrize(("display", "encoded"), [(Display(), [9, 9]), (Recorder(), [9, 9, 5])])
def test_the_photo_is_encoded_once_more_only_for_a_page(display, encoded):
    vae = Vae()
    shared, _ = encode_shared(vae, torch.rand(1, 16, 24, 3), torch.rand(9, 16, 24, 3), zero_clip(), display)
    assert vae.encoded == encoded and (live_preview.LATENT in shared) == display.shows_pictures
    if display.shows_pictures:
        assert (shared[live_preview.LATENT].shape, shared[live_preview.COLORS].shape) == (
            (1, 16, 2, 2, 3),
            (1, 2, 3, 3),
        )


@torch.inference_mode()
def miniature_clip():
    """Return the sample dance [17, SIDE, SIDE, 3] in 0..1, its latent, and what its first frame says of the colors."""
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(shipped("steadydancer_miniature_vae.safetensors"))))
    with av.open(str(shipped("steadydancer_sample_dance.mp4"))) as file:
        frames = [f.to_ndarray(format="rgb24", width=SIDE, height=SIDE) for f in islice(file.decode(video=0), 17)]
    clip = torch.from_numpy(np.stack(frames)).float() / 255
    latent = vae.encode(clip)
    return clip, WAN.process_in(latent), live_preview.known_colors(vae, clip[:1], latent[:, :, :1])


def color_error(pictures, clip):
    """Return the mean difference of each picture to the clip's own colors, in parts of 255."""
    frames = clip[[0, *range(2, len(clip), 4)]].movedim(-1, 1)  # the middle of the four that a latent holds
    want = torch.nn.functional.interpolate(frames, pictures[0].size, mode="area").movedim(1, -1).numpy() * 255
    return np.abs(np.stack([np.asarray(picture, float) for picture in pictures]) - want).mean((1, 2, 3))


def test_the_colors_are_right_for_the_miniature_too():
    clip, latent, known = miniature_clip()
    model = SimpleNamespace(latent_format=WAN, process_latent_in=WAN.process_in)
    patcher = SimpleNamespace(model=model, load_device="cpu")
    ours, stock = (live_preview.choose_pictures(patcher, cond)(latent) for cond in (known, {}))
    assert max(color_error(ours, clip)) < 12 and min(color_error(stock, clip)) > 60


def test_the_map_is_comfyuis_where_that_is_right_already():
    generator = torch.Generator().manual_seed(0)
    latent, stock = torch.randn(16, 12, 16, generator=generator), live_preview.stock_map(WAN)
    colors = ((latent.movedim(0, -1) @ stock[:-1] + stock[-1]) + 1) / 2
    torch.testing.assert_close(live_preview.color_map(latent, colors, stock), stock, atol=1e-5, rtol=0)


def test_a_photo_that_has_no_numbers_ends_no_run():
    model = SimpleNamespace(latent_format=WAN, process_latent_in=WAN.process_in)
    cond = {live_preview.LATENT: torch.full((1, 16, 2, 4, 4), torch.nan), live_preview.COLORS: torch.zeros(1, 4, 4, 3)}
    pictures = live_preview.choose_pictures(SimpleNamespace(model=model, load_device="cpu"), cond)
    assert len(pictures(torch.zeros(1, 16, 3, 4, 4))) == 3


def test_a_long_clip_shows_48_frames_from_the_first_to_the_last():
    x0 = torch.linspace(-1, 1, 101).view(1, 1, 101, 1, 1).expand(1, 16, 101, 2, 2)
    mapping = torch.tensor([[1.0, 1.0, 1.0], *[[0.0] * 3] * 16])
    grays = [picture.getpixel((0, 0))[0] for picture in live_preview.pictures_by_map([mapping] * 2, x0)]
    assert len(grays) == 48 and (grays[0], grays[-1]) == (0, 255) and grays == sorted(grays)


class OtherPacks(latent_preview.LatentPreviewer):
    """A previewer that is not ComfyUI's."""


class Tae(latent_preview.TAEHVPreviewerImpl):
    """ComfyUI's for a small decoder; pictures show the frame's value."""

    def __init__(self):
        super().__init__(SimpleNamespace(decode=lambda x0: x0[:, :3].movedim(1, -1)))


@pytest.mark.parametrize(("previewer", "grays"), [(OtherPacks(), None), (Tae(), [0, 127, 255])])
def test_the_previewer_of_another_pack_is_left_alone_and_a_small_decoder_is_used(monkeypatch, previewer, grays):
    monkeypatch.setattr(latent_preview, "get_previewer", lambda *_: previewer)
    patcher = SimpleNamespace(model=SimpleNamespace(latent_format=WAN), load_device="cpu")
    pictures, x0 = live_preview.choose_pictures(patcher, {}), torch.tensor([0, 0.5, 1]).view(1, 1, 3, 1, 1)
    found = pictures and [picture.getpixel((0, 0))[0] for picture in pictures(x0.expand(1, 16, 3, 2, 2))]
    assert found == grays


@pytest.mark.parametrize(("steps", "passes"), [(40, 91), (20, 45), (10, 22), (4, 9)])
def test_the_plan_counts_the_official_passes(golden_patcher, steps, passes):
    model_sampling = golden_patcher.get_model_object("model_sampling")
    sigmas = make_sigmas(model_sampling, "official unipc", "official", steps)
    plan = plan_steps(sigmas, model_sampling, TextGuidance(), PoseGuidance())
    assert sum(step.passes for step in plan) == passes and len(plan) == steps


@pytest.mark.parametrize(("name", "passes"), [("Official 40", 91), ("Balanced 20", 33), ("Fast 4", 5)])
def test_the_plan_counts_the_passes_of_the_presets(golden_patcher, name, passes):
    model_sampling, row = golden_patcher.get_model_object("model_sampling"), PRESETS[name]
    sigmas = make_sigmas(model_sampling, row.solver, row.scheduler, row.steps)
    assert sum(step.passes for step in plan_steps(sigmas, model_sampling, row.text, row.pose)) == passes


def test_the_time_left_goes_by_passes_and_leaves_the_warm_up_out():
    """3 steps of 2, 3 and 2 passes in 2 chunks; the first takes 10 s, each pass of the others 1 s."""
    times, display = iter([0, 10, 13, 15, 100, 102, 105, 107]), Recorder()
    plan = [PlannedStep(2, False), PlannedStep(3, True), PlannedStep(2, False)]
    for chunk in (0, 1):
        progress = RunProgress(display, plan, lambda: next(times))
        progress.begin()
        for step in range(3):
            progress.step_done(3 * chunk + step, 6)
    seconds = [told["seconds"] for told in display.stages]
    assert seconds == [None, 5 * (5 + 7), 2 + 7, None, 5, 2]


def test_the_words_of_a_stage():
    step = {"step": 3, "steps": 40}
    assert describe_stage(STAGES, "loading", {}) == "Loading the model"
    assert describe_stage(STAGES, "step", {}, **step) == "Step 3 of 40"
    assert describe_stage(STAGES, "step", {}, seconds=89, **step) == "Step 3 of 40, about 89 s left"
    assert describe_stage(STAGES, "step", {}, seconds=0.2, **step) == "Step 3 of 40, about 1 s left"
    assert describe_stage(STAGES, "step", {}, True, 300, **step) == "Step 3 of 40, with pose guidance, about 5 min left"
    chunk = {"number": 2, "count": 5}
    assert (
        describe_stage(STAGES, "step", chunk, seconds=7260, **step)
        == "Chunk 2 of 5: Step 3 of 40, about 2 h 1 min left"
    )


@pytest.mark.parametrize("language", ["zh", "zh-TW", "ja", "ko"])
def test_every_stage_has_its_words_in_every_language(language, monkeypatch):
    monkeypatch.setattr(page_words, "page_language", lambda: language)
    words = page_words.page_words("stages")
    assert {stage: fields(text) for stage, text in words.items()} == {key: fields(text) for key, text in STAGES.items()}
    assert set(words.values()).isdisjoint(STAGES.values())


def fields(text):
    return sorted(re.findall(r"{\w+}", text))


class Server:
    """A server with one page; refused: what its setting says of previews."""

    def __init__(self, refused):
        self.client_id, self.sent, self.texts = "page", [], []
        self.sockets_metadata = {"page": {"feature_flags": {"supports_preview_metadata": True}}}
        queue = [(0, "run", {}, {"preview_method": refused} if refused else {}, [], {})]
        self.prompt_queue = SimpleNamespace(get_current_queue_volatile=lambda: (queue, []))

    def send_sync(self, event, data, client):
        self.sent.append((event, data, client))

    def send_progress_text(self, text, node, client):
        self.texts.append((text, node, client))


@pytest.mark.parametrize(("refused", "shows"), [("", True), ("none", False), ("auto", True)])
def test_a_page_gets_words_and_pictures_until_the_run_ends(monkeypatch, refused, shows):
    server = Server(refused)
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    monkeypatch.setattr(node_display, "LATENTS_PER_SECOND", 200)
    with CurrentNodeContext("run", "7"), running_display() as display:
        assert display.shows_pictures == shows
        display.say("loading")
        display.play([Image.new("L", (4, 4), gray) for gray in (0, 100, 200)])
        while len(server.sent) < 5:
            time.sleep(0.001)
    sent = len(server.sent)
    time.sleep(0.02)
    assert len(server.sent) == sent and server.texts == [("Loading the model", "7", "page"), ("", "7", "page")]
    events, given, clients = zip(*server.sent, strict=True)
    assert set(events) == {BinaryEventTypes.PREVIEW_IMAGE_WITH_METADATA} and set(clients) == {"page"}
    assert [picture[1].getpixel((0, 0)) for picture, _ in given][:4] == [0, 100, 200, 0]
    assert given[0][1]["display_node_id"] == "7" and given[0][0][2] == args.preview_size


def test_a_program_gets_no_pictures(monkeypatch):
    server = Server("")
    server.sockets_metadata = {"page": {"feature_flags": {}}}
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    with CurrentNodeContext("run", "7"), running_display() as display:
        assert not display.shows_pictures


def test_without_a_page_nothing_is_shown(monkeypatch):
    with running_display() as display:
        assert type(display) is Display
    monkeypatch.setattr(PromptServer, "instance", SimpleNamespace(client_id=None), raising=False)
    with CurrentNodeContext("run", "7"), running_display() as display:
        assert type(display) is Display
    assert args.preview_method == LatentPreviewMethod.NoPreviews


def test_the_page_language_is_that_of_its_setting(tmp_path, monkeypatch):
    monkeypatch.setattr("folder_paths.user_directory", str(tmp_path))
    settings = tmp_path / "default" / "comfy.settings.json"
    settings.parent.mkdir()
    for text, language in {'{"Comfy.Locale": "zh"}': "zh", "{}": "en", "{broken": "en", "[]": "en"}.items():
        settings.write_text(text, encoding="utf-8")
        assert page_words.page_language() == language
    settings.write_text('{"Comfy.Locale": "../zh"}', encoding="utf-8")
    assert page_words.page_words("stages") == {}
    settings.unlink()
    assert page_words.page_language() == "en" and page_words.page_words("stages") == {}
