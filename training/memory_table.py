"""The memory of a whole model's stages as a table, which training/README.md holds: `python -m training tables`."""

from ..media.byte_size import GB
from .lora_run import LoRASettings
from .memory_plan import host, needs, tokens
from .network import WAN_14B, Size
from .run_options import RunOptions
from .stages import STAGES, Column, Stage

COLUMNS = ("frozen", "trained", "gradients", "moments", "average", "teacher", "tokens", "one block")
GPUS, OPTIONS = (1, 2, 8), {"--stream": RunOptions(stream=True), "--bf16-shards": RunOptions(bf16_shards=True)}
WITH_OPTIONS = {"stage1 --stream": (1,), "stage2 --bf16-shards": (2, 8), "stage3 --stream": (1,), "lora --stream": (1,)}


def table(size: Size = WAN_14B) -> str:
    """Return a Markdown table of the stages of a whole model: GB of each GPU, and of main memory."""
    lines = [f"| command | GPUs | {' | '.join(COLUMNS)} | all | main memory |", "|" + " --- |" * (len(COLUMNS) + 4)]
    stages = {name: (stage, stage.full) for name, stage in STAGES.items() if stage.full}
    stages["lora"] = LoRASettings().stage_and_column()
    for name, (stage, column) in stages.items():
        lines += [_row(name, stage, column, gpus, size) for gpus in GPUS]
    for name, counts in WITH_OPTIONS.items():
        command, option = name.split()
        stage, column = stages[command]
        lines += [_row(name, stage, OPTIONS[option].column(column), gpus, size) for gpus in counts]
    return "\n".join(lines)


def _row(name: str, stage: Stage, column: Column, gpus: int, size: Size) -> str:
    needed, main = needs(size, stage, column, tokens(), gpus), host(size, stage, column, tokens(), gpus)
    cells = " | ".join(f"{value / GB:.1f}" if value else "-" for value in needed)
    return f"| {name} | {gpus} | {cells} | **{needed.total / GB:.0f}** | {main / GB:.0f} |"
