"""What the node Evaluate and the command make of a clip: metrics, pictures and the files of a report."""

import numpy as np

from ..dwpose.skeleton import LIMBS
from .charts import draw_curves, text_picture
from .contact_sheet import contact_sheet
from .evaluate import Case, Evaluation, evaluate
from .evaluation_report import report_files
from .extra_packages import MATPLOTLIB, import_advice

TITLE = "Evaluation"


def evaluate_and_draw(case: Case) -> tuple[Evaluation, dict[str, np.ndarray]]:
    """Return what was measured, and contact sheet and curves (text without matplotlib) by title, uint8 [H, W, 3]."""
    advice = import_advice(MATPLOTLIB, "figure")
    evaluation = evaluate(case)
    if advice:
        evaluation.notes.append(advice)
        curves = text_picture(f"{advice.partition('. ')[0]}: no curves.")
    else:
        curves = draw_curves(evaluation.curves)
    return evaluation, {"Contact sheet": contact_sheet(case, LIMBS.tolist()), "Over the frames": curves}


def clip_report(name: str, evaluation: Evaluation, pictures: dict[str, np.ndarray]) -> dict[str, bytes]:
    return report_files(TITLE, [{"name": name, **evaluation.values}], pictures, evaluation.notes)
