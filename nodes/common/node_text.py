"""Text inside a node after its run: web/reports.js shows it."""

from comfy_api.latest import ui


class TextWithPicture(ui.PreviewText):
    """UI output with the full text, and as `shown` what a picture in the node does not show of it."""

    def __init__(self, text: str, shown: str):
        super().__init__(text)
        self.shown = shown

    def as_dict(self) -> dict:
        return super().as_dict() | {"shown": (self.shown,)}


def show_text(text: str, *, shown: str | None = None) -> ui.PreviewText:
    """Return the UI output that shows `text` in the node, or `shown` if a picture shows the rest."""
    return ui.PreviewText(text) if shown is None else TextWithPicture(text, shown)
