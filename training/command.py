"""`python -m training VERB WORK`: the options of every verb.

Its help comes at once: nothing here imports PyTorch or ComfyUI. What a verb does is imported when it is run.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from .evaluation.choices import FINAL, NEW_WORLD, SCALES, SHIFTS, STEPS, WINDOWS, WORLD_NAMES
from .stages import STAGES, TARGETS

SNAPSHOT = Path(__file__).parent / "checkpoint.safetensors"
STORE = "clips"  # of real videos
PAIRS = 64
STEP_VERBS = {"world": "draw clips for the VAE", "vae": "train the VAE", "store": "encode clips for the stages"}
MEASURES = {
    "export": "write the shipped files of model, VAE and prompts",
    "sample": "write the sample: photo, driving video, skeletons",
    "set": "write the pairs of different people in X-Dance's layout",
    "evaluate": "baselines, ablations and the shipped pipeline on pairs with a true answer",
    "sweep": "steps, shift, window and scale of pose guidance on pairs, as a table",
    "compare": "WORK's result and the files of --model and --vae on the pairs of both drawn worlds",
    "results": "write rows, tables and pictures of training/results from what was evaluated",
    "long": "a long video in windows: seams, first frame, truth",
}


def main(arguments: list[str] | None = None, start: Callable[[bool], object] | None = None) -> int:
    """Run one verb; return the exit status. start: called with --cpu before PyTorch or ComfyUI are imported."""
    options = _parser().parse_args(arguments)
    if start:
        start(options.cpu)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)  # ComfyUI has set its own
    if options.cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    from .network import LARGE, SMALL
    from .pipeline import Work

    work = Work(options.work, LARGE if options.large else SMALL)
    try:
        getattr(import_module(f".{options.module}", __package__), options.run)(work, options)
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make the miniature, step by step.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, purpose in (STEP_VERBS | {name: stage.purpose for name, stage in STAGES.items()}).items():
        verb = _add(verbs, name, purpose, "command_steps", "run_step")
        verb.add_argument("--steps", type=int, default=0, help="instead of the table's")
        verb.add_argument("--clips", type=int, default=0, help="how many clips are drawn")
        verb.add_argument("--before", default="", help="the stage to start from, if not the one before")
        verb.add_argument("--output", default="", help="folder of the stage, if not its name")
        verb.add_argument("--compile", action="store_true", help="compile the blocks: slow to start, then faster")
        verb.add_argument("--accept-vae", action="store_true", help="go on with a VAE that is not good enough")
        if name in STAGES:
            _add_full_options(verb)
    _add_prepare(verbs)
    _add_lora(verbs)
    _add_snapshots(verbs)
    _add_gpu(verbs)
    for name, purpose in MEASURES.items():
        _add_measure_options(name, _add(verbs, name, purpose, "command_measure", f"run_{name}"))
    verb = verbs.add_parser("tables", help="print the stages, and what they take of a GPU's memory at 14B")
    verb.add_argument("--cpu", action="store_true", help="do not use a GPU")
    verb.set_defaults(module="command_steps", run="run_tables", work=Path(), large=False)
    return parser


def _add(verbs, name: str, purpose: str, module: str, run: str) -> argparse.ArgumentParser:
    """Add a verb that calls the function `run` of a module with the work folder and the options."""
    verb = verbs.add_parser(name, help=purpose)
    verb.add_argument("work", type=Path, help="the folder in which everything is made")
    verb.add_argument("--cpu", action="store_true", help="do not use a GPU")
    verb.add_argument("--large", action="store_true", help="the larger miniature, which `gpu` trains")
    verb.set_defaults(module=module, run=run, name=name)
    return verb


def _add_full_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--full", action="store_true", help="train a whole Wan 2.1 I2V with the 14B column of the table")
    verb.add_argument("--base", type=Path, help="with --full: Wan 2.1 I2V in bf16 or fp16, .safetensors")
    _add_stores(verb, "with --full: ")
    verb.add_argument("--bf16-shards", action="store_true", help="stage 2 with --full: less memory on several GPUs")
    _add_run_options(verb, "with --full: ")


def _add_stores(verb: argparse.ArgumentParser, when: str = "") -> None:
    verb.add_argument("--store", type=Path, help=f"{when}the folder that `prepare` made, else WORK/{STORE}")
    verb.add_argument("--held", type=Path, help=f"{when}such a folder of other clips, for the validation loss")
    verb.add_argument("--preview-vae", type=Path, help=f"{when}wan_2.1_vae.safetensors, for pictures on the way")


def _add_run_options(verb: argparse.ArgumentParser, when: str = "") -> None:
    for name, purpose in (
        ("stream", "frozen blocks wait in main memory while a LoRA is trained, for smaller GPUs"),
        ("sharded-checkpoints", "each process writes its part of a checkpoint while the training goes on"),
    ):
        verb.add_argument(f"--{name}", action="store_true", help=f"{when}{purpose}")
    text = f"{when}for which processes wait for each other, else PyTorch's choice"
    verb.add_argument("--timeout", type=float, default=0.0, metavar="MINUTES", help=text)


def _add_lora(verbs) -> None:
    purpose = "train a character or a style as a LoRA on SteadyDancer, with what `prepare` made"
    verb = _add(verbs, "lora", purpose, "command_steps", "run_lora_verb")
    verb.add_argument("--base", type=Path, required=True, help="SteadyDancer in bf16 or fp16, .safetensors")
    _add_stores(verb)
    _add_run_options(verb)
    verb.add_argument("--output", default="lora", help="folder in WORK, else %(default)s")
    for name, kind, text in (
        ("steps", int, "else 1500"),
        ("rank", int, "of the LoRA layers, else 32"),
        ("rate", float, "learning rate, else 0.0001"),
        ("warmup", int, "steps until that rate is reached, else 50"),
        ("shift", float, "of the noise levels, else 4: higher trains more on motion and layout, lower on detail"),
    ):
        verb.add_argument(f"--{name}", type=kind, help=text)
    verb.add_argument("--targets", nargs="+", choices=TARGETS, help="what gets LoRA layers, else all of them")


def _add_prepare(verbs) -> None:
    verb = _add(verbs, "prepare", "encode a folder of videos for stages with --full", "command_steps", "run_prepare")
    verb.add_argument("--videos", type=Path, required=True, help="videos, and prompts as .txt of the same name")
    for name, file in (("vae", "wan_2.1_vae"), ("clip-vision", "clip_vision_h"), ("text-encoder", "umt5_xxl_fp16")):
        verb.add_argument(f"--{name}", type=Path, required=name == "vae", help=f"{file}.safetensors or its like")
    verb.add_argument("--miniature", action="store_true", help="for the miniature, which has neither of these two")
    verb.add_argument("--yolox", type=Path, help="DW-Pose's person detector; without it the bundled BlazePose is used")
    verb.add_argument("--dwpose", type=Path, help="DW-Pose's keypoint network")
    verb.add_argument("--frames", type=int, help="of each clip, 4n + 1; else 81")
    verb.add_argument("--windows", action="store_true", help="a clip of every 81 frames of a video, not only the first")
    text = "WIDTHxHEIGHT of all clips, or several, the nearest for each video; else by the first video at 640 x 640"
    verb.add_argument("--size", type=_size, nargs="+", help=text)
    verb.add_argument("--prompt", help="of videos without a text file")
    verb.add_argument("--negative", help="negative prompt of all clips, else the published one")
    verb.add_argument("--store", type=Path, help=f"where the clips go, else WORK/{STORE}")


def _add_snapshots(verbs) -> None:
    verb = _add(verbs, "snapshot", "keep VAE and newest weights in one small file", "command_steps", "run_snapshot")
    verb.add_argument("--output", type=Path, default=SNAPSHOT, help="the file, else %(default)s")
    verb.add_argument("--without-vae", action="store_true", help="leave the VAE out, whose file is kept elsewhere")
    verb = _add(verbs, "restore", "make a new work folder from such a file", "command_steps", "run_restore")
    verb.add_argument("--snapshot", type=Path, default=SNAPSHOT, help="the file, else %(default)s")
    verb.add_argument("--vae", type=Path, help="the VAE's file where the snapshot has none")


def _add_gpu(verbs) -> None:
    purpose = "train the larger miniature in minutes on a GPU, from drawn clips to files in parts"
    verb = _add(verbs, "gpu", purpose, "command_steps", "run_gpu")
    verb.add_argument("part", choices=("vae", "stages"), help="the stages need WORK/vae from an earlier run")
    verb.add_argument("--minutes", type=float, default=8.5, help="since this process began: %(default)s")
    verb.add_argument("--steps", type=int, default=0, help="of each training, else as many as fit")
    verb.add_argument("--clips", type=int, default=0, help="how many clips are drawn, else as many as fit")
    verb.add_argument("--accept-vae", action="store_true", help="go on with a VAE that is not good enough")
    verb.add_argument("--small", dest="large", action="store_false", help="the small miniature, to rehearse")
    verb.set_defaults(large=True)
    verb = _add(
        verbs, "join", "make files of the parts that `gpu` wrote to the folder WORK", "command_steps", "run_join"
    )
    verb.add_argument("target", type=Path, help="the folder for the files")


def _add_measure_options(name: str, verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--stage", default=FINAL, help="whose weights: %(default)s")
    verb.add_argument("--pairs", type=int, default=PAIRS, help="how many pairs: %(default)s")
    verb.add_argument("--only", nargs="*", default=[], help="names of variants, else all whose weights are there")
    verb.add_argument("--output", type=Path, help="another folder for the result")
    if name in ("evaluate", "sweep", "results", "long"):
        verb.add_argument("--world", choices=WORLD_NAMES, default=NEW_WORLD, help="whose pairs: %(default)s")
    if name in ("evaluate", "sweep", "compare", "long"):
        verb.add_argument("--model", type=Path, help="measure this model file, not WORK's result; needs --vae")
        verb.add_argument("--vae", type=Path, help="the VAE file of --model")
    if name == "sweep":
        verb.add_argument("--steps", type=int, nargs="+", default=STEPS, help="%(default)s")
        verb.add_argument("--shifts", type=float, nargs="+", default=SHIFTS, help="%(default)s")
        verb.add_argument("--windows", type=_window, nargs="+", default=WINDOWS, help="START-END, such as 0.1-0.4")
        verb.add_argument("--scales", type=float, nargs="+", default=SCALES, help="of pose guidance: %(default)s")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is no size; write 640x640.")
    return int(width), int(height)


def _window(text: str) -> tuple[float, float]:
    start, _, end = text.partition("-")
    try:
        return float(start), float(end)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no window; write START-END, such as 0.1-0.4.") from None
