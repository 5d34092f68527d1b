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


ENGINES: dict[str, Maker] = {"servers": servers}
