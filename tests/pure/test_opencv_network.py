"""The bundled networks on OpenCV's DNN module, which takes over where ONNX Runtime is absent or broken."""

import sys

import cv2
import numpy as np
import pytest

from steadydancer_pack.doctor import pose_check as pose
from steadydancer_pack.dwpose.detect.blazepose import DETECTION, LANDMARKS, OUTPUTS, BlazePose
from steadydancer_pack.dwpose.detect.opencv_network import OpenCVNetwork, open_bundled
from steadydancer_pack.dwpose.detect.runtime import open_session, prepare
from steadydancer_pack.dwpose.packages.onnxruntime_advice import Gpu
from steadydancer_pack.dwpose.packages.onnxruntime_build import NoOnnxRuntime
from steadydancer_pack.tests.pure.test_runtime import FakeRuntime

PARITY = 0.006  # on outputs of up to 350
SIDES = {DETECTION: (224, -1), LANDMARKS: (256, 0)}  # pixels, and the least value of a picture


def pictures(network, count):
    """Made-up pictures that differ, as the network takes them."""
    side, low = SIDES[network]
    y, x = np.mgrid[:side, :side] / side
    waves = [[0.5 + 0.5 * np.sin(9 * x + 5 * y * k + n) for k in (1, 2, 3)] for n in range(count)]
    return np.float32(waves) * (1 - low) + low


@pytest.fixture
def no_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


@pytest.mark.parametrize("network", [DETECTION, LANDMARKS], ids=lambda path: path.stem)
@pytest.mark.parametrize("count", [1, 3])
def test_the_outputs_are_those_of_onnx_runtime(network, count):
    """OpenCV 4.10 refuses more than one picture at once, and names the outputs in another order."""
    images = pictures(network, count)
    ours = OpenCVNetwork(network, OUTPUTS[network], "").run({"image": images})
    for output, wanted in zip(ours, open_session(network, "CPU").run({"image": images}), strict=True):
        assert output.shape == wanted.shape and output.dtype == np.float32
        np.testing.assert_allclose(output, wanted, rtol=0, atol=PARITY)


@pytest.mark.parametrize("provider", ["auto", "CPU"])
def test_what_runs_instead_of_onnx_runtime_is_said_once(no_onnxruntime, caplog, provider):
    detector = BlazePose(provider, Gpu("NVIDIA GeForce GTX 1080", 12))
    assert detector.name == "BlazePose (OpenCV)"
    *runs, why = detector.notes
    assert runs == [f"{path.name} runs on OpenCV, on the CPU." for path in (DETECTION, LANDMARKS)]
    assert why.startswith("OpenCV finds the poses on the CPU instead; DW-Pose needs ONNX Runtime. ONNX Runtime is")
    assert "-m pip install " in why and why.endswith("and restart ComfyUI.")
    assert len(caplog.records) == 1 and why in caplog.text
    detector.prepare(lambda: pytest.fail("Room was made for the CPU."))


def test_a_gpu_that_was_asked_for_is_not_replaced_and_doctor_warns_with_the_command(no_onnxruntime):
    (finding,) = pose.check_runtime(pose.try_runtime(None))
    assert finding.level == "warning" and finding.what.startswith("OpenCV finds the poses on the CPU instead;")
    assert finding.fix.startswith("With ComfyUI's own Python: python -m pip install ")
    assert finding.fix.endswith(". Then restart ComfyUI.")
    with pytest.raises(NoOnnxRuntime):
        BlazePose("CUDA")


def test_an_onnx_runtime_that_runs_nothing_is_replaced(monkeypatch):
    ort = FakeRuntime(refused={"CPU": RuntimeError("unsupported opset")})
    monkeypatch.setitem(sys.modules, "onnxruntime", ort)
    network = open_bundled(LANDMARKS, OUTPUTS[LANDMARKS])
    assert network.provider == "OpenCV" and "CPU: unsupported opset." in network.notes[1]
    prepare([network], lambda: pytest.fail("Room was made for the CPU."))


def test_what_opencv_cannot_run_either_is_an_error(no_onnxruntime, tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"onnx")
    message = rf"(?s)ONNX Runtime is.* OpenCV {cv2.__version__} cannot run other.onnx either:"
    with pytest.raises(ValueError, match=message):
        open_bundled(tmp_path / "other.onnx", ("y",))
    network = OpenCVNetwork(LANDMARKS, ("no such output",), "")
    with pytest.raises(ValueError, match="The network failed on OpenCV: .* Update OpenCV."):
        network.run({"image": pictures(LANDMARKS, 1)})


def test_a_path_of_any_letters_is_read(tmp_path):
    path = tmp_path / "\u8bbe\u5907 \U0001f57a" / LANDMARKS.name
    path.parent.mkdir()
    path.write_bytes(LANDMARKS.read_bytes())
    assert OpenCVNetwork(path, OUTPUTS[LANDMARKS], "").run({"image": pictures(LANDMARKS, 1)})[0].shape == (1, 195)
