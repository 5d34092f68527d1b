"""How a whole model is trained on the machine at hand: what changes its memory and its speed, not what is learned."""

from dataclasses import replace
from typing import NamedTuple

from .stages import Column


class RunOptions(NamedTuple):
    """bf16_shards: collect the blocks that processes share out in bf16, see Plan; stream: keep frozen blocks, and the
    tokens between blocks, in main memory; sharded_checkpoints, timeout: see Plan."""

    bf16_shards: bool = False
    stream: bool = False
    sharded_checkpoints: bool = False
    timeout: float = 0.0

    def column(self, column: Column) -> Column:
        """Return a stage's column with these options. ValueError: they do not go with what the stage trains."""
        if self.bf16_shards and column.rank:
            raise ValueError(
                "--bf16-shards is for stage 2, whose weights are shared out. Leave it out where a LoRA is trained."
            )
        if self.stream and not column.rank:
            raise ValueError(
                "--stream is for frozen blocks beside a LoRA. Leave it out for stage 2, which trains all blocks."
            )
        plan = replace(
            column.plan,
            bf16_shards=self.bf16_shards,
            sharded_checkpoints=self.sharded_checkpoints,
            timeout=self.timeout,
        )
        return replace(column, plan=plan, stream=self.stream)


AS_PLANNED = RunOptions()
