"""Write down what workflows saved by this version hold: at each release, with ComfyUI's Python and COMFYUI_PATH set."""

import json

from conftest import GOLDEN

from steadydancer_pack.tests.saved_widgets import saved_by_nodes

if __name__ == "__main__":
    file = GOLDEN / "saved_widgets.json"
    file.write_text(json.dumps(saved_by_nodes(), indent=1) + "\n", encoding="utf-8")
