"""Command line: `python -m training --help`."""

import sys

from comfy_client.in_process import has_gpu, use_comfyui, use_pack

use_comfyui(cpu="--cpu" in sys.argv or not has_gpu())
use_pack()

from steadydancer_pack.training.command import main  # noqa: E402  the lines above make it importable
from steadydancer_pack.training.processes import leave  # noqa: E402

if __name__ == "__main__":
    leave(main())
