"""Text inside a node after its run."""

from comfy_api.latest import io, ui
from server import PromptServer

# Nodes 2.0 takes the text for Markdown, which joins lines that do not end so; elsewhere the spaces are not seen.
LINE_BREAK = "  \n"


def show_text(node: type[io.ComfyNode], text: str, shown: str | None = None) -> ui.PreviewText:
    """Show `text` in the running `node`, whose schema must ask for io.Hidden.unique_id, and return it as its UI output.

    `shown` is shorter, for a node that has a picture of the rest. ComfyUI's page shows a UI output's text only in a
    few nodes of its own, but a progress text in every node.
    """
    server, running = getattr(PromptServer, "instance", None), getattr(node.hidden, "unique_id", None)
    if server is not None and running:
        server.send_progress_text((text if shown is None else shown).replace("\n", LINE_BREAK), running)
    return ui.PreviewText(text)
