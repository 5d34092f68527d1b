"""A compiled package that does not import: absent, does not load, or torn, each with its own answer."""

import importlib.metadata
import sys
from types import ModuleType

import pytest

from steadydancer_pack.dwpose.detect.runtime import may_use_gpu
from steadydancer_pack.dwpose.packages.onnxruntime_advice import Gpu
from steadydancer_pack.dwpose.packages.onnxruntime_build import NoOnnxRuntime, import_onnxruntime
from steadydancer_pack.dwpose.packages.opencv import import_cv2

PIP = f"{sys.executable} -m pip"
PACKAGES = {"onnxruntime": "onnxruntime-gpu", "cv2": "opencv-python"}
CONTRIB = "opencv-contrib-python"
DLL = "DLL load failed while importing it: The specified module could not be found."
SUBMODULES = {"onnxruntime": "onnxruntime.capi", "cv2": "cv2.cv2"}


class Failing:
    """A finder whose modules raise the error."""

    def __init__(self, module, error):
        self.module, self.error = module, error

    def find_spec(self, name, *_):
        if name == self.module:
            raise self.error


@pytest.fixture
def message(monkeypatch):
    """Return a function that imports a module whose import fails, and returns what is said of it."""

    def of(module, error, *installed):
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Failing(module, error), *sys.meta_path])
        return said(module, *installed)

    def said(module, *installed):
        monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {module: list(installed)})
        with pytest.raises(ValueError) as caught:
            {"onnxruntime": import_onnxruntime, "cv2": import_cv2}[module]()
        return str(caught.value)

    of.said = said
    return of


MODULES = pytest.mark.parametrize("module", ["onnxruntime", "cv2"])


@MODULES
def test_what_is_absent_is_to_be_installed(message, module):
    text = message(module, ModuleNotFoundError(f"No module named '{module}'", name=module))
    package = {"onnxruntime": "onnxruntime", "cv2": "opencv-python"}[module]
    assert f"is not installed. Run in a terminal:\n{PIP} install {package}\nand restart ComfyUI." in text


@MODULES
@pytest.mark.parametrize(
    "error",
    [
        ImportError(DLL),
        OSError("[WinError 126] The specified module could not be found"),
        OSError("[WinError 127] The specified procedure could not be found"),
        OSError("[WinError 1114] A dynamic link library (DLL) initialization routine failed"),
    ],
    ids=str,
)
def test_what_does_not_load_on_windows_needs_the_visual_c_runtime_and_no_second_installation(message, module, error):
    text = message(module, error, PACKAGES[module])
    assert f"is installed, but does not load ({str(error).rstrip('.')})" in text
    assert "newest Microsoft Visual C++ runtime (https://aka.ms/vs/17/release/vc_redist.x64.exe)" in text
    assert "pip" not in text and ("Media Feature Pack" in text) == (module == "cv2")


DISPLAY_LIBRARIES = [
    "libGL.so.1", "libGLESv2.so.2", "libEGL.so.1", "libgthread-2.0.so.0", "libSM.so.6", "libXext.so.6", "libxcb.so.1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("library", "package", "why"),
    [
        *((library, "opencv-contrib-python", "has no display libraries") for library in DISPLAY_LIBRARIES),
        ("libxcb.so.1", "opencv-python-headless", "needs a library of the display; the newest does not."),  # 4.13.0.90
    ],
)
def test_opencv_without_a_display_library_is_to_be_the_newest_headless_one(message, library, package, why):
    error = ImportError(f"{library}: cannot open shared object file: No such file or directory")
    text = message("cv2", error, package)
    assert f"does not load ({library}: cannot open" in text and why in text
    headless = package.removesuffix("-headless") + "-headless"
    assert f"{PIP} install --force-reinstall --no-deps {headless}\n" in text


@MODULES
@pytest.mark.parametrize(
    "error",
    [
        ImportError("numpy.core.multiarray failed to import"),
        ImportError(""),  # ONNX Runtime 1.18 with NumPy 2
        AttributeError("_ARRAY_API not found"),
        AttributeError("module 'numpy' has no attribute 'bool'"),
    ],
    ids=str,
)
def test_what_was_built_for_another_numpy_is_to_be_updated(message, module, error):
    text = message(module, error, PACKAGES[module])
    assert f"It was built for another NumPy. Run in a terminal:\n{PIP} install -U {PACKAGES[module]}\n" in text


@MODULES
def test_what_lacks_a_package_that_it_depends_on_is_to_be_installed_with_it(message, module):
    text = message(module, ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers"), PACKAGES[module])
    assert "does not load (No module named 'flatbuffers')" in text and f"{PIP} install {PACKAGES[module]}\n" in text


@MODULES
def test_what_does_not_load_for_another_reason_is_to_be_updated_and_not_installed_again(message, module):
    text = message(module, OSError("undefined symbol: x\nmore"), PACKAGES[module])
    assert "does not load (undefined symbol: x). Installing the same version again does not help" in text
    assert f"{PIP} install -U {PACKAGES[module]}\n" in text and "more" not in text and "--force" not in text


TORN = {
    "onnxruntime": [
        ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"),  # though pip has installed it
        ModuleNotFoundError("No module named 'onnxruntime.capi'", name="onnxruntime.capi"),
        ImportError("/x/onnxruntime_pybind11_state.so: file too short"),
        ImportError("cannot import name 'get_all_providers' from 'onnxruntime.capi._pybind_state'",
                    name="onnxruntime.capi._pybind_state"),
    ],
    "cv2": [
        ModuleNotFoundError("No module named 'cv2.cv2'", name="cv2.cv2"),
        ImportError("OpenCV loader: missing configuration file: ['config.py']. Check OpenCV installation."),
        ImportError('ERROR: recursion is detected during loading of "cv2" binary extensions.'),
        AttributeError("partially initialized module 'cv2' has no attribute 'gapi_wip_gst_GStreamerPipeline'"),
        AttributeError("module 'cv2.dnn' has no attribute 'DictValue'"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("module", "error"), [(name, e) for name, errors in TORN.items() for e in errors], ids=str)
def test_what_is_torn_is_to_be_written_again(message, module, error):
    text, package = message(module, error, PACKAGES[module]), PACKAGES[module]
    assert "is installed only in part" in text
    assert f"{PIP} install --force-reinstall --no-deps {package}\nand restart ComfyUI." in text


@pytest.mark.parametrize(
    ("module", "installed", "package"),
    [("onnxruntime", [], "o"), ("cv2", [], "o"), ("cv2", [PACKAGES["cv2"], CONTRIB], f"{CONTRIB}\n")],
)
def test_a_folder_that_is_left_over_is_torn_and_of_two_opencvs_contrib_is_kept(
    message, monkeypatch, module, installed, package
):
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    text = message.said(module, *installed)
    assert "is installed only in part" in text
    assert f"{PIP} install --force-reinstall --no-deps {package}" in text


def test_a_torn_build_is_written_again_in_the_version_for_torch(message, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"onnxruntime": ["onnxruntime-gpu"]})
    with pytest.raises(NoOnnxRuntime) as caught:
        import_onnxruntime(Gpu("NVIDIA GeForce GTX 1080", 12))
    assert '--force-reinstall --no-deps "onnxruntime-gpu<1.27"\n' in str(caught.value)


def test_the_build_that_is_to_be_installed_is_the_one_for_the_gpu(message):
    message("onnxruntime", ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"))
    with pytest.raises(NoOnnxRuntime) as caught:
        import_onnxruntime(Gpu("NVIDIA GeForce GTX 1080", 12))
    assert f'{PIP} install "onnxruntime-gpu<1.27"\n' in str(caught.value)
    assert not may_use_gpu("auto")
