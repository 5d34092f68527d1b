"""The pictures on the nodes: the timeline shows exactly what guidance asked of the model, and changes none of it."""

import logging
from types import SimpleNamespace

import comfy.sample
import comfy.samplers
import comfy.utils
import numpy as np
import pytest
import torch
from comfy_api.latest import io

from steadydancer_pack.media.canvas import BACKGROUND, FAINT, INK
from steadydancer_pack.media.image_layout import GAP, MARGIN, ROW, Line, beside, draw_table, shrink
from steadydancer_pack.nodes.chunks import ChunkSampler
from steadydancer_pack.nodes.common import node_picture
from steadydancer_pack.nodes.common.node_picture import show_picture_and_text
from steadydancer_pack.nodes.pose_align import AlignPoses, DrawPoses
from steadydancer_pack.nodes.sampling import SteadyDancerSampler
from steadydancer_pack.steadydancer_core.sampling import timeline as drawing
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.steadydancer_core.sampling.run_log import BRANCHES, RunLog
from steadydancer_pack.steadydancer_core.sampling.schedule import make_solver, official_sigmas
from steadydancer_pack.steadydancer_core.sampling.timeline import describe_pose, draw_timeline, spans, timeline

SOLVERS = ["official unipc", "official dpm++", "euler"]


class Double:
    """A model that answers at once, and remembers at each noise level which of the conditions it was asked for."""

    def __init__(self, model):
        self.model, self.asked, self.passes = model.clone(), {}, 0
        self.model.set_model_unet_function_wrapper(self)

    def __call__(self, apply_model, args):
        apply_model(args["input"], args["timestep"], **args["c"])
        self.passes += len(args["timestep"])
        self.asked.setdefault(float(args["timestep"][0]), []).extend(args["cond_or_uncond"])
        return args["input"] / 2

    def steps(self, branch):
        """The steps of `branch`, where each noise level is a step of its own."""
        return [step for step, asked in enumerate(self.asked.values()) if BRANCHES.index(branch) in asked]


@pytest.fixture
def quick(golden_patcher, monkeypatch):
    """The golden model without its network, which takes the time."""
    monkeypatch.setattr(type(golden_patcher.model), "_apply_model", lambda self, x, *args, **kwargs: x)
    return golden_patcher


def run(model, conds, inputs, pose=(1.0, 0.1, 0.4, 1), steps=50, solver="official unipc", text=5.0, after=1.0):
    guider = make_guider(model, *conds, text, PoseGuidance(*pose), skip_negative_after=after)
    latent = sample(guider, inputs.empty(), 0, solver, "official", steps)
    return latent["samples"], guider.log


def expand(ranges):
    return [step for span in ranges for step in span]


def test_spans_hold_the_steps_without_their_gaps():
    assert spans([7, 1, 2, 3, 9, 8]) == [range(1, 4), range(7, 10)] and spans([]) == []


@pytest.mark.parametrize("solver", SOLVERS)
def test_fifty_steps_with_the_official_window(quick, conds, inputs, solver):
    """0.1 to 0.4 of 50 steps, ends open: steps 6 to 19, counted from 0."""
    double = Double(quick)
    shown = timeline([run(double.model, conds, inputs, solver=solver)[1]])
    window = {"positive": range(50), "negative": range(50), "pose_negative": range(6, 20)}
    assert shown.lanes == {name: ([steps], []) for name, steps in window.items()}
    assert shown.pose == [range(6, 20)] and (shown.steps, shown.passes, shown.runs) == (50, 114, 1)
    assert double.passes == 114 and [[*window[name]] for name in BRANCHES] == [double.steps(name) for name in BRANCHES]


SETTINGS = [
    {"steps": 20, "pose": (1.0, 0.1, 0.4, 2), "after": 0.5},
    {"steps": 20, "pose": (1.0, 0.0, 1.0, 3), "after": 0.25},
    {"steps": 4, "text": 1.0},
    {"steps": 10, "text": 0.0},
    {"steps": 10, "pose": (0.0, 0.1, 0.4, 1)},
    {"steps": 10, "text": 1.0, "pose": (0.0, 0.1, 0.4, 1)},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_lanes_are_the_calls_that_reached_the_model(quick, conds, inputs, settings):
    double = Double(quick)
    shown = timeline([run(double.model, conds, inputs, **settings)[1]])
    for name, lane in shown.lanes.items():
        assert expand(lane.computed) == double.steps(name), name
    assert shown.passes == double.passes == sum(len(expand(lane.computed)) for lane in shown.lanes.values())
    pose = shown.lanes["pose_negative"]
    assert expand(shown.pose) == sorted(expand(pose.computed + pose.reused))


def test_what_is_kept_is_told_apart(quick, conds, inputs):
    _, log = run(quick, conds, inputs, (1.0, 0.1, 0.4, 2), steps=20, after=0.5)
    lanes = timeline([log]).lanes
    assert lanes["negative"] == ([range(0, 10)], [range(10, 20)])
    assert lanes["pose_negative"] == ([range(3, 4), range(5, 6), range(7, 8)], [range(4, 5), range(6, 7)])


def test_solvers_that_ask_twice_count_every_pass(quick, conds, inputs):
    """heun asks each level but the first twice; the lanes are steps, the passes are all of them."""
    double = Double(quick)
    shown = timeline([run(double.model, conds, inputs, steps=20, solver="heun")[1]])
    assert expand(shown.lanes["positive"].computed) == list(range(20)) and shown.pose == [range(3, 8)]
    assert expand(shown.lanes["pose_negative"].computed) == double.steps("pose_negative") == [3, 4, 5, 6, 7]
    assert shown.passes == double.passes == 2 + 2 * 2 * 19 + 2 * 5


def test_another_nodes_batch_hook_leaves_every_branch_its_name(quick, conds, inputs):
    def batch(args):
        names = ("model", "conds", "input", "sigma", "model_options")
        return comfy.samplers.calc_cond_batch(*(args[name] for name in names))

    want = timeline([run(quick, conds, inputs, steps=10)[1]])
    hooked = quick.clone()
    hooked.model_options["sampler_calc_cond_batch_function"] = batch
    assert timeline([run(hooked, conds, inputs, steps=10)[1]]) == want


def test_writing_it_down_changes_no_bit(golden_patcher, conds, inputs):
    """Without pose guidance ours is the stock guider, which writes nothing down."""
    found, log = run(golden_patcher, conds, inputs, (0.0, 0.1, 0.4, 1), steps=2)
    draw_timeline(timeline([log]))
    again, _ = run(golden_patcher, conds, inputs, (0.0, 0.1, 0.4, 1), steps=2)
    stock = comfy.samplers.CFGGuider(golden_patcher)
    stock.set_conds(conds[0], conds[1])
    stock.set_cfg(5.0)
    empty = torch.zeros(1, 16, *inputs.size)
    noise, sigmas = comfy.sample.prepare_noise(empty, 0), official_sigmas("unipc", 2, 5.0)
    want = stock.sample(noise, empty, make_solver("official unipc"), sigmas, disable_pbar=True, seed=0)
    assert torch.equal(found, want) and torch.equal(again, want)


def made_up_log(steps=20):
    log = RunLog(calls=[33], pose_steps={3, 4, 5}, levels=tuple(official_sigmas("unipc", steps, 5.0).tolist()))
    log.computed |= {"positive": set(range(steps)), "negative": set(range(10)), "pose_negative": {3, 5}}
    log.reused |= {"negative": set(range(10, steps)), "pose_negative": {4}}
    return log


@pytest.mark.parametrize("steps", [20, 300])
def test_the_drawn_cells_have_the_colors_of_their_branches(steps):
    shown = timeline([made_up_log(steps)])
    picture = draw_timeline(shown)
    for place, (name, lane) in enumerate(shown.lanes.items()):
        computed, reused = expand(lane.computed), expand(lane.reused)
        row = round(drawing.TOP + place * (drawing.LANE + drawing.GAP) + drawing.LANE / 4)
        for step in range(0, steps, max(1, steps // 20)):
            pixel = tuple(picture[row, int(drawing.step_place(shown, step) + 1)].tolist())
            assert (pixel == drawing.COLORS[name]) == (step in computed), (name, step)
            assert (pixel == drawing.dark(drawing.COLORS[name])) == (step in reused), (name, step)


def test_the_window_is_told_in_steps_and_sigma():
    levels = official_sigmas("unipc", 20, 5.0).tolist()
    several = f"pose guidance: steps 4 to 6, sigma {levels[3]:.3f} to {levels[5]:.3f}"
    one = f"pose guidance: step 4, sigma {levels[3]:.3f}"
    log = made_up_log()
    for steps, words in (({3, 4, 5}, several), ({3}, one), (set(), "no pose guidance")):
        log.pose_steps = steps
        assert describe_pose(timeline([log])) == words


def test_runs_of_one_schedule_are_one_timeline():
    shown = timeline([made_up_log(), made_up_log()])
    assert (shown.runs, shown.passes) == (2, 66) and shown.lanes == timeline([made_up_log()]).lanes
    with pytest.raises(ValueError, match="nothing was sampled"):
        timeline([])


def sampled(model, conds, inputs):
    values = {"steps": 10, "text_guidance": 5.0, "pose_guidance": 1.0, "pose_start": 0.1, "pose_end": 0.4, "shift": 5.0}
    values |= {"solver": "official unipc", "scheduler": "official"}
    return SteadyDancerSampler.execute(model, *conds[:2], inputs.empty(), 0, {"preset": "Custom", **values}, conds[2])


def test_the_sampler_shows_the_timeline_of_its_run_as_its_last_preview(quick, conds, inputs, monkeypatch):
    """ComfyUI's page keeps the last preview in the node, over the pictures of a UI output."""
    previews = []
    hook = lambda value, total, preview, **_: previews.append(preview)  # noqa: E731  comfy.utils' own signature
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    shown = sampled(quick, conds, inputs).ui.as_dict()
    kind, picture, limit = previews[-1]
    want = draw_timeline(timeline([run(quick, conds, inputs, steps=10)[1]]))
    assert kind == "PNG" and limit is None and np.array_equal(np.asarray(picture), want)
    assert "images" not in shown and "22 forward passes" in shown["text"][0]


def test_a_full_temp_folder_costs_the_picture_and_not_the_poses(monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_picture.ui, "PreviewImage", full)
    node = SimpleNamespace(hidden=None)
    with caplog.at_level(logging.WARNING):
        shown = show_picture_and_text(node, np.zeros((8, 8, 3), np.uint8), "part 0.94", "part: held")
    assert shown == {"text": ("part 0.94",), "shown": ("part: held",)} and "No space left on device" in caplog.text


@pytest.mark.parametrize("node", [AlignPoses, DrawPoses, SteadyDancerSampler, ChunkSampler])
def test_a_node_with_a_picture_takes_no_video(node):
    """In Nodes 2.0 a node with a VIDEO input shows its pictures as video."""
    assert io.Video.io_type not in [i.io_type for i in node.GET_SCHEMA().inputs]


def test_pictures_stand_beside_each_other_untouched():
    left, right = (np.random.default_rng(seed).integers(0, 256, (40, 200, 3), np.uint8) for seed in (0, 1))
    plain, named = beside([left, right]), beside([left, right[:20]], ["one", "two"])
    assert plain.shape == (40 + 2 * GAP, 400 + 3 * GAP, 3) and tuple(plain[0, 0]) == BACKGROUND
    assert np.array_equal(plain[GAP:-GAP, GAP : GAP + 200], left)
    assert np.array_equal(plain[GAP:-GAP, -GAP - 200 : -GAP], right)
    top = len(named) - 40 - GAP
    assert np.array_equal(named[top : top + 20, -GAP - 200 : -GAP], right[:20])
    assert all((named[:top, x : x + 180] == INK).any() for x in (GAP, 2 * GAP + 200))


def test_shrinking_keeps_the_shape_and_never_enlarges():
    picture = np.full((1000, 500, 3), 7, np.uint8)
    assert shrink(picture, 300, 400).shape == (400, 200, 3) and (shrink(picture, 300, 400) == 7).all()
    assert shrink(picture, 500, 1000) is picture and shrink(picture, 9000, 9000) is picture


def test_the_table_has_a_row_for_each_line_and_faint_ones():
    heading = Line(("part", "photo", "ratio"), heading=True)
    lines = [heading, Line(("head", "1%", "0.5")), Line(("neck", "-", "1"), True)]
    picture = draw_table(lines)
    rows = [picture[MARGIN // 2 + i * ROW : MARGIN // 2 + (i + 1) * ROW - 2].reshape(-1, 3) for i in range(3)]
    colours = [{tuple(pixel) for pixel in row.tolist()} & {INK, FAINT} for row in rows]
    assert colours == [{FAINT}, {INK}, {FAINT}] and len(draw_table(lines, "unit")) == len(picture) + ROW
