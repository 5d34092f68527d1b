"""What the miniature must reach on held-out pairs of its world before it is shipped: one table, nowhere else."""

from typing import NamedTuple

from .kept import Rows
from .metrics import means
from .pairs import KINDS


class Gate(NamedTuple):
    """The least mean of a metric, over the pairs of `kind` or over all."""

    title: str
    metric: str
    least: float
    kind: str = ""


GATES = (
    Gate("moving pixels, dB", "moving_psnr", 18),
    Gate("PCK@0.1", "pck_all", 0.93),
    Gate("PCK@0.1 of hands", "pck_hands", 0.88),
    Gate("PCK@0.1 of start pairs", "pck_all", 0.78, "start"),
    Gate("first frame, dB", "first_frame_psnr", 32),
)


def measured_gates(rows: Rows) -> list[list[str]]:
    """Return of each gate: title, least, found, and "reached" or "missed"; rows: of pairs of all KINDS in turn.

    Where nothing was measured the number is "-" and the word "not measured".
    """
    lines = []
    for gate in GATES:
        own = rows[KINDS.index(gate.kind) :: len(KINDS)] if gate.kind else rows
        found = means(own).get(gate.metric) if own else None
        if found is None or found != found:
            lines.append([gate.title, f"{gate.least:g}", "-", "not measured"])
        else:
            lines.append(
                [gate.title, f"{gate.least:g}", f"{found:.3f}", "reached" if found >= gate.least else "missed"]
            )
    return lines
