"""What an artist does wrong, done in the page: the page marks the node, and says what was found and what to do."""

import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from steadydancer_pack.comfy_client.process import PACK_FOLDER, ComfyProcess
from steadydancer_pack.tests.browser.graph import (
    LOAD,
    REPORTS,
    RUN_TIME,
    WITH_LOADERS,
    WORKFLOWS,
    draw_with,
    files_of,
    in_time,
    node_of,
    press_run,
    show,
)
from steadydancer_pack.tests.browser.mistakes import (
    Act,
    add,
    choose,
    cut,
    lead_model_through,
    link,
    remove,
    write_files,
)
from steadydancer_pack.tests.browser.words import hear
from steadydancer_pack.tools.templates.names import OFFICIAL_QUALITY, QUICK_START, READY_SKELETONS, STAGE_BY_STAGE

# The nodes about which the canvas draws a red line.
RED = """() => {
    const red = stroke => stroke?.color === window.LiteGraph.NODE_ERROR_COLOUR;
    return window.app.graph.nodes
        .filter(n => Object.values(n.strokeStyles).some(style => red(style.call(n))))
        .map(n => n.title);
}"""
# Whether words of the error log are seen without scrolling: not before the log is there and laid out.
SEEN = """words => {
    const panel = document.querySelector('[data-testid=runtime-error-panel]');
    const texts = document.createTreeWalker(panel ?? document.createElement('p'), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const at = texts.currentNode.data.indexOf(words);
        if (at < 0) continue;
        const range = document.createRange();
        range.setStart(texts.currentNode, at);
        range.setEnd(texts.currentNode, at + words.length);
        let box = texts.currentNode.parentElement;
        while (box && box.scrollHeight <= box.clientHeight + 1) box = box.parentElement;
        const bottom = box ? box.getBoundingClientRect().bottom : window.innerHeight;
        return range.getClientRects().length > 0 && range.getBoundingClientRect().bottom <= bottom;
    }
    return false;
}"""
MODEL, SAMPLER, RECONCILE = "Load SteadyDancer Model", "SteadyDancer Sampler", "Reconcile Conditions"
SMALL = choose(RECONCILE, width=48, height=48, length=5), choose(SAMPLER, **{"preset.steps": 2})
HISTORY_TICK = 200  # ms; the history is long
NO_ROOM = 150 << 20  # bytes that ComfyUI may still take when its memory is to run out


class Mistake(NamedTuple):
    """What is done in which workflow, the title of the node that turns red, and what its message says.

    is_inside: a subgraph holds the node, so that it is not seen on the canvas.
    """

    does: tuple[Act, ...]
    red: str
    found: str
    remedy: str
    workflow: str = READY_SKELETONS
    is_inside: bool = False


MISTAKES = {
    "a model without pose": Mistake(
        (choose(MODEL, model_name="plain_wan.safetensors"),), MODEL,
        "plain_wan.safetensors is a plain Wan image-to-video model, not SteadyDancer",
        "Choose a SteadyDancer-14B file, for example Wan21_I2V_SteadyDancer_fp16.safetensors.",
    ),
    "a model that was not downloaded whole": Mistake(
        (choose(MODEL, model_name="cut_off.safetensors"),), MODEL,
        "cut_off.safetensors is damaged or not complete", "Delete it and download it again.",
    ),
    "a LoRA of another model": Mistake(
        (*lead_model_through("LoraLoaderModelOnly", "Load LoRA", "MODEL"),
         choose("Load LoRA", lora_name="of_a_smaller_model.safetensors")), SAMPLER,
        "A LoRA on the model was made for another one", "Take it out, or use a LoRA for Wan 2.1 14B.",
    ),
    "a VAE for images": Mistake(
        (choose("Load VAE", vae_name="for_images.safetensors"),), RECONCILE,
        "Found an SD or SDXL VAE", "Choose wan_2.1_vae.safetensors in Load VAE.",
    ),
    "another CLIP vision": Mistake(
        (add("CLIPVisionLoader", "Load CLIP Vision"),
         choose("Load CLIP Vision", clip_name="clip_vision_l.safetensors"),
         link("Load CLIP Vision", "CLIP_VISION", RECONCILE, "clip_vision")), RECONCILE,
        "Found features of CLIP-L", "Choose clip_vision_h.safetensors in Load CLIP Vision.",
    ),
    "nobody in the video": Mistake(
        (choose("Driving video", file="nobody.mp4"),), "Poses of the video",
        "found nobody in any of the 9 frames", "or try another detector in Load Pose Detector.", STAGE_BY_STAGE,
    ),
    "nobody in the photo": Mistake(
        (choose("Photo", image="nobody.png"),), "Poses From Video",
        "Photo: BlazePose (CPU) found nobody in the picture", "or try another detector in Load Pose Detector.",
        QUICK_START,
    ),
    "a detector without its files": Mistake(
        (choose("Load Pose Detector", detector="DW-Pose (YOLOX + DW-Pose files)"),), "Load Pose Detector",
        "There is no yolox file 'yolox_l.onnx' here.", "or download yolox_l.onnx into ", STAGE_BY_STAGE,
    ),
    "a single pose": Mistake(
        (choose("Pose video", file="one_frame.mp4"),), RECONCILE,
        "Found 1 pose frame(s); SteadyDancer needs at least 5. A single image is connected to pose_frames",
        "Connect the whole skeleton clip of 'Draw Poses' or 'Poses From Video'.",
    ),
    "three frames of the dance": Mistake(
        (choose("Poses From Video", max_frames=3),), RECONCILE,
        "Found 3 pose frame(s); SteadyDancer needs at least 5.", "Raise max_frames of 'Poses From Video'",
        QUICK_START, True,
    ),
    "a pose-negative that is too short": Mistake(
        (choose(RECONCILE, length=9), choose("Pose-negative video", file="short.mp4")), RECONCILE,
        "There are 5 pose-negative frames for a clip of 9 frames.", "Give as many pose-negative frames as pose frames",
    ),
    "no pose-negative": Mistake(
        (cut(RECONCILE, "pose_negative_frames"),), SAMPLER,
        "Nothing is connected to pose_negative, but pose guidance is on.", "or set pose guidance to 0",
    ),
    "a photo of another shape": Mistake(
        (choose("Photo", image="wide.png"),), RECONCILE,
        "The pose frames are 384x384 but the photo is 96x48", "Use 'Align Poses' on the pose, or crop one",
    ),
    "prompts straight to the sampler": Mistake(
        (link("Prompt", "conditioning", SAMPLER, "positive"),), SAMPLER,
        "SteadyDancer got a condition without photo or pose.", "Connect the outputs of 'Reconcile Conditions'",
    ),
    "an overlap as long as the window": Mistake(
        (*lead_model_through("SteadyDancerLongVideoWindows", "Windows", "model"),
         choose("Windows", window=17, overlap=20)), "Windows",
        "The overlap is 20 frames and the window 17", "Take an overlap of 16 to 32 frames for a window of 81.",
    ),
    "a pose to show, and none connected": Mistake(
        (choose("Video Combine (SteadyDancer)", show_pose="side by side"),), "Video Combine (SteadyDancer)",
        "show_pose is on, but nothing is connected to pose_frames.", "or set show_pose to off.",
    ),
}  # fmt: skip
# The error of the last run, in Chinese.
IN_CHINESE = """async module => {
    const { translate } = await import(module);
    return translate(window.app.lastExecutionError.exception_message, 'zh');
}"""
TITLED = "title => window.app.graph.nodes.some(n => n.title === title)"
MESSAGES = f"/extensions/{PACK_FOLDER}/messages.js"
ENGLISH = re.compile(r"(?:\b[A-Za-z_']+ ){4}")
OTHER_VAE = "SteadyDancer \u9700\u8981 Wan 2.1 \u7684 VAE"
OTHER_FOLDER = {
    "en": "filename_prefix '../x' does not name a file inside ComfyUI's output folder.",
    "zh": "'../x' \u6307\u7684\u4e0d\u662f ComfyUI \u8f93\u51fa\u6587\u4ef6\u5939\u91cc\u7684\u6587\u4ef6",
}
IN_BOTH = ("a model without pose", "no pose-negative", "nobody in the photo")


@pytest.fixture(scope="module")
def files(server) -> None:
    """The files of all mistakes."""
    write_files(server.base)


@pytest.fixture(scope="module")
def page(files, shared_page) -> Page:
    """One page for all mistakes, as an artist has it open all day."""
    return shared_page


@pytest.fixture
def chinese_page(page) -> Iterator[Page]:
    """The page in Chinese, with a workflow whose nodes it has translated."""
    page.evaluate(LOAD, WORKFLOWS[READY_SKELETONS])
    hear(page, ("zh", "en", "zh"))
    page.wait_for_function(TITLED, arg="\u5408\u6210\u89c6\u9891")
    yield page
    hear(page, ("en",))
    page.wait_for_function(TITLED, arg="Video Combine (SteadyDancer)")


def start(page: Page, does: tuple[Act, ...], workflow: str = READY_SKELETONS, renderer: str = "classic") -> None:
    """Open a workflow, do these things in it, and press Run."""
    draw_with(page, renderer)
    page.evaluate(LOAD, WITH_LOADERS.get(workflow, WORKFLOWS[workflow]))
    for act in (*(SMALL if workflow == READY_SKELETONS else ()), *does):
        act(page)
    press_run(page)


def see_errors(page: Page, *words: str) -> str:
    """Wait for the page's message, open its details, wait until they say these words, and return all that they say."""
    page.get_by_test_id("error-overlay-see-errors").click()
    panel = page.get_by_test_id("properties-panel")
    expect(panel.get_by_test_id("errors-summary-hero")).to_be_visible()
    for told in words:  # until then the panel may hold the error before
        expect(panel).to_contain_text(told)
    return panel.inner_text()


def expect_red(page: Page, *titles: str) -> None:
    """Wait until these nodes are the red ones."""
    assert in_time(page, lambda: page.evaluate(RED), [*titles]) == [*titles]


def see_name_refused(page: Page, said: str) -> None:
    """Give the video a name outside the output folder, press Run, see the page say why it is refused, close that."""
    choose("SteadyDancerVideoCombine", filename_prefix="../x")(page)
    press_run(page)
    told = page.get_by_role("alert").filter(has_text=said)
    expect(told.first).to_be_visible()
    for left in reversed(range(told.count())):  # it would lie over the buttons of later tests for a quarter of a minute
        told.first.locator(".p-toast-close-button").click()
        expect(told).to_have_count(left)


def wait_for_runs(page: Page, server: ComfyProcess, count: int) -> dict:
    """Return ComfyUI's record of its last run when there are `count` of them."""
    for _ in range(RUN_TIME // HISTORY_TICK):
        history = server.client.get("/history")
        if len(history) >= count:
            return list(history.values())[-1]
        page.wait_for_timeout(HISTORY_TICK)
    raise TimeoutError(f"{len(history)} runs instead of {count}")


def test_words_are_seen_only_where_the_panel_shows_them(browser):
    panels = {
        "<p>the words": False,
        "<p data-testid=runtime-error-panel>": False,
        "<p data-testid=runtime-error-panel hidden>the words": False,
        "<p data-testid=runtime-error-panel>the words": True,
        "<p data-testid=runtime-error-panel style='height: 50px; overflow: auto'><br><br><br><br>the words": False,
    }
    with browser.new_context() as context:
        page = context.new_page()
        for panel, seen in panels.items():
            page.set_content(panel)
            assert page.evaluate(SEEN, "the words") is seen, panel


@pytest.mark.parametrize("name", MISTAKES)
def test_the_red_node_says_what_to_do(page, name):
    mistake = MISTAKES[name]
    start(page, mistake.does, mistake.workflow)
    expect(page.get_by_test_id("error-overlay")).to_contain_text(mistake.red)
    see_errors(page, mistake.red, mistake.found, mistake.remedy)
    if not mistake.is_inside:
        expect_red(page, mistake.red)
    page.wait_for_function(SEEN, arg=mistake.remedy)
    assert not ENGLISH.search(page.evaluate(IN_CHINESE, MESSAGES).partition("\n")[0])


def test_a_refused_name_is_explained_before_the_run(page):
    page.evaluate(LOAD, WORKFLOWS[READY_SKELETONS])
    see_name_refused(page, OTHER_FOLDER["en"])
    expect_red(page, "Video Combine (SteadyDancer)")


def test_a_chinese_page_says_it_in_chinese(chinese_page):
    choose("VAELoader", vae_name="for_images.safetensors")(chinese_page)
    press_run(chinese_page)
    see_errors(chinese_page, OTHER_VAE)
    chinese_page.wait_for_function(SEEN, arg=OTHER_VAE)
    see_name_refused(chinese_page, OTHER_FOLDER["zh"])


@pytest.mark.parametrize("name", IN_BOTH)
def test_in_nodes_2_the_node_is_marked_and_says_the_same(page, name):
    mistake = MISTAKES[name]
    start(page, mistake.does, mistake.workflow, "Nodes 2.0")
    told = see_errors(page, mistake.found, mistake.remedy)
    marked = page.locator("[data-node-id]").filter(has=page.get_by_role("button", name="Error", exact=True))
    expect(marked).to_have_count(1)
    expect(marked.get_by_test_id("node-title")).to_have_text(mistake.red)
    page.wait_for_function(SEEN, arg=mistake.remedy)
    assert "## System Information" in told and not page.evaluate(SEEN, "## System Information")  # it lies far below


def test_a_full_graphics_card(page):
    """The page has words of its own for it; what can be lowered stands below them."""
    start(page, lead_model_through("FullCard", "A full card", "model"))
    ours = "SteadyDancer ran out of memory on the GPU (CUDA out of memory. Tried to allocate 2.00 GiB)."
    see_errors(page, "Not enough GPU memory.", ours)
    expect_red(page, SAMPLER)
    for remedy in ("1. width and height", "with a higher blocks_to_swap", "with an fp8 or GGUF file"):
        page.wait_for_function(SEEN, arg=remedy)


def test_a_full_main_memory(page, server):
    """Reconcile Conditions meets it first, with frames that are too large; and ComfyUI goes on afterwards."""
    runs, pid = len(server.client.get("/history")), server.process.pid
    start(page, ())
    wait_for_runs(page, server, runs + 1)  # what comes before Reconcile Conditions is there
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    _, most = resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + NO_ROOM, -1))
    try:
        start(page, (choose(RECONCILE, width=2048, height=2048),))
        see_errors(page, "SteadyDancer ran out of memory on the CPU")
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    expect_red(page, RECONCILE)
    page.wait_for_function(SEEN, arg="Lower, in this order: 1. width and height; 2. the length")
    start(page, ())
    assert wait_for_runs(page, server, runs + 3)["status"]["status_str"] == "success"


def test_a_forgotten_model(page):
    """ComfyUI refuses such a prompt itself; the names are those of the canvas."""
    start(page, (remove(MODEL),))
    see_errors(page, "Missing connection", "SteadyDancer Sampler - model")
    expect_red(page, SAMPLER)


def test_files_that_were_not_downloaded(page):
    start(page, (), OFFICIAL_QUALITY)
    models = files_of(WORKFLOWS[OFFICIAL_QUALITY])
    see_errors(page, "Missing Models", *(model[key] for model in models for key in ("name", "directory")))
    assert models and in_time(page, lambda: "SteadyDancer" in page.evaluate(RED), True)


def test_what_is_brought_to_fit_is_told_on_the_node(page, server):
    """Not a mistake: a size and a length that cannot be, another aspect, and no CLIP vision. The run goes on."""
    runs = len(server.client.get("/history"))
    odd = add("PrimitiveInt", "A number"), choose("A number", value=50), link("A number", "INT", RECONCILE, "width")
    start(page, (*odd, choose(RECONCILE, height=96, length=81)))
    assert wait_for_runs(page, server, runs + 1)["status"]["status_str"] == "success"
    node = node_of(WORKFLOWS[READY_SKELETONS], "SteadyDancerReconcileConditions")["id"]
    show(page, node)
    page.wait_for_function(f"id => ({REPORTS})(id).length", arg=node)
    (report,) = page.evaluate(REPORTS, node)
    assert "48x96, 33 frames" in report and "size 50x96 brought to 48x96, multiples of 16" in report
    assert "The photo is cropped to the shape of the video: left and right 50% of the width are cut." in report
    assert "length 81 brought to 33 (4n+1, 33 pose frames given)" in report
    assert "Connect clip_vision to Load CLIP Vision with clip_vision_h.safetensors" in report


def test_the_page_itself_brings_a_typed_value_to_the_next_that_works(page):
    start(page, (choose(RECONCILE, width=50, length=8), remove(MODEL)))
    see_errors(page)
    values = page.evaluate("t => window.app.graph.nodes.find(n => n.title === t).widgets.map(w => w.value)", RECONCILE)
    assert values[:3] == [48, 48, 9]


def test_a_mistake_loses_nothing_that_was_made(page, server):
    runs = len(server.client.get("/history"))
    start(page, (choose(SAMPLER, seed=7), choose("Video Combine (SteadyDancer)", show_pose="side by side")))
    see_errors(page, "show_pose is on")
    choose("Video Combine (SteadyDancer)", show_pose="off")(page)
    press_run(page)
    done = wait_for_runs(page, server, runs + 2)
    cached = next(data["nodes"] for kind, data in done["status"]["messages"] if kind == "execution_cached")
    sampler = page.evaluate("t => String(window.app.graph.nodes.find(n => n.title === t).id)", SAMPLER)
    assert done["status"]["status_str"] == "success" and sampler in cached
    expect_red(page)
