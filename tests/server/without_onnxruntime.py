"""The pack in a process where there is no ONNX Runtime: it loads, and the quick start finds its poses with OpenCV.

python without_onnxruntime.py POSES.json
"""

import asyncio
import json
import sys
from pathlib import Path

import torch

FRAMES = 9


class Without:
    """A finder of modules and packages to which onnxruntime was never installed."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *args):
        return None if name.partition(".")[0] == "onnxruntime" else self.finder.find_spec(name, *args)

    def find_distributions(self, *args):
        find = getattr(self.finder, "find_distributions", lambda *_: ())
        return (found for found in find(*args) if not found.metadata["Name"].startswith("onnxruntime"))


async def pack() -> dict:
    """Return the nodes by name, loaded as ComfyUI does."""
    import conftest  # noqa: F401

    from steadydancer_pack.tests.comfyui import use_comfyui

    use_comfyui()
    from steadydancer_pack.nodes import SteadyDancerExtension

    extension = SteadyDancerExtension()
    await extension.on_load()
    nodes = await extension.get_node_list()
    return {node.GET_SCHEMA().node_id.removeprefix("SteadyDancer"): node for node in nodes}


def run(node, **inputs) -> tuple:
    """Return the outputs of a node whose other widgets are as an artist finds them."""
    widgets = {i.id: i for i in node.GET_SCHEMA().inputs if hasattr(i, "default") and not i.optional}
    values = {name: i.options[0] if i.default is None else i.default for name, i in widgets.items()}
    return node.execute(**values | inputs).result


def main(file: Path) -> None:
    nodes = asyncio.run(pack())
    import folder_paths  # ComfyUI's, after the pack has told it where to live

    Path(folder_paths.get_input_directory(), "poses.json").write_bytes(file.read_bytes())
    photo = torch.zeros(1, 384, 288, 3)
    poses, *_ = run(nodes["LoadPoses"], file="poses.json")
    refined, *_ = run(nodes["RefinePoses"], poses=poses)
    aligned, *_ = run(nodes["AlignPoses"], photo=photo, photo_poses=poses, poses=refined)
    negative, *_ = run(nodes["AugmentPoses"], poses=aligned)
    frames = run(nodes["DrawPoses"], poses=aligned, negative_poses=negative, width=96, height=128)
    _, report = run(nodes["LoadPoseDetector"])
    photo, video, *_ = run(nodes["MiniatureSample"])
    size = {"size": "custom", "width": 96, "height": 96}
    found = run(nodes["AnimateFromVideo"], photo=photo, video=video, max_frames=FRAMES, size=size)
    drawn = [[*clip.shape, bool(clip.any())] for clip in (*frames, found[0])]
    told = [report, found[7]]
    json.dump({"nodes": len(nodes), "drawn": drawn, "told": told, "loaded": "onnxruntime" in sys.modules}, sys.stdout)


if __name__ == "__main__":
    sys.meta_path[:] = map(Without, sys.meta_path)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(Path(sys.argv[1]))
