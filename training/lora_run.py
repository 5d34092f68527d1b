"""A LoRA of a character or a style, trained on SteadyDancer itself with clips of that character or in that style.

    python -m training lora WORK --base Wan21_I2V_SteadyDancer_fp16.safetensors

It is stage 3 of the 14B column without its displaced poses, from the finished model: flow matching, frozen weights in
bf16. Only the LoRA is written, under ComfyUI's names. None of this is from the paper.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .buckets import open_stores
from .full import FullFiles, prepare_full, report_run
from .full_result import LORA, write_lora
from .loop import train
from .pipeline import Work, is_done
from .plan import Plan
from .processes import processes
from .run_options import AS_PLANNED, RunOptions
from .stages import LONG, TARGETS, Column, Cuts, Stage
from .start import start_of
from .wan_file import WanFile

PURPOSE = "a character or a style as a LoRA"


@dataclass(frozen=True)
class LoRASettings:
    """steps; rank; rate: learning rate after `warmup` steps; shift: of the noise levels; targets: some of TARGETS.

    ValueError: a number out of its range.
    """

    steps: int = 1500
    rank: int = 32
    rate: float = 1e-4
    warmup: int = 50
    shift: float = 4.0
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        for name in ("rank", "rate", "shift"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0.")

    def stage_and_column(self) -> tuple[Stage, Column]:
        """Return how the LoRA is trained."""
        every: dict[str, Any] = {"log_every": 10, "checkpoint_every": 250, "picture_every": 250}
        plan = Plan(
            self.steps, self.rate, 1, self.warmup, decay="constant", weight_decay=0.0, precision="bf16", **every
        )
        column = Column(plan, Cuts(LONG, (1.0,), shift=self.shift), self.rank, self.targets)
        return Stage(PURPOSE, column, column, pose_parts=False), column


def run_lora(
    work: Work,
    files: FullFiles,
    settings: LoRASettings,
    output: str = "lora",
    options: RunOptions = AS_PLANNED,
) -> Path:
    """Train a LoRA on the SteadyDancer of files.base, or go on with it, and return its file.

    ValueError: a file is not what it should be, or not there.
    """
    path = work.folder / output / LORA
    if is_done(path):
        return path
    start, (stage, column) = WanFile(files.base), settings.stage_and_column()
    column = options.column(column)
    processes(options.timeout)
    if not start.pose:
        raise ValueError(
            f"{start.title} is plain Wan 2.1 image-to-video. A LoRA for SteadyDancer is trained on SteadyDancer: "
            "choose its fp16 or bf16 file, for example Wan21_I2V_SteadyDancer_fp16.safetensors."
        )
    report_run(stage, column, start, files)
    task = prepare_full(stage, column, start, files)
    began = start_of(files.base, open_stores(files.store)) | {"shift": f"{settings.shift:g}"}
    trained = train(task, column.plan, path.parent, began)
    if processes().is_main_process:
        write_lora(path, trained, settings.rank, {"format": "pt", "title": PURPOSE, "base": start.title})
    processes().wait_for_everyone()
    return path
