"""The processes that train together, and this one's device, also before the loop has begun; and their end."""

import logging
import os
import sys
from typing import NoReturn

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def processes() -> PartialState:
    """Return what accelerate knows of this run; unlike its own state alone, minding ACCELERATE_USE_CPU."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def own_device() -> torch.device:
    """Return the device of this process."""
    return torch.device(str(processes().device))


def leave(status: int) -> NoReturn:
    """End this process with an exit status; one of several that train together leaves without Python's finalization.

    Gloo's threads need the interpreter lock to drop the tensors of the last collective. A thread that still waits for
    it when finalization begins is ended by Python (before 3.14) inside a C++ destructor, which aborts the process
    after all its work. `destroy_process_group` joins these threads only where nothing else holds the group; DTensor's
    caches of FSDP 2 and default arguments in torch.distributed.nn do.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        sys.exit(status)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
