"""The published metrics: the page holds exactly what the rows beside it give, and the rows what was measured."""

import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.miniature import SHIPPED, shipped
from steadydancer_pack.training.command import _parser, main
from steadydancer_pack.training.evaluation import result_pictures
from steadydancer_pack.training.evaluation.baselines import BASELINES, WITHOUT_POSE, photo_repeated
from steadydancer_pack.training.evaluation.kept import SHEET_PAIRS, evaluation_folder, rows_file
from steadydancer_pack.training.evaluation.metrics import means, metrics
from steadydancer_pack.training.evaluation.pairs import FRAMES, KINDS, make_pair, make_pairs
from steadydancer_pack.training.evaluation.result_pictures import bars, pairs_sheet
from steadydancer_pack.training.evaluation.results import (
    ABLATIONS,
    AGAINST,
    FEW,
    FOLDER,
    MANY,
    PAGE,
    filled,
    read_rows,
    rows_name,
    tables,
    write_results,
)
from steadydancer_pack.training.evaluation.variants import BESIDE, VARIANTS, command_for
from steadydancer_pack.training.evaluation.worlds import OLD
from steadydancer_pack.training.network import SMALL
from steadydancer_pack.training.pipeline import Work

ROWS = {count: read_rows((FOLDER / rows_name(count)).read_bytes()) for count in (MANY, FEW)}
CARD, STEP = SHIPPED / "README.md", re.compile(r"^    (python|torchrun --nproc-per-node 2) -m training ([^#\n]+)", re.M)


def test_the_rows_are_all_there_and_small():
    assert set(AGAINST) <= ROWS[MANY].keys()
    assert set(ABLATIONS) <= ROWS[FEW].keys() <= {one.name for one in (*BASELINES, *VARIANTS)}
    assert all(len(rows) == count for count, own in ROWS.items() for rows in own.values())
    assert sum((FOLDER / rows_name(count)).stat().st_size for count in ROWS) < 500_000


@pytest.mark.parametrize("count", ROWS)
def test_the_rows_are_of_the_shipped_vae(count):
    digest = hashlib.sha256(shipped("steadydancer_miniature_vae.safetensors").read_bytes()).hexdigest()
    for name, one in json.loads((FOLDER / rows_name(count)).read_bytes()).items():
        assert one["of"][2] == ("" if name == "photo repeated" else digest), name


def test_both_runs_saw_the_same_pairs_and_noise():
    both = ROWS[MANY].keys() & ROWS[FEW].keys()
    assert {"shipped", WITHOUT_POSE} <= both
    named = {name: ROWS[FEW][name][0].keys() & ROWS[MANY][name][0].keys() for name in sorted(both)}
    many, few = (
        [row[key] for name, keys in named.items() for row in ROWS[count][name][:FEW] for key in sorted(keys)]
        for count in ROWS
    )
    assert np.allclose(many, few, rtol=0, atol=0.01, equal_nan=True)  # threads and versions round otherwise


def test_a_table_by_hand():
    row = {"first_frame_psnr": 30.0, "truth_psnr": 20.0, "pck_all": 0.5, "pck_head": 1.0, "pck_hands": 0.0}
    rows = {"shipped": [row | {"pck_all": 0.25 * kind, "pck_feet": float("nan") if kind else 0.5} for kind in range(4)]}
    still = [row | {"pck_feet": 0.5, "pck_all": 0.125, "moving_psnr": 12.0} for row in rows["shipped"]]
    rows["shipped"] = [row | {"moving_psnr": 15.0, "hands_0": 1.0, "hands_1": 0.5} for row in rows["shipped"]]
    made = tables(rows | {"photo repeated": still}, rows)
    assert made["baselines"].splitlines()[2:] == [
        "| shipped | 30.00 | 20.00 | 15.00 | 0.375 | 1.000 | 0.000 | 0.500 | 3.00 | 0.250 |",
        "| photo repeated | 30.00 | 20.00 | 12.00 | 0.125 | 1.000 | 0.000 | 0.500 | 0.00 | 0.000 |",
    ]
    assert made["hands"].splitlines() == [
        "| frames | 0 | 1-4 |",
        "| --- | ---: | ---: |",
        "| shipped | 1.000 | 0.500 |",
    ]
    assert made["kinds"].splitlines() == [
        f"| PCK@0.1 | {' | '.join(KINDS)} |", "| --- |" + " ---: |" * 4, "| shipped | 0.000 | 0.250 | 0.500 | 0.750 |",
    ]  # fmt: skip


def test_a_page_without_a_marker_is_refused():
    assert filled("a\n<!-- t -->\nold\n<!-- /t -->\nb", {"t": "| n\\1 |"}) == "a\n<!-- t -->\n| n\\1 |\n<!-- /t -->\nb"
    with pytest.raises(ValueError, match="no place for the table 't'"):
        filled("<!-- t -->\nold", {"t": "new"})


def keep(folder, name, rows, of):
    folder.mkdir(parents=True, exist_ok=True)
    rows_file(folder, name).write_text(json.dumps({"of": of, "rows": rows}))


def test_the_command_writes_what_was_evaluated(tmp_path):
    work, out = Work(tmp_path / "work"), tmp_path / "out"
    changed = [row | {"pck_all": 0.125} for row in ROWS[FEW]["shipped"]]
    keep(evaluation_folder(work, FEW), "shipped", changed, [FEW, "a", "b"])
    assert main(["results", str(work.folder), "--output", str(out), "--cpu"]) == 0
    assert (out / rows_name(MANY)).read_bytes() == (FOLDER / rows_name(MANY)).read_bytes()
    assert means(read_rows((out / rows_name(FEW)).read_bytes())["shipped"]) == means(changed)
    page = (out / PAGE).read_text("utf-8")
    assert tables(ROWS[MANY], {"shipped": changed})["kinds"] in page and "| 0.125 | 0.125 | 0.125 | 0.125 |" in page
    assert (np.asarray(Image.open(out / "ablations.png")) == bars({"shipped": changed})).all()


def test_without_a_work_folder_the_page_stays_as_it_is_and_holds_what_its_rows_give(tmp_path):
    write_results(Work(tmp_path / "nothing"), tmp_path)
    for name in (PAGE, rows_name(MANY), rows_name(FEW)):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("other", [[FEW, "a", "c"], [FEW + 1, "a", "b"]])
def test_metrics_of_two_vaes_or_of_other_pairs_are_refused(tmp_path, other):
    work = Work(tmp_path)
    keep(evaluation_folder(work, FEW), "shipped", ROWS[FEW]["shipped"], [FEW, "a", "b"])
    keep(evaluation_folder(work, FEW), "stage 1 only", ROWS[FEW]["stage 1 only"], other)
    with pytest.raises(ValueError, match="Run evaluate again"):
        write_results(work, tmp_path / "out")


def test_the_pairs_are_shown_with_what_was_made_of_them(tmp_path, monkeypatch):
    assert pairs_sheet(tmp_path) is None
    pairs = make_pairs(SHEET_PAIRS, FRAMES, SMALL.pixels)
    monkeypatch.setattr(result_pictures, "make_pairs", lambda *_, **__: pairs)
    clips = {"shipped": [pair.truth.frames for pair in pairs], WITHOUT_POSE: [pair.driver.frames for pair in pairs]}
    for name, own in clips.items():
        np.savez(rows_file(tmp_path, name).with_suffix(".npz"), clips=np.stack(own))
    sheet = pairs_sheet(tmp_path)
    assert sheet.shape == (12 * SMALL.pixels + 9, 15 * SMALL.pixels + 9, 3)
    side = 3 * SMALL.pixels // 2  # enlarged
    strips = sheet[: 4 * side, : 5 * side].reshape(4, side, -1).astype(int)[:, 8:-8]
    assert np.abs(strips[1] - strips[2]).max() == 0 < np.abs(strips[0] - strips[1]).max()


def test_the_page_names_the_commands():
    page = (FOLDER / PAGE).read_text("utf-8")
    evaluate = [f"python -m training evaluate WORK --pairs {count}" for count in (MANY, FEW)]
    made = [f"{command_for(weights)}\n" for weights in (*BESIDE, "stage2_plain")]
    assert all(f"    {command}" in page for command in (*evaluate, *made, "python -m training results WORK\n"))


def test_the_card_trains_every_step_in_two_processes():
    lines = STEP.findall(CARD.read_text("utf-8"))
    options = {words.split()[0]: (how, _parser().parse_args(words.split())) for how, words in lines}
    trained = [name for name, (how, _) in options.items() if how != "python"]
    assert trained == ["vae", "base", "stage1", "stage2", "stage3"]
    assert [*options] == ["world", "vae", "store", *trained[1:], "export", "sample"]
    assert all(given.cpu for _, given in options.values())


def test_the_published_pairs_are_those_of_the_old_world():
    pair = make_pair(1, KINDS[1], FRAMES, OLD.size, OLD)
    assert metrics(pair, photo_repeated(pair)) == pytest.approx(ROWS[MANY]["photo repeated"][1], abs=0.01, nan_ok=True)


def test_rows_of_the_same_vae_stay_beside_those_measured_anew(tmp_path):
    published = json.loads((FOLDER / rows_name(FEW)).read_bytes())
    of, work = published["shipped"]["of"], Work(tmp_path / "work")
    keep(evaluation_folder(work, FEW), "shipped", [row | {"pck_all": 0.125} for row in ROWS[FEW]["shipped"]], of)
    write_results(work, tmp_path / "out")
    found = read_rows((tmp_path / "out" / rows_name(FEW)).read_bytes())
    assert means(found["shipped"])["pck_all"] == 0.125
    assert str(found["stage 1 only"]) == str(ROWS[FEW]["stage 1 only"])
