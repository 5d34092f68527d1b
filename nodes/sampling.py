"""Sampling: the whole sampler, and its parts for SamplerCustomAdvanced and for the stock KSampler."""

from comfy_api.latest import io

from ..steadydancer_core.sampling.guidance import PoseGuidance
from ..steadydancer_core.sampling.guidance_patch import patch_model
from ..steadydancer_core.sampling.run import make_guider, run
from ..steadydancer_core.sampling.schedule import make_sigmas, make_solver
from ..steadydancer_core.sampling.timeline import draw_timeline, timeline
from .common.miniature_note import miniature_note
from .common.node_display import running_display
from .common.node_picture import show_picture_of_run
from .common.node_text import show_text
from .common.sampling_inputs import (
    pose_every_input,
    pose_guidance_inputs,
    run_inputs,
    run_settings,
    skip_negative_after_input,
    solver_inputs,
    steps_input,
    text_guidance_input,
)

CATEGORY = "SteadyDancer/sampling"


def _conditions() -> list[io.Input]:
    return [
        io.Conditioning.Input("positive", tooltip="From Reconcile Conditions or Next Chunk."),
        io.Conditioning.Input("negative", tooltip="From Reconcile Conditions or Next Chunk."),
        _pose_negative(optional=True),
    ]


def _pose_negative(optional: bool) -> io.Input:
    tooltip = "From Reconcile Conditions or Next Chunk. Required unless pose guidance is 0."
    return io.Conditioning.Input("pose_negative", optional=optional, tooltip=tooltip)


class SteadyDancerSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSampler",
            display_name="SteadyDancer Sampler",
            category=CATEGORY,
            description=(
                "Samples the video with text and pose guidance, and shows what each step computed and how many "
                "forward passes it took. The defaults are the official settings."
            ),
            search_aliases=["ksampler", "pose guidance", "cfg", "preset"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer, with or without LoRAs."),
                *_conditions(),
                io.Latent.Input("latent", tooltip="From Reconcile Conditions or Next Chunk."),
                *run_inputs(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The video as a latent, for VAE Decode.")],
        )

    @classmethod
    def execute(cls, model, positive, negative, latent, seed, preset=None, pose_negative=None) -> io.NodeOutput:
        conditions = positive, negative, pose_negative
        with running_display() as display:
            result, report = run(model, *conditions, latent, seed, run_settings(preset), display)
        show_picture_of_run(draw_timeline(timeline([report.log])))
        text = "\n".join([report.text, *miniature_note(model)])
        return io.NodeOutput(result, ui=show_text(text))


class SteadyDancerGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerGuider",
            display_name="SteadyDancer Guider",
            category=CATEGORY,
            description="Text and pose guidance for SamplerCustomAdvanced.",
            search_aliases=["cfg guider", "pose guidance"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer, not patched by Pose Guidance."),
                *_conditions(),
                text_guidance_input(),
                *pose_guidance_inputs(),
                skip_negative_after_input(),
                pose_every_input(),
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        text_guidance,
        pose_guidance,
        pose_start,
        pose_end,
        pose_negative=None,
        skip_negative_after=1.0,
        pose_every=1,
    ) -> io.NodeOutput:
        guidance = PoseGuidance(pose_guidance, pose_start, pose_end, pose_every)
        conditions = positive, negative, pose_negative
        return io.NodeOutput(make_guider(model, *conditions, text_guidance, guidance, skip_negative_after))


class PoseGuidancePatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerPoseGuidance",
            display_name="Pose Guidance",
            category=CATEGORY,
            description=(
                "Adds pose guidance to the model itself, so that the stock KSampler and other samplers use it. "
                "SteadyDancer Sampler and Guider have their own: do not use both."
            ),
            search_aliases=["ksampler pose cfg"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer."),
                _pose_negative(optional=False),
                *pose_guidance_inputs(),
                pose_every_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="SteadyDancer with pose guidance.")],
        )

    @classmethod
    def execute(cls, model, pose_negative, pose_guidance, pose_start, pose_end, pose_every=1) -> io.NodeOutput:
        guidance = PoseGuidance(pose_guidance, pose_start, pose_end, pose_every)
        return io.NodeOutput(patch_model(model, pose_negative, guidance))


class SolverAndSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSchedule",
            display_name="SteadyDancer Solver and Schedule",
            category=CATEGORY,
            description=(
                "A solver and its noise schedule for SamplerCustomAdvanced: the official ones, or any of ComfyUI's. "
                "The schedule has the model's own shift (5, unless a ModelSamplingSD3 node changes it)."
            ),
            search_aliases=["ksampler select", "basic scheduler", "sigmas", "unipc", "dpm++"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer; its shift is used."),
                *solver_inputs(),
                steps_input(),
            ],
            outputs=[
                io.Sampler.Output(display_name="sampler", tooltip="For SamplerCustomAdvanced."),
                io.Sigmas.Output(display_name="sigmas", tooltip="For SamplerCustomAdvanced."),
            ],
        )

    @classmethod
    def execute(cls, model, solver, scheduler, steps) -> io.NodeOutput:
        model_sampling = model.get_model_object("model_sampling")
        sigmas = make_sigmas(model_sampling, solver, scheduler, steps)
        return io.NodeOutput(make_solver(solver), sigmas)


NODES = [SteadyDancerSampler, SteadyDancerGuider, PoseGuidancePatch, SolverAndSchedule]
