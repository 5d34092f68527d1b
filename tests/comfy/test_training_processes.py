"""The end of a training process."""

import subprocess
import sys

import pytest

from steadydancer_pack.tests.training_double import PACK
from steadydancer_pack.training.processes import leave

# the thread of the collective waits for the interpreter lock, which the main thread keeps until it leaves
UNFINISHED = """
import sys, time
import torch
import torch.distributed as dist
from comfy_client.in_process import use_pack
use_pack()
from steadydancer_pack.training.processes import leave
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
tensor = torch.ones(1)
sys.stdout.write("trained")
sys.setswitchinterval(100)
dist.all_reduce(tensor, async_op=True)
end = time.monotonic() + 0.3
while time.monotonic() < end:
    pass
leave(3)
"""


def test_a_process_leaves_while_a_thread_of_gloo_holds_a_tensor():
    done = subprocess.run([sys.executable, "-c", UNFINISHED], cwd=PACK, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (3, "trained"), done.stderr


def test_a_process_alone_exits_as_usual():
    with pytest.raises(SystemExit) as exit:
        leave(3)
    assert exit.value.code == 3
