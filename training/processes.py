"""The processes that train together, and this one's device, also before the loop has begun."""

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def processes() -> PartialState:
    """Return what accelerate knows of this run; unlike its own state alone, minding ACCELERATE_USE_CPU."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
