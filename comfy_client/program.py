"""How a command ends: what it prints and returns after an error or when it is stopped."""

import sys
from collections.abc import Callable

FAILED, INTERRUPTED = 1, 130


def exit_status(run: Callable[[], None], errors: tuple[type[Exception], ...], stopped: str = "Stopped.") -> int:
    """Return 0 after `run`, 1 after one of `errors`, printed as text, and 130 after Ctrl-C."""
    try:
        run()
    except errors as error:
        sys.stderr.write(f"Error: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"{stopped}\n")
        return INTERRUPTED
    return 0
