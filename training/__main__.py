"""Command line: `python -m training --help`."""

from comfy_client.in_process import has_gpu, use_comfyui, use_pack

use_pack()

from steadydancer_pack.training.command import main  # noqa: E402  the line above makes it importable

if __name__ == "__main__":
    status = main(start=lambda cpu: use_comfyui(cpu=cpu or not has_gpu()))
    from steadydancer_pack.training.processes import leave

    leave(status)
