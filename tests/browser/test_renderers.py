"""What an artist sees of a run, in the classic renderer and in Nodes 2.0: pictures, reports, the video, its graph.

And the first hour: from Templates to the video that plays within four clicks, also in App mode.
"""

from functools import partial

import pytest
from playwright.sync_api import Page

from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.tests.browser.graph import (
    LOAD,
    REPORTS,
    RUN_TIME,
    TYPES,
    VALUES,
    VUE,
    WORKFLOWS,
    draw_with,
    drop_file,
    enter_app_mode,
    in_time,
    node_of,
    open_template,
    ours,
    press_run,
    show,
    types,
)
from steadydancer_pack.tools.templates.names import (
    CHECK_THE_DANCE,
    FAST_4_STEPS,
    LONG_VIDEO,
    OFFICIAL_QUALITY,
    QUICK_START,
    STAGE_BY_STAGE,
)

RUNS = {QUICK_START: ("Nodes 2.0", "classic"), STAGE_BY_STAGE: ("classic", "Nodes 2.0")}
MOST_CLICKS = 4
SAMPLER, VIDEO = "SteadyDancerSampler", "SteadyDancerVideoCombine"
WITH_PICTURE = ("SteadyDancerMiniatureSample", "SteadyDancerAlignPoses", "SteadyDancerDrawPoses", SAMPLER)
# The pictures of a node as [width of the file, width on the page], drawn on the canvas or standing in the page.
PICTURES_ON_CANVAS = """id => {
    const {graph, canvas} = window.app;
    const node = graph.getNodeById(id);
    const drawn = (node.widgets || []).filter(widget => widget.name === '$$canvas-image-preview');
    const width = node.size[0] * canvas.ds.scale;
    return drawn.flatMap(() => (node.imgs ?? []).map(picture => [picture.naturalWidth, width]));
}"""
PICTURES_IN_DOM = """id => [...document.querySelectorAll(`[data-node-id="${id}"] img`)]
    .map(picture => [picture.naturalWidth, picture.getBoundingClientRect().width])"""
SEEN_ELSEWHERE = "line => document.body.innerText.includes(line)"
PLAYERS = """() => [...document.querySelectorAll('video')].filter(player => player.src.includes('type=output'))"""
PLAYABLE = f"() => ({PLAYERS})().some(player => player.readyState >= 2 && player.videoWidth > 0)"
PLAY = f"() => Promise.all(({PLAYERS})().map(player => player.play()))"
PLAYED = f"() => ({PLAYERS})().some(player => player.currentTime > 0.3)"
# What ran before has its output already, and would not run again.
FORGET = "() => window.app.extensionManager.command.execute('Comfy.Memory.UnloadModelsAndExecutionCache')"
CHOOSE = """([id, values]) => {
    for (const [name, value] of Object.entries(values)) {
        const widget = window.app.graph.getNodeById(id).widgets.find(widget => widget.name === name);
        widget.value = value;
        widget.callback?.(value);
    }
}"""
COUNT_CLICKS = """() => {
    if (window.clicks === undefined) addEventListener('pointerdown', () => { window.clicks += 1; }, true);
    window.clicks = 0;
}"""
LABELS = "() => [...document.querySelectorAll('[data-testid=builder-widget-label]')].map(label => label.innerText)"
OF_A_PHOTO = ["photo", "driving video", "prompt", "person", "size", "length in frames", "seed"]
FORMS = {
    QUICK_START: ["steps", "length in frames", "seed"],
    CHECK_THE_DANCE: ["photo", "driving video", "own files, not the sample", "person", "size", "length in frames"],
    **dict.fromkeys((FAST_4_STEPS, OFFICIAL_QUALITY, LONG_VIDEO), OF_A_PHOTO),
}
# What the page shows of a run depends neither on its steps nor on the size and the length of the video.
QUICK = {"preset.steps": 2}
SMALL = {
    "SteadyDancerAnimateFromVideo": {"max_frames": 9, "size.width": 48, "size.height": 48},
    "SteadyDancerExtractPoses": {"max_frames": 9},
}


@pytest.mark.parametrize(("name", "renderers"), RUNS.items())
def test_run_makes_a_video_that_plays_and_brings_the_graph_back(page, server, name, renderers):
    """In the renderer that is on during the run, and in the other one after it."""
    run_in(page, server, name, renderers)
    check_graph_of(page, newest_video(server), WORKFLOWS[name])
    check_reports(page, server)  # from the history
    assert ours(page.errors) == []


def run_in(page: Page, server: ComfyProcess, name: str, renderers: tuple[str, ...], quick: bool = True) -> None:
    """Run a workflow of the pack in the first renderer, quick or as it is shipped; look at the results in each."""
    run(page, name, renderers[0], quick)
    for renderer in renderers:
        draw_with(page, renderer)
        check_run(page, server, name, renderer)


def run(page: Page, name: str, renderer: str, quick: bool) -> None:
    """Open a workflow of the pack, run the whole of it, and wait for its video."""
    page.evaluate(COUNT_CLICKS)
    repeated = open_template(page, name)
    draw_with(page, renderer)
    page.evaluate(FORGET)
    if quick:
        seed = {"seed": 1000 + [*WORKFLOWS].index(name)}  # the same clip of two workflows would be saved once
        choose_quick(page, WORKFLOWS[name], seed)
    press_run(page)
    assert page.evaluate("window.clicks") - repeated <= MOST_CLICKS
    page.wait_for_function(PLAYABLE, timeout=RUN_TIME)


def test_the_quick_start_is_a_form_in_app_mode_whose_video_plays_and_others_have_theirs(page):
    run_in_app_mode(page)
    check_forms(page)
    assert ours(page.errors) == []


def run_in_app_mode(page: Page) -> None:
    """Run the quick start as a form: the clicks of the graph, and the keys of App mode."""
    page.evaluate(COUNT_CLICKS)
    repeated = open_template(page, QUICK_START)
    page.evaluate(FORGET)
    choose_quick(page, WORKFLOWS[QUICK_START], {"seed": 999})
    enter_app_mode(page)
    page.get_by_test_id("linear-run-button").get_by_role("button", name="Run", exact=True).click()
    assert page.evaluate("window.clicks") - repeated <= MOST_CLICKS
    page.wait_for_function(PLAYABLE, timeout=RUN_TIME)
    page.evaluate(PLAY)
    page.wait_for_function(PLAYED)


def check_forms(page: Page) -> None:
    """The form of each workflow has its rows, in words, in their order, and no other."""
    for name, rows in FORMS.items():
        page.evaluate(LOAD, WORKFLOWS[name])
        enter_app_mode(page)
        assert in_time(page, lambda: page.evaluate(LABELS), rows) == rows, name


def choose_quick(page: Page, workflow: dict, seed: dict[str, int]) -> None:
    """Choose what makes a run of the open workflow quick."""
    page.evaluate(CHOOSE, [sampler_of(workflow)["id"], QUICK | seed])
    for node in workflow["nodes"]:
        if node["type"] in SMALL:
            page.evaluate(CHOOSE, [node["id"], SMALL[node["type"]]])


def sampler_of(workflow: dict) -> dict:
    """Return the sampler, or the node of the subgraph around it, which shows its seed and its steps."""
    return node_of(workflow, SAMPLER) or node_of(workflow, workflow["definitions"]["subgraphs"][0]["id"])


def check_run(page: Page, server: ComfyProcess, name: str, renderer: str) -> None:
    """The pictures, the reports and the player of the run are in the nodes that made them, each once."""
    check_pictures(page, WORKFLOWS[name], renderer)
    check_reports(page, server)
    play(page, node_of(WORKFLOWS[name], VIDEO)["id"])


def check_pictures(page: Page, workflow: dict, renderer: str) -> None:
    """Each node that makes a picture shows it once, large enough to be seen."""
    pictures = PICTURES_IN_DOM if VUE[renderer] else PICTURES_ON_CANVAS
    shown = [node for node in workflow["nodes"] if node["type"] in WITH_PICTURE]
    for node in shown:
        show(page, node["id"])
        large = in_time(page, partial(large_pictures, page, pictures, node["id"]), [True])
        assert large == [True], node["type"]


def large_pictures(page: Page, pictures: str, node: int) -> list[bool]:
    """Return whether each picture of the node is over 100 pixels wide, in its file and on the page."""
    return [width > 100 and on_page > 100 for width, on_page in page.evaluate(pictures, node)]


def check_reports(page: Page, server: ComfyProcess) -> None:
    """Each node that reports shows its report once, and nothing of it anywhere else."""
    *_, last = server.client.get("/history").values()
    outputs = [(id, output) for id, output in last["outputs"].items() if ":" not in id]  # in no subgraph
    reports = {int(id): output.get("shown", output["text"])[0].strip() for id, output in outputs if "text" in output}
    assert any(reports.values())
    for id, report in reports.items():
        show(page, id)
        wanted = [report] if report else []
        assert in_time(page, lambda id=id: page.evaluate(REPORTS, id), wanted) == wanted
        assert not report or not page.evaluate(SEEN_ELSEWHERE, report.splitlines()[0])


def play(page: Page, video: int) -> None:
    """The one player of a new video is in the node that made it, and plays."""
    show(page, video)
    page.wait_for_function(PLAYABLE)
    assert in_time(page, lambda: page.evaluate(f"() => ({PLAYERS})().length"), 1) == 1
    page.evaluate(PLAY)
    page.wait_for_function(PLAYED)


def newest_video(server):
    return max((server.base / "output" / "video").glob("*.mp4"))


def check_graph_of(page: Page, video, workflow: dict) -> None:
    """Dropping the video on an empty workflow opens the one that made it, with every value that it had."""
    values = page.evaluate(VALUES)
    page.get_by_label("Create a new blank workflow").click()
    page.wait_for_function("() => window.app.graph.nodes.length === 0")
    drop_file(page, video, 850, 500)
    page.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(workflow["nodes"]))
    assert in_time(page, lambda: page.evaluate(TYPES), types(workflow)) == types(workflow)
    assert in_time(page, lambda: page.evaluate(VALUES), values) == values
