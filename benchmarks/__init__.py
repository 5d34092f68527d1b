"""Measurements: `python -m benchmarks.NAME` in the pack's folder, where the pack is named `steadydancer_pack`."""

from comfy_client.in_process import use_pack

use_pack()
