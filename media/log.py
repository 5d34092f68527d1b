"""The pack's log: one named logger, whose lines in ComfyUI's console begin with the pack's name."""

import logging


class _NamedLines(logging.LoggerAdapter):
    def process(self, msg, kwargs):
        return f"SteadyDancer: {msg}", kwargs


logger = _NamedLines(logging.getLogger("steadydancer"), {})
