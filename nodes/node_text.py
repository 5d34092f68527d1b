"""Text inside a node after its run."""

from comfy_api.latest import io, ui
from server import PromptServer


def show_text(node: type[io.ComfyNode], text: str) -> ui.PreviewText:
    """Show `text` in the running `node`, whose schema must ask for io.Hidden.unique_id, and return it as its UI output.

    ComfyUI's page shows a UI output's text only in a few nodes of its own, but a progress text in every node.
    """
    server, running = getattr(PromptServer, "instance", None), getattr(node.hidden, "unique_id", None)
    if server is not None and running:
        server.send_progress_text(text, running)
    return ui.PreviewText(text)
