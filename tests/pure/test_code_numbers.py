"""The size and structure of the code base stay within bounds, and tools/code_numbers.py counts them right."""

import pytest

from steadydancer_pack.tools.code_numbers import PACK, CodeBase

FILES = {
    "media/frames.py": "def _once(x: bool): return ['a'] * x\ndef _twice(): _twice()\nONE = _once(1) + _twice()\n",
    "dwpose/draw.py": "def f(a):\n    from ..media import frames\n    return 'note' * (a > 0), [0] * a, a * (a > 1)\n",
    "dwpose/frames.py": "from .draw import f\nfrom steadydancer_pack.nodes.pose import DRAW\n",
    "nodes/pose.py": "from ..dwpose import frames\nDRAW = 1\n" + "def long():\n" + "    pass\n" * 50,
    "tests/test_draw.py": "def _helper(): pass\n_helper()\n",
    "README.md": "two words\n",
}


@pytest.fixture
def planted(tmp_path):
    """A small code base with one of everything that is counted."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return CodeBase(tmp_path)


def test_what_is_planted_is_counted(planted):
    assert planted.lines() == {"media": 3, "dwpose": 5, "nodes": 53, "tests": 2}
    assert planted.one_use() == ["media/frames.py:1 _once"]
    assert planted.one_use_per_thousand() == pytest.approx(1000 / 61)
    assert planted.long_functions() == ["nodes/pose.py:3 long"]
    assert planted.conditional_repeats() == ["dwpose/draw.py:3", "media/frames.py:1"]
    assert planted.same_names() == {"frames.py": ["dwpose", "media"]}
    assert planted.words("README.md") == 2


def test_imports_are_followed(planted):
    assert planted.closure("dwpose/draw.py") == ["dwpose/draw.py", "media/frames.py"]
    assert planted.upward_imports() == ["dwpose/frames.py -> nodes/pose.py"]
    assert planted.cycles() == [["dwpose/frames.py", "nodes/pose.py"]]
    assert planted.package_cycles() == [["dwpose", "nodes"]]


def test_the_code_base_stays_within_its_bounds():
    code = CodeBase(PACK)
    assert code.one_use_per_thousand() <= 12
    assert code.long_functions() == code.conditional_repeats() == []
