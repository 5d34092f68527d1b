"""training/results: the rows that were measured, and the tables and pictures made of them.

`pairs-<count>.json` has the metrics of every pair: name -> {"of": what they were measured on (kept.py), "rows": ...}, a
metric that a pair has not is null. The tables stand between markers in the README, `<!-- name -->` to `<!-- /name -->`.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from ...evaluation.evaluation_report import png_bytes
from ...media.atomic_write import atomic_write
from ...media.log import logger
from ..pipeline import Work
from .baselines import BASELINES
from .gates import measured_gates
from .kept import Rows, evaluation_folder, rows_file
from .metrics import hands_by_latent_frame, means
from .pairs import KINDS
from .result_pictures import bars, hands_chart, jpeg, pairs_sheet
from .variants import SHIPPED, SHUFFLED, VARIANTS
from .worlds import NEW, World

FOLDER, PAGE = Path(__file__).resolve().parents[1] / "results", "README.md"
MANY, FEW = 64, 32  # pairs against the baselines, and pairs of the ablations
COLUMNS = {
    "first_frame_psnr": ("first frame, dB", ".2f"), "truth_psnr": ("truth, dB", ".2f"),
    "moving_psnr": ("moving, dB", ".2f"), "pck_all": ("PCK@0.1", ".3f"),
    "pck_head": ("head", ".3f"), "pck_hands": ("hands", ".3f"), "pck_feet": ("feet", ".3f"),
}  # fmt: skip
GAINS = {"moving_psnr": "over photo, dB", "pck_all": "over photo"}  # metrics less those of the photo repeated
STILL = "photo repeated"
AGAINST = (SHIPPED.name, *(baseline.name for baseline in BASELINES), SHUFFLED.name)
ABLATIONS = tuple(variant.name for variant in VARIANTS if variant is not SHUFFLED)


def write_results(work: Work, folder: Path = FOLDER, world: World = NEW) -> list[Path]:
    """Write rows, tables and pictures into `folder` and return their paths.

    Where WORK has no metrics, those of training/results stay: all of them, or those measured with the same VAE. Where
    it has no clips, the picture of the pairs stays. ValueError: rows that do not belong together.
    """
    files = {}
    for count in (MANY, FEW):
        published = (FOLDER / rows_name(count)).read_bytes()
        taken = taken_rows(evaluation_folder(work, count, world), count)
        stay = json.loads(published) if taken else {}
        vae = {one["of"][2] for one in taken.values()} - {""}
        stay = {name: one for name, one in stay.items() if name not in taken and {one["of"][2]} == vae}
        files[rows_name(count)] = as_text(taken | stay).encode() if taken else published
    many, few = (read_rows(files[rows_name(count)]) for count in (MANY, FEW))
    files[PAGE] = filled((FOLDER / PAGE).read_text("utf-8"), tables(many, few)).encode()
    files["ablations.png"] = png_bytes(bars({name: few[name] for name in ABLATIONS if name in few}))
    files["hands.png"] = png_bytes(hands_chart({name: many[name] for name in AGAINST if name in many}))
    sheet = pairs_sheet(evaluation_folder(work, MANY, world), world)
    if sheet is not None:
        files["pairs.jpg"] = jpeg(sheet)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with atomic_write(folder / name) as part:
            part.write_bytes(data)
    return [folder / name for name in files]


def rows_name(count: int) -> str:
    """Return the file of the rows of `count` pairs."""
    return f"pairs-{count}.json"


def taken_rows(folder: Path, count: int) -> dict[str, dict]:
    """Return what `evaluate` kept in `folder`, by name, in the order of the tables; nothing if there is no folder."""
    names = [one.name for one in (*BASELINES, *VARIANTS)]
    files = {name: file for name in names if (file := rows_file(folder, name)).exists()}
    found = {name: json.loads(file.read_text("utf-8")) for name, file in files.items()}
    if not found:
        logger.info("%s has no metrics; those of training/results stay.", folder)
    vaes = {one["of"][2] for one in found.values()} - {""}
    if len(vaes) > 1 or {one["of"][0] for one in found.values()} - {count}:
        raise ValueError(f"The metrics in {folder} are of several VAEs or other numbers of pairs. Run evaluate again.")
    return found


def as_text(found: dict[str, dict]) -> str:
    """Return the rows as JSON, a pair in a line."""
    names = []
    for name, one in found.items():
        rows = [
            {key: None if value is None or math.isnan(value) else value for key, value in row.items()}
            for row in one["rows"]
        ]
        lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
        names.append(f'{json.dumps(name)}: {{"of": {json.dumps(one["of"])}, "rows": [\n{lines}\n]}}')
    return "{\n" + ",\n".join(names) + "\n}\n"


def read_rows(data: bytes) -> dict[str, Rows]:
    """Return the rows of a file by the name of what was measured."""
    return {
        name: [{key: math.nan if value is None else value for key, value in row.items()} for row in one["rows"]]
        for name, one in json.loads(data).items()
    }


def tables(many: dict[str, Rows], few: dict[str, Rows]) -> dict[str, str]:
    """Return the Markdown tables by their markers' names."""
    against, left_out = (
        {name: rows[name] for name in names if name in rows} for rows, names in ((many, AGAINST), (few, ABLATIONS))
    )
    metric, kinds = "pck_all", range(len(KINDS))
    by_kind = [
        [name, *(_cells(means(rows[kind :: len(KINDS)]), [metric])[0] for kind in kinds)]
        for name, rows in left_out.items()
    ]
    if STILL in few:
        by_kind.append([STILL, *(_cells(means(few[STILL][kind :: len(KINDS)]), [metric])[0] for kind in kinds)])
    hands = {name: found for name, rows in against.items() if (found := hands_by_latent_frame(rows))}
    latent = range(max(map(len, hands.values()), default=0))
    frames = ["0", *(f"{4 * index - 3}-{4 * index}" for index in latent[1:])]
    return {
        "gates": table(["gate", "least", "found", "result"], measured_gates(many.get(SHIPPED.name, []))),
        "baselines": by_metric(against, many.get(STILL)),
        "hands": table(
            ["frames", *frames], [[name, *(f"{value:.3f}" for value in own)] for name, own in hands.items()]
        ),
        "ablations": by_metric(left_out, few.get(STILL)),
        "kinds": table([COLUMNS[metric][0], *KINDS], by_kind),
    }


def by_metric(rows: dict[str, Rows], still: Rows | None) -> str:
    """Return a table of all metrics, and of GAINS over the photo repeated."""
    least, lines = means(still) if still else {}, []
    for name, own in rows.items():
        found = means(own)
        gains = {metric: found.get(metric, math.nan) - least.get(metric, math.nan) for metric in GAINS}
        lines.append([name, *_cells(found, COLUMNS), *_cells(gains, GAINS)])
    return table(["what", *(title for title, _ in COLUMNS.values()), *GAINS.values()], lines)


def _cells(metrics: dict[str, float], names) -> list[str]:
    values = [(metrics.get(name, math.nan), COLUMNS[name][1]) for name in names]
    return ["-" if math.isnan(value) else format(value, digits) for value, digits in values]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column holds words."""
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def filled(text: str, parts: dict[str, str]) -> str:
    """Return the text with each part between its markers. ValueError where they are not there."""
    for name, part in parts.items():
        start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        between = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.S)
        if not between.search(text):
            raise ValueError(f"The text has no place for the table {name!r}: {start.strip()} to {end.strip()}.")
        text = between.sub(lambda _, whole=f"{start}{part}{end}": whole, text)
    return text
