"""Reports: the table, its means and marks, HTML and Markdown that hold their pictures, the same bytes each time."""

import base64
import io
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from steadydancer_pack.evaluation.body_keypoints import Keypoints
from steadydancer_pack.evaluation.contact_sheet import FOUND, TARGET, contact_sheet, sheet_times
from steadydancer_pack.evaluation.evaluation_report import write_report
from steadydancer_pack.evaluation.measure import Case
from steadydancer_pack.evaluation.metric_table import make_table
from steadydancer_pack.evaluation.plots import draw_bars, draw_curves
from steadydancer_pack.media.canvas import ACCENT, BEST

ROWS = [
    {"name": "a", "pck": 0.5, "joint_error": 4.0, "group": "ours", "seconds": 12},
    {"name": "b", "pck": 0.7, "joint_error": math.nan, "group": "ours"},
    {"name": "c", "pck": 0.2, "joint_error": 9.0, "group": "photo", "first_frame_psnr": 30.0},
]
PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def texts(line):
    return [cell.text for cell in line.cells]


def test_columns_stand_in_the_order_of_the_catalogue_and_means_below():
    table = make_table(ROWS)
    assert table.headings == (
        "name", "group", "First frame PSNR, dB (higher)", "PCK (higher)", "Joint error, % of height (lower)", "seconds",
    )  # fmt: skip
    assert [texts(line) for line in table.lines] == [
        ["a", "ours", "-", "0.5000", "4.00", "12"],
        ["b", "ours", "-", "0.7000", "-", "-"],
        ["c", "photo", "30.00", "0.2000", "9.00", "-"],
        ["mean of 2", "ours", "-", "0.6000", "4.00", "12"],
        ["mean of 1", "photo", "30.00", "0.2000", "9.00", "-"],
        ["mean of 3", "", "30.00", "0.4667", "6.50", "12"],
    ]
    assert [line.mean for line in table.lines] == [False] * 3 + [True] * 3


def test_the_best_group_is_marked_by_what_is_better():
    marked = [[cell.best for cell in line.cells] for line in make_table(ROWS).lines]
    assert [i for i, row in enumerate(marked) if any(row)] == [3]
    assert marked[3] == [False, False, False, True, True, False]


def test_without_groups_the_best_row_is_marked_and_equal_rows_are_not():
    rows = [{"name": "a", "pck": 0.5, "flicker": 1.0}, {"name": "b", "pck": 0.6, "flicker": 1.0}]
    assert [[cell.best for cell in line.cells] for line in make_table(rows).lines] == [
        [False] * 3, [False, True, False], [False] * 3,
    ]  # fmt: skip


def test_a_single_clip_stands_upright():
    table = make_table([{"name": "dance", "first_frame_psnr": 31.234}])
    assert texts(table.lines[0]) == ["name", "", "dance"]
    assert texts(table.lines[1])[0] == "First frame PSNR, dB (higher)" and texts(table.lines[1])[2] == "31.23"


@pytest.mark.parametrize("rows", [[], [{"pck": 1.0}]])
def test_a_report_needs_named_rows(rows, tmp_path):
    with pytest.raises(ValueError, match="at least one row, and a 'name' in each"):
        write_report(rows, tmp_path, "Nothing")


def test_the_page_holds_its_pictures_and_the_text_has_them_beside_it(tmp_path):
    page, text = write_report(ROWS, tmp_path / "new", "A & B", {"Some Picture": PICTURE}, ["not measured: x < y"])
    html, markdown = page.read_text(), text.read_text()
    data = re.search(r'src="data:image/png;base64,([^"]+)"', html).group(1)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), PICTURE)
    assert "![Some Picture](some_picture.png)" in markdown
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "some_picture.png")), PICTURE)
    assert "<h1>A &amp; B</h1>" in html and "x &lt; y" in html and "http" not in html
    assert "| a | ours | - | 0.5000 | 4.00 | 12 |" in markdown and "not measured: x \\< y" in markdown


def test_names_cannot_break_out_of_the_table(tmp_path):
    page, text = write_report([{"name": "<script>|\n*", "pck": 1.0}, {"name": "b"}], tmp_path, "T")
    assert "<script>" not in page.read_text() and "| \\<script\\>\\| \\* | 1.0000 |" in text.read_text()


def test_two_reports_are_equal_to_the_last_byte(tmp_path):
    curve = {"pck": np.linspace(0, 1, 9)}
    for folder in ("a", "b"):
        pictures = {"Curves": draw_curves(curve), "Bars": draw_bars(ROWS, ["pck"])}
        write_report(ROWS, tmp_path / folder, "T", pictures)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["bars.png", "curves.png", "report.html", "report.md"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_pictures_of_one_file_name_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="would have one file name"):
        write_report(ROWS, tmp_path / "new", "T", {"A b": PICTURE, "a-b": PICTURE})
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="The report cannot be written into .*file"):
        write_report(ROWS, tmp_path / "file" / "new", "T")


def test_a_curve_rises_where_its_values_do():
    rising = draw_curves({"pck": np.array([0.0, 1.0])})
    line = (rising[..., 2].astype(int) - rising[..., 0]) > 120  # blue
    rows, columns = np.nonzero(line)
    assert rows[columns.argmin()] > rows[columns.argmax()] + 100


def test_a_curve_that_skips_frames_is_one_line_and_a_gap_is_none():
    every_second = np.where(np.arange(21) % 2, 0.5, np.nan)
    gap = np.where((np.arange(21) < 5) | (np.arange(21) > 15), 0.5, np.nan)
    widths = []
    for curve in (every_second, gap):
        picture = draw_curves({"flicker": curve})
        line = (picture[..., 2].astype(int) - picture[..., 0]) > 120
        widths.append(line.any(axis=0).sum())
    assert widths[0] == pytest.approx(18 * 20, abs=4) and widths[1] == pytest.approx(9 * 20 - 20, abs=25)


@pytest.mark.parametrize("curves", [{}, {"pck": np.full(3, np.nan)}])
def test_nothing_to_draw_says_so(curves):
    assert draw_curves(curves).max() > 200


def test_bars_are_as_long_as_their_values_and_the_best_is_green():
    picture = draw_bars(ROWS, ["pck"]).astype(int)
    lengths = []
    for row in range(3):
        middle = picture[16 + 34 + row * 24 + 9]
        lengths.append(((middle.max(axis=1) - middle.min(axis=1)) > 60).sum())
    assert lengths == [pytest.approx(220 * part, abs=2) for part in (5 / 7, 1, 2 / 7)]
    colours = [tuple(picture[16 + 34 + row * 24 + 9, 16 + 190 + 20]) for row in range(3)]
    assert colours == [ACCENT, BEST, ACCENT]


def test_no_bars_are_refused():
    with pytest.raises(ValueError, match="at least one row and one column"):
        draw_bars([], ["pck"])


@pytest.mark.parametrize(("frames", "times"), [(1, [0]), (3, [0, 1, 2]), (81, [0, 16, 32, 48, 64, 80])])
def test_the_times_of_a_sheet(frames, times):
    assert sheet_times(frames) == times


def test_a_sheet_shows_photo_frames_truth_and_keypoints():
    frames = torch.full((3, 50, 100, 3), 0.5)
    point = Keypoints(np.full((3, 1, 2), 0.25), np.ones((3, 1), bool))
    elsewhere = Keypoints(np.full((3, 1, 2), 0.75), np.ones((3, 1), bool))
    plain = contact_sheet(Case(frames))
    assert plain.shape == (8 + 100 + 22 + 8, 8 + 3 * 208, 3)
    full = contact_sheet(Case(frames, torch.ones(1, 40, 40, 3), frames[:2], point, elsewhere), bones=[(0, 0)])
    assert full.shape == (8 + 3 * 130, 2 * 8 + 200 + 3 * 208, 3)
    left, top = 2 * 8 + 200, 8 + 2 * 130 + 22
    assert tuple(full[top + 25, left + 50]) == FOUND and tuple(full[top + 75, left + 150]) == TARGET
    assert (full[8 + 22 + 10, 20] == 255).all()  # the photo is white


def test_a_file_name_that_is_no_utf8_is_written_with_its_code(tmp_path):
    """Linux takes any bytes as a name; Python has them as halves of characters."""
    page, text = write_report([{"name": "a\udcff", "pck": 0.5}], tmp_path, "Title")
    assert "a\\udcff" in page.read_text("utf-8") and "a\\udcff" in text.read_text("utf-8")
