"""Write down what workflows saved by this version hold: at each release, with ComfyUI's Python and COMFYUI_PATH set."""

import json

import conftest  # makes the pack importable as steadydancer_pack

from steadydancer_pack.tests.comfyui import use_comfyui

if __name__ == "__main__":
    use_comfyui()
    conftest.GUARD.watching = False

    from steadydancer_pack.tests.saved_widgets import PINNED, saved_by_nodes

    PINNED.write_text(json.dumps(saved_by_nodes(), indent=1) + "\n", encoding="utf-8")
