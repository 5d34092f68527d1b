"""Reports: the table, its means and marks, HTML, Markdown, CSV and charts, the same bytes each time."""

import base64
import csv
import io
import math
import re

import matplotlib.colors
import numpy as np
import pytest
import torch
from PIL import Image

from steadydancer_pack.evaluation.body_keypoints import Keypoints
from steadydancer_pack.evaluation.charts import BEST_COLOR, COLOR, draw_bars, draw_curves
from steadydancer_pack.evaluation.contact_sheet import FOUND, TARGET, contact_sheet
from steadydancer_pack.evaluation.evaluate import Case
from steadydancer_pack.evaluation.evaluation_report import report_files, write_report
from steadydancer_pack.evaluation.html_page import html_list, html_page, html_picture, html_table, html_terms
from steadydancer_pack.evaluation.metric_table import make_table
from steadydancer_pack.media.clips import sheet_times
from steadydancer_pack.media.image_layout import CAPTION, GAP

ROWS = [
    {"name": "a", "pck": 0.5, "joint_error": 4.0, "group": "ours", "seconds": 12},
    {"name": "b", "pck": 0.7, "joint_error": math.nan, "group": "ours"},
    {"name": "c", "pck": 0.2, "joint_error": 9.0, "group": "photo", "first_frame_psnr": 30.0},
]
PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_columns_stand_in_the_order_of_the_metrics_and_means_below():
    table = make_table(ROWS)
    metrics = ["First frame PSNR, dB (higher)", "PCK (higher)", "Joint error, % of height (lower)"]
    assert table.headings == ["name", "group", *metrics, "seconds"]
    assert table.lines == [
        ["a", "ours", "-", "0.5000", "4.00", "12"],
        ["b", "ours", "-", "0.7000", "-", "-"],
        ["c", "photo", "30.00", "0.2000", "9.00", "-"],
        ["mean of 2", "ours", "-", "0.6000", "4.00", "12"],
        ["mean of 1", "photo", "30.00", "0.2000", "9.00", "-"],
        ["mean of 3", "", "30.00", "0.4667", "6.50", "12"],
    ]
    assert (table.words, table.means) == (2, 3)


def test_the_best_group_is_marked_or_the_best_row_and_equal_rows_are_not():
    assert make_table(ROWS).best == {(3, 3), (3, 4)}
    rows = [{"name": "a", "pck": 0.5, "flicker": 1.0}, {"name": "b", "pck": 0.6, "flicker": 1.0}]
    assert make_table(rows).best == {(1, 1)}


def test_a_single_clip_has_a_line_for_each_metric():
    lines = make_table([{"name": "dance", "first_frame_psnr": 31.234}]).lines
    assert lines[0] == ["name", "", "dance"] and lines[1][::2] == ["First frame PSNR, dB (higher)", "31.23"]


@pytest.mark.parametrize("rows", [[], [{"pck": 1.0}]])
def test_a_report_needs_named_rows(rows):
    with pytest.raises(ValueError, match="at least one row, and a 'name' in each"):
        report_files("Nothing", rows)


def test_the_page_holds_its_pictures_and_the_text_has_them_beside_it(tmp_path):
    files = report_files("A & B", ROWS, {"Some Picture": PICTURE}, ["not measured: x < y"])
    page, text = write_report(tmp_path / "new", files)
    html, markdown = page.read_text(), text.read_text()
    data = re.search(r'src="data:image/png;base64,([^"]+)"', html).group(1)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), PICTURE)
    assert "![Some Picture](some_picture.png)" in markdown
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "some_picture.png")), PICTURE)
    assert "<h1>A &amp; B</h1>" in html and "x &lt; y" in html and "http" not in html
    assert "| a | ours | - | 0.5000 | 4.00 | 12 |" in markdown and "not measured: x \\< y" in markdown


def test_the_rows_are_saved_with_all_digits():
    files = report_files("T", [*ROWS, {"name": "d,\n", "pck": 1 / 3}])
    rows = list(csv.DictReader(io.StringIO(files["report.csv"].decode())))
    assert [row["name"] for row in rows] == ["a", "b", "c", "d,\n"] and float(rows[3]["pck"]) == 1 / 3
    assert list(rows[0]) == ["name", "group", "first_frame_psnr", "pck", "joint_error", "seconds"]
    assert rows[2]["seconds"] == ""


def test_names_cannot_break_out_of_the_table_and_what_is_no_utf8_is_written_with_its_code():
    """Linux takes any bytes as a name; Python has them as halves of characters."""
    files = report_files("T", [{"name": "<script>|\n*", "pck": 1.0}, {"name": "a\udcff"}])
    assert b"<script>" not in files["report.html"] and b"| \\<script\\>\\| \\* | 1.0000 |" in files["report.md"]
    assert all(b"a\\udcff" in text for text in files.values())


def test_every_part_of_a_page_is_escaped():
    evil = "<i>\"'&"
    parts = [html_table([evil], [[evil]]), html_list([evil]), html_terms(evil, [(evil, evil)]), html_picture(evil, b"")]
    page = html_page(evil, parts)
    assert "<i>" not in page and page.count("&lt;i&gt;&quot;&#x27;&amp;") == 2 + 2 + 1 + 3 + 2


def test_a_table_marks_words_means_and_the_best():
    html = html_table(["name", "n"], [["a", "1"], ["b", "2"], ["mean", "1.5"]], means=1, best={(1, 1)})
    assert '<tr class="row"><td class="text">b</td><td class="number best">2</td></tr>' in html
    assert '<tr class="mean"><td class="text">mean</td>' in html and html.count("best") == html.count('mean"') == 1


def test_two_reports_are_equal_to_the_last_byte_whatever_others_set():
    def files():
        pictures = {"Curves": draw_curves({"pck": np.linspace(0, 1, 9)}), "Bars": draw_bars(ROWS, ["pck"])}
        return report_files("T", ROWS, pictures)

    first = files()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert files() == first
    assert sorted(first) == ["bars.png", "curves.png", "report.csv", "report.html", "report.md"]
    assert matplotlib.rcParams["font.size"] == 10


def test_pictures_of_one_file_name_and_a_folder_that_cannot_be_made_are_refused(tmp_path):
    with pytest.raises(ValueError, match="would have one file name"):
        report_files("T", ROWS, {"A b": PICTURE, "a-b": PICTURE})
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="The report cannot be written into .*file"):
        write_report(tmp_path / "file" / "new", {})


def shows(picture, color=COLOR):
    """Where a picture has this color, bool [H, W]."""
    return np.abs(picture / 255 - matplotlib.colors.to_rgb(color)).max(axis=2) < 0.08


def test_a_curve_rises_where_its_values_do():
    rows, columns = np.nonzero(shows(draw_curves({"pck": np.array([0.0, 1.0])})))
    assert rows[columns.argmin()] > rows[columns.argmax()] + 100


def test_a_curve_that_skips_frames_is_one_line_and_a_gap_is_none():
    every_second = np.where(np.arange(21) % 2, 0.5, np.nan)
    gap = np.where((np.arange(21) < 5) | (np.arange(21) > 15), 0.5, np.nan)
    one_frame = np.where(np.arange(21) == 10, 0.5, np.nan)
    curves = (np.full(21, 0.5), every_second, gap, one_frame)
    whole, *widths = (shows(draw_curves({"flicker": curve})).any(axis=0).sum() for curve in curves)
    assert widths[:2] == [pytest.approx(whole * part, abs=4) for part in (18 / 20, 8 / 20)] and 0 < widths[2] < 10


@pytest.mark.parametrize("curves", [{}, {"pck": np.full(3, np.nan)}])
def test_nothing_to_draw_is_said_and_no_bars_are_refused(curves):
    assert draw_curves(curves).max() > 200
    with pytest.raises(ValueError, match="at least one row and one column"):
        draw_bars([], ["pck"])


def test_bars_are_as_long_as_their_values_and_the_best_is_green():
    picture = draw_bars([*ROWS, {"name": "$a$"}], ["pck"])
    found = [shows(picture, color) for color in (COLOR, BEST_COLOR)]
    rows = [np.flatnonzero(np.diff(shown.sum(axis=1) > 20)) for shown in found]
    assert len(rows[0]) == 4 and len(rows[1]) == 2 and rows[0][1] < rows[1][0] < rows[1][1] < rows[0][2]
    lengths = [(found[0] | found[1])[(start + end) // 2].sum() for start, end in (rows[0][:2], rows[1], rows[0][2:])]
    assert lengths == [pytest.approx(lengths[1] * part, abs=2) for part in (5 / 7, 1, 2 / 7)]


@pytest.mark.parametrize(("frames", "times"), [(1, [0]), (3, [0, 1, 2]), (81, [0, 16, 32, 48, 64, 80])])
def test_the_times_of_a_sheet(frames, times):
    assert sheet_times(frames) == times


def test_a_sheet_shows_photo_frames_ground_truth_and_keypoints():
    frames = torch.full((3, 50, 100, 3), 0.5)
    point = Keypoints(np.full((3, 1, 2), 0.25), np.ones((3, 1), bool))
    elsewhere = Keypoints(np.full((3, 1, 2), 0.75), np.ones((3, 1), bool))
    row, column = 100 + 2 * GAP + CAPTION, 200 + GAP
    plain = contact_sheet(Case(frames))
    assert plain.shape == (row, 4 * column + GAP, 3)
    case = Case(frames, torch.ones(1, 40, 40, 3), torch.rand(2, 50, 60, 3), point, elsewhere)
    full = contact_sheet(case, bones=[(0, 0)])
    assert full.shape == (3 * row, 4 * column + GAP, 3)
    left, top = GAP + column, 2 * row + GAP + CAPTION
    assert tuple(full[top + 25, left + 50]) == FOUND and tuple(full[top + 75, left + 150]) == TARGET
    assert (full[GAP + CAPTION + 10, GAP + 20] == 255).all()  # the photo is white
