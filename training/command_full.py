"""The command's part for whole models: `prepare` makes a store of videos, `--full` runs a stage on one.

`tables` prints those of README.md: the stages, and what each takes of a GPU's memory.
"""

import argparse
import sys
from pathlib import Path

from ..dwpose.detect.blazepose import BlazePose
from ..dwpose.detect.wholebody import DWPose
from .encoders import Encoders, load_encoder, load_text, load_vision
from .full import FullFiles, run_full
from .memory_plan import table
from .pipeline import Work
from .real_clips import FRAMES, NEGATIVE, PROMPT, ClipSettings, prepare_clips
from .stages import columns

STORE = "clips"


def add_full_options(verb: argparse.ArgumentParser) -> None:
    """Add the options that train a whole model."""
    verb.add_argument("--full", action="store_true", help="train a whole Wan 2.1 I2V with the 14B column of the table")
    verb.add_argument("--base", type=Path, help="with --full: Wan 2.1 I2V in bf16 or fp16, .safetensors")
    verb.add_argument("--store", type=Path, help=f"with --full: the folder that `prepare` made, else WORK/{STORE}")
    verb.add_argument("--held", type=Path, help="with --full: such a folder of other clips, for the validation loss")
    verb.add_argument("--preview-vae", type=Path, help="with --full: wan_2.1_vae.safetensors, for pictures on the way")


def run_full_stage(work: Work, options: argparse.Namespace) -> None:
    """Run a stage of a whole model."""
    if options.base is None:
        raise ValueError("--full needs --base, the file of Wan 2.1 I2V that SteadyDancer is trained from.")
    files = FullFiles(options.base, options.store or work.folder / STORE, options.preview_vae, options.held)
    run_full(work, options.name, files, options.steps, options.before, options.output)


def add_full_verbs(verbs) -> None:
    """Add the commands that make a store of a folder of videos, and that print the tables of README.md."""
    verb = verbs.add_parser("prepare", help="encode a folder of videos for stages with --full")
    verb.add_argument("work", type=Path, help="the folder in which everything is made")
    verb.add_argument("--videos", type=Path, required=True, help="videos, and prompts as .txt of the same name")
    for name, file in (("vae", "wan_2.1_vae"), ("clip-vision", "clip_vision_h"), ("text-encoder", "umt5_xxl_fp16")):
        verb.add_argument(f"--{name}", type=Path, required=True, help=f"{file}.safetensors or its like")
    verb.add_argument("--yolox", type=Path, help="DW-Pose's person detector; without it the bundled BlazePose is used")
    verb.add_argument("--dwpose", type=Path, help="DW-Pose's keypoint network")
    verb.add_argument("--frames", type=int, default=FRAMES, help="of each clip, 4n + 1")
    verb.add_argument("--size", type=_size, help="WIDTHxHEIGHT of all clips, else by the first video at 640 x 640")
    verb.add_argument("--prompt", default=PROMPT, help="of videos without a text file")
    verb.add_argument("--negative", default=NEGATIVE, help="negative prompt of all clips, else the published one")
    verb.add_argument("--store", type=Path, help=f"where the clips go, else WORK/{STORE}")
    verb.add_argument("--cpu", action="store_true", help="do not use a GPU")
    verb.set_defaults(run=_prepare, name="prepare")
    verb = verbs.add_parser("tables", help="print the stages, and what they take of a GPU's memory at 14B")
    verb.add_argument("--cpu", action="store_true", help="do not use a GPU")
    verb.set_defaults(run=_tables, work=Path())


def _tables(_work: Work, _options: argparse.Namespace) -> None:
    sys.stdout.write(f"{columns()}\n\n{table()}\n")


def _prepare(work: Work, options: argparse.Namespace) -> None:
    encoders = Encoders(
        lambda: load_encoder(options.vae),
        lambda: load_vision(options.clip_vision),
        lambda: load_text(options.text_encoder),
    )
    settings = ClipSettings(options.frames, options.size, options.prompt, options.negative)
    if bool(options.yolox) != bool(options.dwpose):
        raise ValueError("DW-Pose needs both of its files: --yolox and --dwpose.")
    detector = DWPose(options.yolox, options.dwpose) if options.yolox else BlazePose()
    prepare_clips(options.store or work.folder / STORE, options.videos, encoders, detector, settings)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is no size; write 640x640.")
    return int(width), int(height)
