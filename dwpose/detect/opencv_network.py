"""The bundled networks on OpenCV's DNN module, on the CPU, where ONNX Runtime is absent or broken.

Tried with OpenCV 4.10 and 5.0; slower than ONNX Runtime (benchmarks/pose_networks.py), so never preferred to it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..packages.onnxruntime_advice import Gpu
from ..packages.onnxruntime_build import NoOnnxRuntime
from ..packages.opencv import import_cv2
from .runtime import AUTO, CPU, OPENCV, Session, one_by_one, open_session

ONLY_BUNDLED = "OpenCV finds the poses on the CPU instead; DW-Pose needs ONNX Runtime."


class OpenCVNetwork(Session):
    """A network of dwpose/weights. outputs: their names, in the order of `run`."""

    def __init__(self, path: Path, outputs: Sequence[str], why: str):
        cv2 = import_cv2()
        self.provider, self.device, self.reopen = OPENCV, "", None
        self._errors, self._outputs = (cv2.error,), list(outputs)
        try:  # from memory: OpenCV opens no path with letters that are foreign to a Windows system
            self._session = cv2.dnn.readNetFromONNX(np.frombuffer(path.read_bytes(), np.uint8))
        except cv2.error as error:
            raise ValueError(f"{why} OpenCV {cv2.__version__} cannot run {path.name} either: {_line(error)}") from error
        self.notes = [f"{path.name} runs on OpenCV, on the CPU.", f"{ONLY_BUNDLED} {why}"]

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs for a batch, which OpenCV 4.10 computes only sample by sample; ValueError if it fails."""
        return one_by_one(self._run, feeds)

    def _run(self, feeds: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        for name, values in feeds.items():
            self._session.setInput(values, name)
        try:
            return self._session.forward(self._outputs)
        except self._errors as error:
            raise ValueError(f"The network failed on OpenCV: {_line(error)} Update OpenCV.") from error


def open_bundled(path: Path, outputs: Sequence[str], provider: str = AUTO, gpu: Gpu | None = None) -> Session:
    """Return a bundled network on ONNX Runtime, else, if no GPU was asked for, on OpenCV. See runtime.open_session."""
    try:
        return open_session(path, provider, gpu)
    except NoOnnxRuntime as error:
        if provider not in (AUTO, CPU):
            raise
        return OpenCVNetwork(path, outputs, str(error))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
