"""Nothing phones home: the guard over all tests refuses, and the native libraries of the pose pipeline stay quiet."""

import os
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from steadydancer_pack.doctor.pose_check import check_telemetry
from steadydancer_pack.dwpose.packages import onnxruntime_build
from steadydancer_pack.dwpose.packages.onnxruntime_build import TELEMETRY_SWITCH, import_onnxruntime, sends_telemetry
from steadydancer_pack.tests.guard import is_local

PACK = Path(__file__).resolve().parents[2]
SEARCH = """
import os, sys, types
from pathlib import Path
pack = types.ModuleType("steadydancer_pack")
pack.__path__ = [sys.argv[1]]
sys.modules["steadydancer_pack"] = pack
from steadydancer_pack.tests.guard import Guard
guard = Guard()
import numpy as np
from steadydancer_pack.dwpose.detect.blazepose import BlazePose
from steadydancer_pack.dwpose.detect.detector import Region
detector = BlazePose()
frame = np.full((96, 96, 3), 128, np.uint8)
detector.find(frame)
points, _ = detector.estimate(frame, [Region(48, 48, 60, 60)])
assert len(points) == 1 and not guard.refused, guard.refused
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.fixture
def fresh(monkeypatch):
    """A process that has not imported ONNX Runtime, and that says nothing of telemetry."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv(TELEMETRY_SWITCH, raising=False)


def test_a_search_for_poses_leaves_no_file_in_a_fresh_home(tmp_path):
    here = {name: str(tmp_path / name) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "TMPDIR", "TEMP", "TMP")}
    for place in here.values():
        Path(place).mkdir()
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    command = [sys.executable, "-c", SEARCH, str(PACK)]
    done = subprocess.run(command, cwd=tmp_path, env={**cleared, **here}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "1" and [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("platform", ["linux", "win32"])
@pytest.mark.parametrize("value", ["", "0"])
def test_the_switch_is_set_at_the_first_import_and_the_users_value_stays(fresh, monkeypatch, platform, value):
    """On Windows the events are switched off too."""
    monkeypatch.setattr(sys, "platform", platform)
    if value:
        monkeypatch.setenv(TELEMETRY_SWITCH, value)
    real = __import__

    def import_made_up(name, *args):
        if name != "onnxruntime":
            return real(name, *args)
        assert TELEMETRY_SWITCH in os.environ
        monkeypatch.setitem(sys.modules, name, _made_up("1.32.0"))
        return sys.modules[name]

    monkeypatch.setattr("builtins.__import__", import_made_up)
    assert not sends_telemetry()
    assert len(import_onnxruntime().calls) == (1 if platform == "win32" and not value else 0)
    assert os.environ[TELEMETRY_SWITCH] == (value or "1") and not sends_telemetry()


@pytest.mark.parametrize(
    ("platform", "version", "sends"),
    [("linux", "1.28.2", False), ("linux", "1.29.0", True), ("linux", "1.32.0.dev1", True), ("win32", "1.32.0", False)],
)
def test_another_pack_that_was_first_is_reported_where_the_switch_has_an_effect(
    fresh, monkeypatch, platform, version, sends
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setitem(sys.modules, "onnxruntime", _made_up(version))
    import_onnxruntime()
    assert TELEMETRY_SWITCH not in os.environ and sends_telemetry() == sends
    findings = check_telemetry(sends_telemetry(), TELEMETRY_SWITCH)
    assert len(findings) == sends
    for finding in findings:
        assert finding.level == "warning" and "Another pack imported ONNX Runtime first" in finding.what
        assert "Set ORT_DISABLE_TELEMETRY=1" in finding.fix


def _made_up(version):
    module = ModuleType("onnxruntime")
    module.__version__, module.InferenceSession, module.calls = version, object, []
    module.disable_telemetry_events = lambda: module.calls.append(1)
    return module


def test_the_pack_alone_leaves_the_environment_as_it_is():
    assert not hasattr(onnxruntime_build, "onnxruntime")
    code = "import os, sys; sys.path.insert(0, sys.argv[1]); from comfy_client.in_process import use_pack; use_pack()\n"
    code += "import steadydancer_pack.dwpose.packages.onnxruntime_build, steadydancer_pack.dwpose.detect.runtime\n"
    code += f"print(os.environ.get({TELEMETRY_SWITCH!r}), 'onnxruntime' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != TELEMETRY_SWITCH}
    done = subprocess.run([sys.executable, "-c", code, str(PACK)], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["None", "False"], done.stderr


def test_this_machine_is_local_and_another_is_not():
    here = ["localhost", "127.0.0.1", "127.3.2.1", "::1", b"localhost", "", None]
    assert all(map(is_local, here))
    assert not any(map(is_local, ["example.invalid", "10.0.0.1", "192.168.1.4", "2001:db8::1", "fe80::1%eth0"]))


def test_the_guard_refuses_a_look_up_a_connection_and_a_file(refusals, tmp_path):
    with pytest.raises(RuntimeError, match="getaddrinfo example.invalid"):
        socket.getaddrinfo("example.invalid", 443)
    with socket.socket() as sock, pytest.raises(RuntimeError, match="socket.connect 192.0.2.1"):
        sock.connect(("192.0.2.1", 9))
    outside, mine, ours = Path(f"{tempfile.gettempdir()}-elsewhere"), tmp_path / "mine", PACK / "LICENSE"
    for file in (Path("~/steadydancer-guard").expanduser(), outside):
        with pytest.raises(RuntimeError, match="writes"):
            file.write_text("x", "utf-8")
    mine.write_text("x", "utf-8")
    links = partial(outside.hardlink_to, mine), partial(outside.symlink_to, mine)
    for change in (outside.mkdir, partial(mine.rename, outside), *links, partial(ours.replace, mine)):
        with pytest.raises(RuntimeError, match="os[.](mkdir|rename|link|symlink) "):
            change()
    assert len(refusals) == 9 and not outside.exists() and ours.exists()
    refusals.clear()
    (tmp_path / "inside").write_text("x", "utf-8")
    assert refusals == []
