"""Take the picture of every node for its help page, as ComfyUI's own page draws it.

    COMFYUI_PATH=... python -m tools.node_pictures [NODE_ID ...]

Each goes to web/docs/pictures/<NodeId>.jpg, which both the English and the Chinese page show. Labels are
English, values those of a new node; lists of files show the miniature's, which the pack brings.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Error, Page, ViewportSize, sync_playwright

from steadydancer_pack.comfy_client.comfyui_places import find_comfyui
from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.comfy_client.process import ComfyProcess, StartFailed
from steadydancer_pack.comfy_client.program import exit_status

from .comfy_page import launch, open_graph, write_settings

PICTURES = PACK / "web" / "docs" / "pictures"
SETTINGS = {"Comfy.Locale": "en", "Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}
KEPT_DANCE = "output/poses/SteadyDancer_00001_.json"  # what Save Poses leaves, for the list of Load Poses; none runs
VIEW: ViewportSize = {"width": 1200, "height": 1500}
CORNER, MARGIN = (200, 160), 26
PIXELS_PER_UNIT, QUALITY = 1.25, 50
DRAW_ALONE = """([type, x, y]) => {
    const {graph, canvas} = window.app;
    // Not graph.clear(): the next node would get this one's id, and the page would give it this one's values.
    graph.nodes.slice().forEach(node => graph.remove(node));
    const node = window.LiteGraph.createNode(type);
    graph.add(node);
    node.pos = [0, 0];
    canvas.ds.scale = 1;
    canvas.ds.offset = [x, y];
    canvas.setDirty(true, true);
}"""
DRAWN = "() => new Promise(done => setTimeout(() => requestAnimationFrame(() => done()), 300))"
# Of the node with its title and some of the canvas around it, in pixels of the page.
PLACE = """margin => {
    const area = window.app.canvas.canvas.getBoundingClientRect();
    const [x, y, width, height] = window.app.graph.nodes[0].getBounding();
    const [left, top] = window.app.canvas.ds.offset;
    const [column, row] = [area.x + left + x - margin, area.y + top + y - margin];
    return {x: column, y: row, width: width + 2 * margin, height: height + 2 * margin};
}"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.node_pictures", description=__doc__)
    parser.add_argument("nodes", nargs="*", metavar="NODE_ID", help="ids of nodes; without: every node of the pack")
    options = parser.parse_args(arguments)
    return exit_status(lambda: take(options.nodes), (ValueError, OSError, StartFailed, Error))


def take(wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        base = Path(folder)
        write_settings(base, SETTINGS)
        (base / KEPT_DANCE).parent.mkdir(parents=True)
        (base / KEPT_DANCE).write_text("[]", encoding="utf-8")
        with ComfyProcess(find_comfyui(PACK), PACK, base) as server:
            nodes = chosen(wanted, list(server.pack_info()))
            with launch(playwright) as chromium:
                page = chromium.new_page(viewport=VIEW, device_scale_factor=PIXELS_PER_UNIT)
                open_graph(page, server.address)
                write_pictures(page, nodes)


def chosen(wanted: list[str], ours: list[str]) -> list[str]:
    strange = sorted(set(wanted) - set(ours))
    if strange:
        raise ValueError(f"The pack has no node {', '.join(strange)}. It has {', '.join(sorted(ours))}.")
    return wanted or ours


def write_pictures(page: Page, nodes: list[str]) -> None:
    PICTURES.mkdir(exist_ok=True)
    page.evaluate(DRAWN)
    for name in nodes:
        file = PICTURES / f"{name}.jpg"
        page.evaluate(DRAW_ALONE, [name, *CORNER])
        page.evaluate(DRAWN)
        page.screenshot(path=file, type="jpeg", quality=QUALITY, clip=page.evaluate(PLACE, MARGIN))
        sys.stdout.write(f"{file.name}: {file.stat().st_size} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
