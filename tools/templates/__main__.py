"""Write the workflows and blueprints that are made from Python: `python -m tools.templates`, with COMFYUI_PATH set.

A ComfyUI is started to learn what its nodes take. Workflows of other names are left as they are.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

from steadydancer_pack.comfy_client.comfyui_places import find_comfyui
from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.comfy_client.process import ComfyProcess, StartFailed
from steadydancer_pack.comfy_client.program import exit_status

from .artist import artist_workflows, blueprint, image_to_video_blueprint
from .finish import finish_blueprint, finish_workflow
from .names import FINISH


def main() -> int:
    return exit_status(write, (ValueError, OSError, StartFailed))


def write() -> None:
    with tempfile.TemporaryDirectory() as folder, ComfyProcess(find_comfyui(PACK), PACK, Path(folder)) as server:
        info = server.client.object_info()
    files = {f"workflows/{name}": workflow for name, workflow in artist_workflows(info, versions()).items()}
    files[f"workflows/{FINISH}"] = finish_workflow(info, versions())
    files["subgraphs/SteadyDancer"] = blueprint(info, versions())
    files["subgraphs/Image to Video (SteadyDancer)"] = image_to_video_blueprint(info, versions())
    files["subgraphs/Finish"] = finish_blueprint(info, versions())
    for name, content in files.items():
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (PACK / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Return what a node says of where it is from: the pack's version, and the oldest ComfyUI that has it."""
    project = (PACK / "pyproject.toml").read_text("utf-8")
    found = {"steadydancer": r'^version = "(.+)"', "comfy-core": r'^requires-comfyui = ">=(.+)"'}
    return {pack: match[1] for pack, line in found.items() if (match := re.search(line, project, re.M))}


if __name__ == "__main__":
    sys.exit(main())
