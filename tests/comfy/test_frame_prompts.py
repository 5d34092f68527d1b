"""A prompt for some frames: exactly that prompt's velocity there, in one piece, in windows and in the KSampler."""

import comfy.context_windows
import comfy.sample
import pytest
import torch

from steadydancer_pack.nodes.frame_prompt import PromptForFrames
from steadydancer_pack.steadydancer_core.long_video.windows import apply_windows
from steadydancer_pack.steadydancer_core.sampling.frame_prompts import (
    FRAMES,
    LAST,
    add_prompt,
    check_prompts,
    fit_prompts,
    parse_frames,
)
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample

OFF, ON = PoseGuidance(0.0), PoseGuidance(1.0, 0.1, 0.9)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [("", ()), (" , ", ()), ("41-58, 90", ((41, 59), (90, 91))), ("120 -", ((120, LAST),)), ("0-0", ((0, 1),))],
)
def test_frames_as_text(text, ranges):
    assert parse_frames(text) == ranges and PromptForFrames.validate_inputs(text) is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("58-41", "ends before it begins"),
        ("-5", "no range of frames"),
        ("a", "no range of frames"),
        ("1.5", "no range of frames"),
        ("1234567890", "no range of frames"),
        ("1," * 1001, "lists 1001 ranges"),
    ],
)
def test_what_is_no_range_is_refused_before_the_run(text, words):
    with pytest.raises(ValueError, match=words):
        parse_frames(text)
    assert words in PromptForFrames.validate_inputs(text)


def test_without_frames_the_prompt_is_the_very_same_and_later_choices_hold():
    front, back, side = ([[torch.full((1, 1, 1), float(i)), {}]] for i in range(3))
    assert PromptForFrames.execute(front, back, " ").args[0] is front
    latent = torch.zeros(1, 16, 3, 2, 2)
    assert fit_prompts(front, range(9), latent) is front
    both = add_prompt(add_prompt(front, back, parse_frames("1-6")), side, parse_frames("5-8, 20-"))
    fitted = fit_prompts(both, range(9), latent)
    assert [entry[1]["mask"][0, :, 0, 0].tolist() for entry in fitted] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert len(fit_prompts(both, range(5, 18), torch.zeros(1, 16, 4, 2, 2))) == 2  # 5 to 8, then the front again
    with pytest.raises(ValueError, match="has frames of its own already"):
        add_prompt(front, both, ((0, 1),))
    assert check_prompts(front, 9) == [] == check_prompts(both, 9)
    (note,) = check_prompts(add_prompt(front, back, parse_frames("9-12, 40-")), 9)
    assert note == "the prompt for frames 9-12, 40- is not used: none of the 9 frames is left to it"
    with pytest.raises(ValueError, match="does not go together with a mask"):
        check_prompts(add_prompt([[front[0][0], {"mask": latent}]], back, ((0, 1),)), 9)


def test_a_clip_that_goes_on_from_another_takes_the_prompt_that_it_goes_on_with():
    front, back = ([[torch.zeros(1, 1, 1), {"name": name}]] for name in ("front", "back"))

    def names(text, frames, shared):
        latent = torch.zeros(1, 16, (len(frames) + 3) // 4, 2, 2)
        fitted = fit_prompts(add_prompt(front, back, parse_frames(text)), frames, latent, shared)
        return [values["name"] for _, values in fitted]

    assert names("9-", range(9), 0) == ["front"] and names("9-", range(4, 13), 2) == ["back"]
    assert names("6-", range(4, 13), 2) == ["back"]  # the border lies in the shared frames 4 to 8
    assert names("10-", range(4, 13), 2) == ["front", "back"]
    assert names("5-6", range(4, 13), 2) == ["front", "back"]  # a stretch that both clips have is not lost


@pytest.fixture
def counted(golden_patcher):
    """A model, and the number of passes so far in a list."""
    model, passes = golden_patcher.clone(), []

    def call(apply_model, args):
        passes.append(len(args["timestep"]))
        return apply_model(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(call)
    return model, passes


def two_prompts(make_conds, clip, text):
    """Return the conditions of two prompts, and of the second in the frames of `text`."""
    first = make_conds(clip)
    second = [[[cond[0][0].flip(1) * 2, cond[0][1]]] if name != "negative" else cond
              for name, cond in zip(("positive", "negative", "pose_negative"), first, strict=True)]  # fmt: skip
    latent, frames = torch.zeros(1, 16, *clip.size), range(clip.size[0] * 4 - 3)
    mixed = [
        fit_prompts(add_prompt(one, other, parse_frames(text)) if name != "negative" else one, frames, latent)
        for name, one, other in zip(("positive", "negative", "pose_negative"), first, second, strict=True)
    ]
    return first, second, mixed


def run(model, conds, clip, guidance=OFF, steps=1, text_guidance=1.0):
    guider = make_guider(model, *conds, text_guidance=text_guidance, guidance=guidance)
    return sample(guider, {"samples": torch.zeros(1, 16, *clip.size)}, 0, "euler", "simple", steps)["samples"]


def test_each_latent_frame_has_the_velocity_of_its_prompt(counted, make_conds, inputs):
    model, passes = counted
    first, second, mixed = two_prompts(make_conds, inputs, "5-")  # latent frame 2 of 3
    outputs = [run(model, conds[:2] + [None], inputs) for conds in (list(first), second, mixed)]
    assert passes == [1, 1, 2]
    torch.testing.assert_close(outputs[2][:, :, :2], outputs[0][:, :, :2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs[2][:, :, 2:], outputs[1][:, :, 2:], rtol=1e-5, atol=1e-5)
    assert (outputs[0] - outputs[1]).abs().mean() > 1e-3
    whole = two_prompts(make_conds, inputs, "0-")[2]
    passes.clear()
    assert torch.equal(run(model, whole[:2] + [None], inputs), outputs[1]) and passes == [1]


def test_all_branches_in_the_guider_and_in_a_stock_ksampler(counted, make_conds, inputs):
    model, passes = counted
    mixed = two_prompts(make_conds, inputs, "5-")[2]
    ours = run(model, mixed, inputs, ON, steps=3, text_guidance=5.0)
    assert sum(passes) == 3 * 3 + 2 * 2  # two prompts and the negative, two pose-negatives in steps 2 and 3
    latent = torch.zeros(1, 16, *inputs.size)
    noise = comfy.sample.prepare_noise(latent, 0)
    patched = patch_model(model, mixed[2], ON)
    stock = comfy.sample.sample(
        patched, noise, 3, 5.0, "euler", "simple", mixed[0], mixed[1], latent, seed=0, disable_pbar=True
    )
    torch.testing.assert_close(stock, ours, rtol=1e-4, atol=1e-4)


def test_windows_whose_frames_have_one_prompt_compute_that_alone(counted, make_conds, inputs):
    model, passes = counted
    clip, windowed = type(inputs)(frames=38), apply_windows(model, 81, 16)  # latent frames 0 to 20 and 17 to 37
    first, second, mixed = two_prompts(make_conds, clip, "81-")  # from latent frame 21 on
    outputs = [run(windowed, conds[:2] + [None], clip) for conds in (list(first), second, mixed)]
    assert passes == [1] * 6
    assert torch.equal(outputs[2][:, :, :17], outputs[0][:, :, :17])
    assert torch.equal(outputs[2][:, :, 21:], outputs[1][:, :, 21:])
    # Across the overlap the distance to the first prompt's video grows, to the second's falls.
    apart = [(outputs[2] - other)[:, :, 17:21].abs().mean(dim=(0, 1, 3, 4)) for other in outputs[:2]]
    assert (apart[0].diff() > 0).all() and (apart[1].diff() < 0).all()
    passes.clear()
    border_inside = two_prompts(make_conds, clip, "41-44")[2]  # latent frame 11
    found = run(windowed, border_inside[:2] + [None], clip)
    assert passes == [2, 1] and torch.equal(found[:, :, 21:], outputs[0][:, :, 21:])
    torch.testing.assert_close(found[:, :, 11], outputs[1][:, :, 11], rtol=1e-4, atol=1e-4)


def test_windows_that_do_not_know_the_frames_are_refused(golden_patcher, make_conds, inputs):
    clip, model = type(inputs)(frames=8), golden_patcher.clone()
    model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("flat"), context_length=4, context_overlap=1, dim=2,
    )  # fmt: skip
    first, _, mixed = two_prompts(make_conds, clip, "5-")
    with pytest.raises(ValueError, match="does not work with ComfyUI's own context windows"):
        run(model, mixed[:2] + [None], clip)
    assert run(model, [*first[:2], None], clip).isfinite().all()
    assert FRAMES in mixed[0][1][1]
