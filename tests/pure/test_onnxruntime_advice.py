"""Which build of ONNX Runtime goes with which GPU and torch, and the commands that are printed."""

import sys
from types import SimpleNamespace

import pytest

from steadydancer_pack.dwpose.packages import pip_advice
from steadydancer_pack.dwpose.packages.onnxruntime_advice import (
    CPU_IS_ENOUGH,
    Gpu,
    advice,
    build_for,
    not_made_for,
    package_for,
    to_keep,
)
from steadydancer_pack.dwpose.packages.onnxruntime_build import cuda_major

CARD = "NVIDIA GeForce GTX 1080"
PIP = f"{sys.executable} -m pip"


@pytest.mark.parametrize(
    ("torch_cuda", "ort_cuda", "package"),
    [
        (12, None, '"onnxruntime-gpu<1.27"'),
        (12, 11, '"onnxruntime-gpu>=1.19,<1.27"'),
        (12, 12, '"onnxruntime-gpu[cuda,cudnn]<1.27"'),
        (12, 13, '"onnxruntime-gpu<1.27"'),
        (13, None, '"onnxruntime-gpu>=1.27"'),
        (13, 11, '"onnxruntime-gpu>=1.27"'),
        (13, 12, '"onnxruntime-gpu>=1.27"'),
        (13, 13, '"onnxruntime-gpu[cuda,cudnn]>=1.27"'),
        (13, 14, '"onnxruntime-gpu>=1.27"'),
        (None, None, "onnxruntime-gpu"),
    ],
)
def test_the_build_goes_with_the_cuda_of_torch(torch_cuda, ort_cuda, package):
    """[cuda,cudnn] only of the same major version: of another it would bring a second cuDNN beside torch's."""
    installed = ["onnxruntime-gpu"] if ort_cuda else []
    text = advice("onnxruntime-gpu", Gpu(CARD, torch_cuda), installed, ort_cuda or 0, ["CUDA"])
    assert f"{PIP} install {package}\nand restart ComfyUI." in text
    assert ("made for CUDA" in text) == (None not in (torch_cuda, ort_cuda) and torch_cuda != ort_cuda)


def test_where_torch_has_no_cuda_an_installed_build_stays():
    text = advice("onnxruntime-gpu", None, ["onnxruntime-gpu"], 13, ["CUDA"])
    assert text == "Update the GPU's driver and restart ComfyUI."


@pytest.mark.parametrize("cuda", [11, 14])
def test_no_build_is_recommended_beside_a_torch_that_none_goes_with(cuda):
    text = advice("onnxruntime-gpu", Gpu(CARD, cuda), ["onnxruntime-gpu"], 13)
    assert text.startswith(CPU_IS_ENOUGH) and f"torch for CUDA {cuda}" in text and "pip" not in text


@pytest.mark.parametrize(
    ("version", "stated", "cuda"),
    [("1.32.0", None, 13), ("1.27.0", None, 13), ("1.26.0", None, 12), ("1.19.2", None, 12), ("1.18.1", None, 11),
     ("1.32.0", "12.8", 12), ("1.24.4", "13.0", 13), ("1.26.0", "", 12)],
)  # fmt: skip
def test_the_cuda_of_onnx_runtime(version, stated, cuda):
    module = SimpleNamespace(__version__=version)
    if stated is not None:
        module.cuda_version = stated
    assert cuda_major(module) == cuda


@pytest.mark.parametrize(
    ("gpu", "platform", "build"),
    [
        (CARD, "win32", "onnxruntime-gpu"),
        (CARD, "linux", "onnxruntime-gpu"),
        ("AMD Radeon RX 7900 XTX", "win32", "onnxruntime-directml"),
        ("AMD Radeon RX 7900 XTX", "linux", None),
        ("DirectML GPU", "win32", "onnxruntime-directml"),
        ("Intel(R) Arc(TM) A770 Graphics", "win32", "onnxruntime-directml"),
        ("Intel(R) Arc(TM) A770 Graphics", "linux", "onnxruntime-openvino"),
        ("Apple GPU", "darwin", "onnxruntime"),
        ("gfx1151", "linux", None),
        ("npu", "linux", None),
    ],
)
def test_the_build_that_auto_uses_on_a_gpu(monkeypatch, gpu, platform, build):
    monkeypatch.setattr(sys, "platform", platform)
    assert build_for(Gpu(gpu)) == build
    assert package_for(Gpu(gpu)) == (build or "onnxruntime")


AMD, INTEL, AGAIN = Gpu("AMD Radeon"), Gpu("Intel Arc"), "--force-reinstall --no-deps"
NEWEST = '"onnxruntime-gpu>=1.27"'


@pytest.mark.parametrize(
    ("build", "gpu", "installed", "failed", "start", "command"),
    [
        # another build for the GPU is updated and gets no second one beside it
        *(
            (build, Gpu(gpu), [installed], ["OpenVINO"], "Update the GPU's driver.", f"-U {installed}")
            for gpu, build, installed in [
                ("AMD Radeon", "onnxruntime-directml", "onnxruntime-rocm"),
                ("AMD Radeon", "onnxruntime-directml", "onnxruntime-windowsml"),
                ("Intel Arc", "onnxruntime-directml", "onnxruntime-openvino"),
                ("Apple GPU", "onnxruntime", "onnxruntime-silicon"),
                (CARD, "onnxruntime-gpu", "onnxruntime-directml"),
                (CARD, "onnxruntime-gpu", "ort-nightly-gpu"),
            ]
        ),
        # of two builds the loaded one is updated
        ("onnxruntime-directml", AMD, ["onnxruntime-directml", "onnxruntime-gpu"], ["DirectML"],
         "Update the GPU's driver.", "-U onnxruntime-directml"),
        # pip has it installed, and the files are of another build that was installed after it
        ("onnxruntime-gpu", Gpu(CARD, 13), ["onnxruntime-gpu"], (),
         "The files of onnxruntime-gpu were overwritten", f"{AGAIN} {NEWEST}"),
        ("onnxruntime-openvino", Gpu(CARD, 13), ["onnxruntime-openvino"], (),
         "The files of onnxruntime-openvino were overwritten", f"{AGAIN} onnxruntime-openvino"),
        # a build for another GPU stays, and the right one is written over it
        *(
            ("onnxruntime-gpu", Gpu(CARD, 13), [other], ["OpenVINO"], f"Keep {other},", f"{AGAIN} {NEWEST}")
            for other in ("onnxruntime", "onnxruntime-qnn", "onnxruntime-cann", "onnxruntime-openvino")
        ),
        # ComfyUI-Manager would bring the build of the requirements back, over the files of the right one
        ("onnxruntime-directml", AMD, ["onnxruntime-gpu"], (), "Keep onnxruntime-gpu,",
         f"{AGAIN} onnxruntime-directml"),
        ("onnxruntime-openvino", INTEL, ["onnxruntime-gpu"], (), "Keep onnxruntime-gpu,",
         f"{AGAIN} onnxruntime-openvino"),
    ],
)  # fmt: skip
def test_installed_builds_are_updated_or_written_again_and_none_is_removed(
    build, gpu, installed, failed, start, command
):
    text = advice(build, gpu, installed, 13, failed)
    assert text.startswith(start) and f"{PIP} install {command}\nand restart ComfyUI." in text
    assert "uninstall" not in text


@pytest.mark.parametrize(
    ("provider", "platform", "gpu", "said"),
    [
        ("CoreML", "linux", Gpu(CARD, 13), f"CoreML is made for macOS, and ComfyUI runs on {CARD} on Linux."),
        ("CoreML", "win32", None, "CoreML is made for macOS, and ComfyUI runs on the CPU on Windows."),
        ("DirectML", "linux", Gpu("AMD Radeon"), "DirectML is made for Windows, and"),
        ("OpenVINO", "darwin", Gpu("Apple GPU"), "OpenVINO is made for Windows and Linux, and"),
        ("CUDA", "darwin", Gpu("Apple GPU"), "CUDA is made for NVIDIA cards on Windows and Linux, and"),
        ("CUDA", "linux", Gpu("AMD Radeon"), "and ComfyUI runs on AMD Radeon on Linux."),
        ("TensorRT", "win32", None, "and ComfyUI runs on the CPU on Windows."),
        ("CUDA", "linux", Gpu("gfx1151"), "and ComfyUI runs on gfx1151 on Linux."),
        ("MIGraphX", "win32", Gpu("AMD Radeon"), "MIGraphX is made for AMD cards on Linux, and"),
        ("ROCm", "linux", Gpu(CARD, 13), "ROCm is made for AMD cards on Linux, and"),
        ("CUDA", "linux", Gpu(CARD, 13), ""),
        ("CUDA", "linux", Gpu("Something New", 13), ""),
        ("CUDA", "win32", Gpu("DirectML GPU"), ""),
        ("MIGraphX", "linux", Gpu("gfx1151"), ""),
        ("OpenVINO", "linux", None, ""),
        ("CoreML", "darwin", None, ""),
        ("CPU", "linux", None, ""),
    ],
)
def test_where_a_provider_cannot_work_that_is_said(monkeypatch, provider, platform, gpu, said):
    monkeypatch.setattr(sys, "platform", platform)
    found = not_made_for(provider, gpu)
    assert said in found and bool(found) == bool(said)


@pytest.mark.parametrize(
    ("gpu", "platform", "installed", "package"),
    [
        (Gpu("AMD Radeon"), "win32", ["onnxruntime-directml", "onnxruntime-gpu"], "onnxruntime-directml"),
        (Gpu("AMD Radeon"), "win32", ["onnxruntime-gpu", "onnxruntime-windowsml"], "onnxruntime-windowsml"),
        (Gpu("AMD Radeon"), "win32", ["onnxruntime", "onnxruntime-gpu"], "onnxruntime-directml"),
        (Gpu("AMD Radeon"), "linux", ["onnxruntime-gpu", "onnxruntime-rocm"], "onnxruntime-rocm"),
        (Gpu("gfx1151"), "linux", ["onnxruntime-gpu", "onnxruntime-qnn"], "onnxruntime-gpu"),
        (Gpu(CARD, 12), "linux", ["onnxruntime", "onnxruntime-gpu"], "onnxruntime-gpu<1.27"),
        (None, "linux", ["onnxruntime-gpu", "onnxruntime-openvino"], "onnxruntime-gpu"),
        (None, "linux", [], "onnxruntime"),
    ],
)
def test_of_several_builds_the_one_for_the_gpu_is_kept_and_no_further_one_comes(
    monkeypatch, gpu, platform, installed, package
):
    monkeypatch.setattr(sys, "platform", platform)
    assert to_keep(gpu, installed) == package


@pytest.mark.parametrize(
    ("platform", "python", "command"),
    [
        ("win32", r"C:\Comfy UI\python_embeded\python.exe", r'"C:\Comfy UI\python_embeded\python.exe" -m pip'),
        ("win32", r"C:\python.exe", r"C:\python.exe -m pip"),
        ("win32", r"C:\Tools (new)\python.exe", r'"C:\Tools (new)\python.exe" -m pip'),
        ("linux", "/home/an artist/bin/python", "'/home/an artist/bin/python' -m pip"),
    ],
)
def test_a_command_names_this_python_in_quotes_where_it_needs_them(monkeypatch, platform, python, command):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(sys, "executable", python)
    assert pip_advice.install("onnxruntime-gpu<1.27") == f'{command} install "onnxruntime-gpu<1.27"'
    needs_call_operator = command.startswith('"')
    advice = pip_advice.in_terminal(pip_advice.install("onnxruntime-gpu<1.27"))
    assert ("& before" in advice) == needs_call_operator
    plain = 'With ComfyUI\'s own Python: python -m pip install "onnxruntime-gpu<1.27". Then restart ComfyUI.'
    assert pip_advice.in_report(advice) == plain


def test_where_there_is_uv_and_no_pip_the_command_is_of_uv(monkeypatch):
    monkeypatch.setattr(pip_advice.importlib.util, "find_spec", lambda name: name == "uv" or None)
    assert pip_advice.install("numpy") == f"{sys.executable} -m uv pip install numpy"
