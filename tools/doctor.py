"""Check this installation: `python tools/doctor.py [--miniature]`.

Tells what is wrong and how to put it right, a line each, the worst first, and what to paste into a bug report; names of
people and folders are left out. Run it with ComfyUI's Python, from any folder, and with the options that ComfyUI is
started with. ComfyUI is the one that COMFYUI_PATH names, else the one the pack lies in, else that of Comfy Desktop. The
exit status is 1 where there is a problem.
"""

import argparse
import asyncio
import runpy
import sys
from pathlib import Path
from types import ModuleType

if __name__ == "__main__" and not __package__:
    runpy.run_path(str(Path(__file__).parents[1] / "comfy_client" / "in_process.py"))["run_by_path"](__file__)

from steadydancer_pack.comfy_client.comfyui_places import base_folder, desktop_model_paths
from steadydancer_pack.comfy_client.in_process import PACK, has_gpu, use_comfyui, use_pack
from steadydancer_pack.comfy_client.program import exit_status

PROBLEM = "problem"
EXTRA_PATHS = "extra_model_paths.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Examine; 0 where there is no problem, 1 where there is one or after an error in words, 130 after Ctrl-C."""
    options, problems = parse(arguments), []
    status = exit_status(lambda: problems.extend(run(options)), (ValueError, OSError))
    return status or int(bool(problems))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--miniature", action="store_true", help="also sample a few steps with the bundled miniature")
    add("--cpu", action="store_true", help="as ComfyUI does with --cpu")
    add("--base-directory", type=Path, help="as ComfyUI's: the folder of models, input and output")
    add("--extra-model-paths-config", type=Path, nargs="+", default=[], help="as ComfyUI's: more folders of models")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> list:
    use_folders(options, use_comfyui(cpu=options.cpu or not has_gpu()))
    findings, text = load_pack().examine(options.miniature)
    sys.stdout.write(f"{text}\n")
    return [finding for finding in findings if finding.level == PROBLEM]


def use_folders(options: argparse.Namespace, comfyui: Path) -> None:
    """Look for models where ComfyUI does, also by the files of extra paths that it reads."""
    from comfy.cli_args import args

    base = options.base_directory or base_folder(PACK, comfyui)
    if base:
        args.base_directory = str(base.resolve())
    from utils.extra_config import load_extra_path_config  # imports folder_paths, which reads the line above once

    own = filter(Path.is_file, [comfyui / EXTRA_PATHS])
    for file in (*own, *desktop_model_paths(comfyui), *options.extra_model_paths_config):
        load_extra_path_config(str(file))


def load_pack() -> ModuleType:
    """Return the module of the node Doctor, with the pack's folders known; ValueError if it cannot be imported."""
    use_pack()
    try:
        from steadydancer_pack.nodes import SteadyDancerExtension, doctor
    except ImportError as error:
        raise ValueError(
            f"The pack cannot be imported ({error}). With ComfyUI's own Python, in the pack's folder: pip install -r "
            "requirements.txt."
        ) from error
    asyncio.run(SteadyDancerExtension().on_load())
    return doctor


if __name__ == "__main__":
    sys.exit(main())
