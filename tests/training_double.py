"""A task that trains in no time, and a process that trains it, also in children that are killed on the way.

    python training_double.py '[["FOLDER", {"steps": 12, ...}], ["FOLDER", {...}, "batch", STEP], ...]'

It trains the plans in their folders one after the other. Those with a death are trained by forked children: killed
while the batch of STEP is drawn ("batch"), when half of the n-th tensor file of the checkpoints is written ("file"), or
when the n-th sharded checkpoint is half written ("shard"), or written and without its name ("name").
Prints the children's exit statuses as JSON; dtypes.json beside a run says what its first block computed with.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

PACK = Path(__file__).resolve().parents[1]


class Regression(torch.nn.Module):
    """Learns a sum; has dropout, so that a step's own randomness is seen, and a parameter that stays as it is."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(6, 16), torch.nn.Linear(16, 1)])
        self.drop = torch.nn.Dropout(0.1)
        self.offset = torch.nn.Parameter(torch.zeros(1))
        self.frozen = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16), requires_grad=False)
        with torch.no_grad():
            for p in self.blocks.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.3)

    def errors(self, batch):
        hidden = self.drop(torch.nn.functional.gelu(self.blocks[0](batch["x"])))
        return self.blocks[1](hidden)[:, 0] + self.offset - batch["y"]

    def forward(self, batch):
        errors = self.errors(batch)
        return {"loss": errors.square().mean() * batch["scale"], "error": errors.abs().mean()}


class Sums:
    """Batches of vectors and their sums. broken: the step whose loss is infinite."""

    fill = None

    def __init__(self, batch_size=4, broken=-1):
        self.module, self.batch_size, self.broken, self.drawn = Regression(), batch_size, broken, []

    def batch(self, step, generator):
        self.drawn.append(step)
        return {**self.sums(generator), "scale": torch.tensor(float("inf") if step == self.broken else 1.0)}

    def sums(self, generator):
        x = torch.randn(self.batch_size, 6, generator=generator)
        return {"x": x, "y": x.sum(1), "scale": torch.tensor(1.0)}

    def validate(self):
        return {}

    def pictures(self, step):
        self.module.eval()
        error = self.module.errors(self.sums(torch.Generator().manual_seed(0))).abs().mean()
        self.module.train()
        return {"error": np.full((2, 3, 3), int(2000 * error) % 256, np.uint8)}


def die_at_batch(step):
    class Mortal(Sums):
        def batch(self, number, generator):
            if number == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(number, generator)

    return Mortal()


def die_at_file(number):
    from steadydancer_pack.training import checkpoints

    written, save_file = [], checkpoints.save_file

    def half(tensors, path, metadata):
        save_file(tensors, path, metadata=metadata)
        written.append(path)
        if len(written) == number:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.save_file = half
    return Sums()


def die_at_shard(number):
    from steadydancer_pack.training import checkpoints

    written, write_state = [], checkpoints.write_state

    def half(new, state, files):
        written.append(new)
        if len(written) == number:
            path = new / files[0]
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        write_state(new, state, files)

    checkpoints.write_state = half
    return Sums()


def die_at_name(number):
    from steadydancer_pack.training import checkpoints

    written, publish = [], checkpoints.publish

    def stop(folder, step):
        written.append(step)
        if len(written) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        publish(folder, step)

    checkpoints.publish = stop
    return Sums()


DEATHS = {"shard": die_at_shard, "name": die_at_name, "batch": die_at_batch, "file": die_at_file}

if __name__ == "__main__":
    package = ModuleType("steadydancer_pack")
    package.__path__ = [str(PACK)]
    sys.modules["steadydancer_pack"] = package
    from steadydancer_pack.training.loop import Plan, train
    from steadydancer_pack.training.processes import leave

    statuses = []
    for folder, plan, *death in json.loads(sys.argv[1]):
        if not death:
            task, dtypes = Sums(), set()
            block = task.module.blocks[0]
            block.register_forward_hook(lambda layer, *_, seen=dtypes: seen.add(str(layer.weight.dtype)))
            train(task, Plan(**plan), Path(folder))
            (Path(folder) / "dtypes.json").write_text(json.dumps(sorted(dtypes)))
        elif child := os.fork():
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        else:
            train(DEATHS[death[0]](death[1]), Plan(**plan), Path(folder))
            os._exit(0)
    sys.stdout.write(json.dumps(statuses))
    leave(0)
