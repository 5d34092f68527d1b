"""The engines by the name that --engine takes, and their options."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ...comfy_client.comfyui_places import find_comfyui
from ...comfy_client.in_process import PACK
from ...comfy_client.process import ComfyProcess
from ...miniature import write_all
from .cell_prompt import PromptTemplate
from .engine import Engine
from .servers_engine import ServersEngine, read_addresses

Maker = Callable[[argparse.Namespace, PromptTemplate, ExitStack], Engine]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=list(ENGINES), default="servers", help="what runs the cells: %(default)s")
    parser.add_argument(
        "--server", action="append", default=[], metavar="HOST:PORT", help="a ComfyUI that runs; may be repeated"
    )
    parser.add_argument("--servers", type=Path, metavar="FILE", help="a text file with one HOST:PORT a line")
    cluster = parser.add_argument_group("--engine ray", "A ComfyUI is started for each GPU of a Ray cluster.")
    cluster.add_argument(
        "--address",
        default="auto",
        help="auto: the cluster of this machine; ray://HOST:10001: another; local: this machine alone. %(default)s",
    )
    cluster.add_argument("--min-workers", type=_count, default=1, metavar="N", help="an autoscaler adds machines for N")
    cluster.add_argument("--max-workers", type=_count, metavar="N", help="at most N; as many as have room if not given")
    cluster.add_argument(
        "--gpus-per-worker",
        type=float,
        default=1,
        metavar="N",
        help="0: on processors, one worker a machine. %(default)s",
    )
    cluster.add_argument("--models", metavar="FOLDER", help="models on every machine; its ComfyUI's if not given")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of workers, 1 or more")
    return int(text)


def servers(options: argparse.Namespace, template: PromptTemplate, stack: ExitStack) -> Engine:
    """Return the engine for the given servers, or for one ComfyUI that is started here and ended with `stack`."""
    try:
        listed = options.servers.read_text("utf-8") if options.servers else ""
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{options.servers} cannot be read ({error}). Give a text file, one HOST:PORT a line."
        ) from None
    addresses = read_addresses(options.server, listed)
    if options.servers and not addresses:
        raise ValueError(f"{options.servers} names no server. Write one HOST:PORT a line.")
    if not addresses:
        try:
            comfyui = find_comfyui(PACK)
        except ValueError:
            raise ValueError("Give --server HOST:PORT, or let COMFYUI_PATH name a ComfyUI to start.") from None
        own = stack.enter_context(ComfyProcess(comfyui, PACK))
        write_all(own.base / "models", own.base / "input")
        addresses = [own.address]
    return ServersEngine(addresses, template)


def ray(options: argparse.Namespace, template: PromptTemplate, stack: ExitStack) -> Engine:
    """Return the engine on the Ray cluster at --address, connected until `stack` ends. ValueError, NoWorkers."""
    from .ray_cluster import connect  # Ray is imported only where it is asked for
    from .ray_engine import RayEngine, RayOptions

    most, gpus = options.max_workers, options.gpus_per_worker
    if most is not None and most < options.min_workers:
        raise ValueError(f"--max-workers {most} is less than --min-workers {options.min_workers}. Give a larger one.")
    if not (0 <= gpus <= 64 and (gpus <= 1 or gpus == int(gpus))):
        raise ValueError(f"--gpus-per-worker {gpus:g} is no share of a GPU from 0 to 1, nor a whole number up to 64.")
    return RayEngine(
        connect(options.address, stack), template, RayOptions(options.min_workers, most, gpus, options.models)
    )


ENGINES: dict[str, Maker] = {"servers": servers, "ray": ray}
