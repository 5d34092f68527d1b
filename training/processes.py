"""The processes that train together, and this one's device, also before the loop has begun; and their end."""

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def processes(minutes: float = 0) -> PartialState:
    """Return what accelerate knows of this run; unlike its own state alone, minding ACCELERATE_USE_CPU.

    minutes: in the first call, how long processes wait for each other; 0 is PyTorch's choice.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), **_timeout(minutes))


def are_several() -> bool:
    """Return whether this process is of a group, which may also be of one."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def checkpoint_group(minutes: float = 0) -> Any:
    """Return a group of all processes for work beside the training, on the CPU; None where one is alone."""
    if not are_several():
        return None
    return torch.distributed.new_group(backend="gloo", **_timeout(minutes))


def _timeout(minutes: float) -> dict[str, Any]:
    return {"timeout": timedelta(minutes=minutes)} if minutes else {}


@contextmanager
def timeouts_explained() -> Generator[None]:
    """Say what to do where another process did not answer in time: gloo's own words name no process and no advice."""
    try:
        yield
    except RuntimeError as error:
        if "timed out" not in str(error).lower():
            raise
        raise RuntimeError(
            f"Another process did not answer in time ({error}). It failed, which its own output says, or is slow: then "
            "raise --timeout. The same command goes on from the last checkpoint."
        ) from error


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
    if not are_several():
        sys.exit(status)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
