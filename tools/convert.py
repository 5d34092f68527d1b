"""Convert a SteadyDancer model to one safetensors file of a wanted precision: `python tools/convert.py --help`.

SOURCE is a .safetensors file, the index of several, or the folder that holds them. A conversion that was stopped goes
on where it stopped when the same command is given again. Run it with ComfyUI's Python, from any folder. ComfyUI is the
one that COMFYUI_PATH names, else the one the pack lies in, else that of Comfy Desktop.
"""

import argparse
import runpy
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    runpy.run_path(str(Path(__file__).parents[1] / "comfy_client" / "in_process.py"))["run_by_path"](__file__)

from steadydancer_pack.comfy_client.in_process import use_comfyui
from steadydancer_pack.comfy_client.program import exit_status

STEP = 5  # per cent between two lines


def main(arguments: list[str] | None = None) -> int:
    return exit_status(
        lambda: run(parse(arguments)), (ValueError, OSError), "Stopped. The same command goes on from here."
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    from steadydancer_pack.steadydancer_core.weights.convert_plan import PRECISIONS  # needs no ComfyUI

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help=".safetensors file, index of several, or folder with an index")
    parser.add_argument("dest", type=Path, help="the new file, name.safetensors")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="keep", help="of the weights: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    if not options.source.exists():
        raise ValueError(f"{options.source} is not there. Give a .safetensors file, or a folder of shards.")
    use_comfyui()
    from steadydancer_pack.media.byte_size import size_text
    from steadydancer_pack.steadydancer_core.weights import convert  # needs ComfyUI

    source = convert.open_source(options.source)
    shown, errors, told = -STEP, {}, 0

    def progress(done: int, total: int) -> None:
        nonlocal shown, told
        for layer in [*errors][told:]:
            sys.stdout.write(f"{convert.error_line(layer, errors[layer])}\n")
        told = len(errors)
        percent = 100 * done // total
        if percent >= shown + STEP:
            shown = percent - percent % STEP
            sys.stdout.write(f"{percent:3} %  {size_text(done)} of {size_text(total)}\n")
            sys.stdout.flush()

    written = convert.convert(source, options.dest, options.precision, options.overwrite, progress, errors)
    sys.stdout.write(f"{convert.report(source, written, errors)}\n")


if __name__ == "__main__":
    sys.exit(main())
