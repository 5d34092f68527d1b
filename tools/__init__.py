"""Commands: `python -m tools.NAME` in the pack's folder. The pack is importable in them as `steadydancer_pack`."""

from .in_process import use_pack

use_pack()
