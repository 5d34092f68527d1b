"""Which provider runs a network, and what is said about it, with made-up ONNX Runtimes."""

import ctypes
import importlib.metadata
import re
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper

from steadydancer_pack.dwpose.detect import runtime
from steadydancer_pack.dwpose.detect.runtime import PROVIDERS, may_use_gpu, open_session, prepare
from steadydancer_pack.dwpose.packages.onnxruntime_advice import CPU_IS_ENOUGH, Gpu

CARD = "NVIDIA GeForce RTX 4090"
GPU = Gpu(CARD, 12)
PIP = f"{sys.executable} -m pip"


class Fail(Exception):
    """As ONNX Runtime's own: no base but Exception."""


class InvalidProtobuf(Exception):
    pass


class FakeRuntime(ModuleType):
    """An onnxruntime with these providers. unused: listed, but not taken. broken: {provider: failure of its first run}.

    refused: {provider: failure when a session is made}. no_gpu: OpenVINO finds none. `options`: of each provider.
    """

    def __init__(self, *available, unused=(), broken=None, refused=None, no_gpu=False, version="1.26.0"):
        super().__init__("onnxruntime")
        self.__version__, self.no_gpu, self.options = version, no_gpu, []
        self.__file__ = "/nowhere/onnxruntime/__init__.py"
        self.available, self.unused = (*available, "CPU"), unused
        self.broken, self.refused = broken or {}, refused or {}
        self.made, self.preloaded = [], 0
        self.capi = SimpleNamespace(
            onnxruntime_pybind11_state=SimpleNamespace(Fail=Fail, InvalidProtobuf=InvalidProtobuf)
        )
        self.SessionOptions = SimpleNamespace

    def get_available_providers(self):
        return [PROVIDERS[name] for name in self.available]

    def preload_dlls(self):
        self.preloaded += 1
        print("Failed to load  libcudnn.so.9")  # noqa: T201

    def InferenceSession(self, path, sess_options, providers, enable_fallback):
        assert enable_fallback == 0
        self.options += [(full, options) for full, options in providers]
        if self.no_gpu and providers[0][1].get("device_type") == "GPU":
            return FakeSession(self, sess_options, [PROVIDERS["CPU"]])
        return FakeSession(self, sess_options, [full for full, _ in providers])


class FakeSession:
    def __init__(self, ort, options, providers):
        self.ort = ort
        self.name = next(name for name, full in PROVIDERS.items() if full == providers[0])
        if self.name in ort.refused:
            raise ort.refused[self.name]
        self.providers = [PROVIDERS["CPU"]] if self.name in ort.unused else providers
        self.runs = []
        ort.made.append((self.name, options, self))

    def get_providers(self):
        return self.providers

    def get_inputs(self):
        return [SimpleNamespace(name="x", shape=["batch", 3, None, 5], type="tensor(uint8)")]

    def get_outputs(self):
        return [SimpleNamespace(name="y", shape=["batch", 7], type="tensor(float)")]

    def run(self, outputs, feeds):
        assert outputs is None
        self.runs.append(feeds)
        if self.name in self.ort.broken:
            raise self.ort.broken[self.name]
        return [np.ones((1, 7))]


@pytest.fixture
def network(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def use(monkeypatch, builds):
    """Return a function that puts a made-up runtime in onnxruntime's place."""
    builds("onnxruntime-gpu")

    def put(*available, **kwargs):
        ort = FakeRuntime(*available, **kwargs)
        monkeypatch.setitem(sys.modules, "onnxruntime", ort)
        return ort

    return put


@pytest.fixture
def builds(monkeypatch):
    """Return a function that sets which builds of ONNX Runtime are installed."""

    def put(*names):
        monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"onnxruntime": list(names)})

    return put


@pytest.mark.parametrize(
    ("available", "taken"),
    [
        (["TensorRT", "CUDA"], "CUDA"),
        (["DirectML"], "DirectML"),
        (["OpenVINO", "CoreML"], "CoreML"),
        (["MIGraphX", "ROCm"], "ROCm"),
        (["MIGraphX"], "CPU"),
        (["TensorRT"], "CPU"),
        ([], "CPU"),
    ],
)
def test_auto_takes_the_first_that_works(use, network, available, taken):
    use(*available)
    session = open_session(network)
    assert session.provider == taken and session.notes == [f"net.onnx runs on {taken}."]


def test_ports_are_known_by_name_and_pictures_given_in_their_type(use, network):
    ort = use()
    session = open_session(network)
    assert session.inputs == {"x": (None, 3, None, 5)} and session.outputs == {"y": (None, 7)}
    (output,) = session.run({"x": np.full((1, 3, 1, 5), 7.0)})
    ((_, _, made),) = ort.made
    assert made.runs[0]["x"].dtype == np.uint8 and (made.runs[0]["x"] == 7).all()
    assert output.shape == (1, 7) and output.dtype == np.float32


def test_a_gpu_is_tried_with_zeros_after_its_libraries_are_loaded_and_the_cpu_is_not(use, network, capsys):
    ort = use("CUDA")
    open_session(network)
    ((_, _, session),) = ort.made
    (feeds,) = session.runs
    assert feeds["x"].shape == (1, 3, 1, 5) and feeds["x"].dtype == np.uint8 and not feeds["x"].any()
    open_session(network, "CPU")
    assert ort.made[-1][2].runs == []
    ort = use("CUDA")
    open_session(network, "CPU")
    assert ort.preloaded == 0
    open_session(network, "CUDA")
    assert ort.preloaded == 1 and capsys.readouterr().out == ""


def test_only_directml_goes_without_memory_patterns(use, network):
    ort = use("DirectML", "CUDA")
    for name in ("DirectML", "CUDA", "CPU"):
        open_session(network, name)
    patterns = [(name, options.enable_mem_pattern) for name, options, _ in ort.made]
    assert patterns == [("DirectML", False), ("CUDA", True), ("CPU", True)]


def test_a_cpu_build_beside_a_gpu_is_explained_and_two_builds_are_named(use, builds, network):
    use()
    builds("onnxruntime")
    assert open_session(network, gpu=GPU).notes == [
        "net.onnx runs on CPU.",
        f"The GPU ({CARD}) is not used for pose detection. The installed ONNX Runtime has only CPU.",
        "Keep onnxruntime, which packs require: the build that is installed last counts. Run in a terminal:\n"
        f'{PIP} install --force-reinstall --no-deps "onnxruntime-gpu<1.27"\nand restart ComfyUI.',
    ]
    assert open_session(network, gpu=None).notes == ["net.onnx runs on CPU."]
    builds("onnxruntime", "onnxruntime-gpu")
    (*_, fix) = open_session(network, gpu=GPU).notes
    assert fix.startswith("Both onnxruntime and onnxruntime-gpu are installed; they overwrite each other.")
    assert f'{PIP} install --force-reinstall --no-deps "onnxruntime-gpu<1.27"\n' in fix


def test_a_library_that_cannot_be_loaded_is_quoted_or_else_what_onnx_runtime_said(use, network, monkeypatch):
    def missing(path, mode):
        raise OSError("libcublasLt.so.13: cannot open shared object file\nmore")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    use("CUDA", unused=["CUDA"])
    _, cause, fix = open_session(network, gpu=GPU).notes
    assert "CUDA does not work: a CUDA or cuDNN library could not be loaded (libcublasLt.so.13: cannot" in cause
    assert "more" not in cause and fix.startswith("Update the GPU's driver. If that does not help: Run in")
    assert f'{PIP} install "onnxruntime-gpu[cuda,cudnn]<1.27"' in fix
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: None)
    assert "CUDA does not work: Failed to load libcudnn.so.9." in open_session(network, gpu=GPU).notes[1]


def test_a_provider_that_fails_when_it_runs_is_passed_over(use, network):
    use("CUDA", "OpenVINO", broken={"CUDA": Fail("out of memory")})
    session = open_session(network, gpu=GPU)
    assert session.provider == "OpenVINO" and len(session.notes) == 1


FULL = [  # what ONNX Runtime, CUDA's libraries, DirectML and C++ say of a full card
    Fail("[ONNXRuntimeError] : 6 : bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 104857600"),
    Fail("CUDA failure 2: out of memory ; GPU=0"),
    Fail("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0"),
    Fail("CUDNN failure 4000\nCUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    Fail("hipErrorOutOfMemory"),
    RuntimeError("8007000E Not enough memory resources are available to complete this operation."),
    MemoryError("std::bad_alloc"),
]
UNLOAD = (
    "The GPU's memory is full: unload models in ComfyUI (Edit menu: Unload Models), close other programs that use the "
    "GPU, and run again."
)


@pytest.mark.parametrize("how", ["refused", "broken"])
@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_full_card_is_reported_as_one_and_not_as_a_broken_driver(use, network, error, how):
    use("CUDA", **{how: {"CUDA": error}})
    session = open_session(network, gpu=GPU)
    runs, cause, fix = session.notes
    assert (session.provider, runs) == ("CPU", "net.onnx runs on CPU.")
    assert fix == f"{UNLOAD} Every new search for poses tries the GPU again."
    assert cause.startswith(f"The GPU ({CARD}) is not used for pose detection. CUDA does not work: ")
    for gpu in (GPU, None):  # None: ComfyUI was started with --cpu
        with pytest.raises(ValueError) as asked:
            open_session(network, "CUDA", gpu)
        assert UNLOAD in str(asked.value) and "install" not in str(asked.value)


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Fail("CUDNN failure 4000\nCUDNN_STATUS_ALLOC_FAILED ; GPU=0"), "CUDNN_STATUS_ALLOC_FAILED ; GPU=0."),
        (RuntimeError("no kernel image."), "no kernel image."),
    ],
)
def test_a_provider_that_makes_no_session_is_passed_over_and_the_line_that_matters_quoted(use, network, failure, cause):
    use("CUDA", refused={"CUDA": failure})
    assert f"CUDA does not work: {cause}" in open_session(network, gpu=GPU).notes[1]


NO_KERNEL = Fail("no kernel image")
ASKED = " was asked for, but it does not work here: "


@pytest.mark.parametrize(
    ("available", "failure", "provider", "message"),
    [
        ("CUDA", {"refused": NO_KERNEL}, "CUDA", f"CUDA{ASKED}no kernel image.* driver(?s:.*) 'auto'"),
        ("CUDA", {"broken": NO_KERNEL}, "CUDA", f"CUDA{ASKED}no kernel image.* driver(?s:.*) 'auto'"),
        ("OpenVINO", {"refused": RuntimeError("no plugin.")}, "OpenVINO", f"OpenVINO{ASKED}no plugin; no plugin. "),
        ("OpenVINO", {}, "DirectML", "(?s)has only OpenVINO, CPU. .* --no-deps onnxruntime-directml\n"),
        ("CPU", {}, "cuda", "Unknown provider 'cuda'. Choose one of auto, CUDA"),
        ("CUDA", {"refused": InvalidProtobuf("cut")}, "auto", "net.onnx is not a whole ONNX file: cut. Delete it"),
        ("CPU", {"refused": Fail("bad operator")}, "auto", "net.onnx runs on no provider. CPU: bad operator."),
    ],
)
def test_what_cannot_run_is_an_error(use, network, monkeypatch, available, failure, provider, message):
    if provider == "DirectML":
        monkeypatch.setattr(sys, "platform", "win32")
    use(available, **{how: {available: error} for how, error in failure.items()})
    with pytest.raises(ValueError, match=message):
        open_session(network, provider, GPU if available == "CUDA" else None)


@pytest.mark.parametrize(
    ("available", "provider", "gpu"),
    [
        ((), "auto", False),
        (("CUDA",), "auto", True),
        (("CUDA",), "CUDA", True),
        (("CUDA",), "CPU", False),
        (("TensorRT",), "auto", False),
        (("TensorRT",), "TensorRT", True),
        (("CUDA",), "DirectML", False),
        (("CUDA",), "magic", False),
    ],
)
def test_what_may_compute_on_a_gpu(use, available, provider, gpu):
    use(*available)
    assert may_use_gpu(provider) is gpu


@pytest.mark.parametrize(("provider", "calls"), [("CUDA", 1), ("CPU", 0)])
def test_memory_is_freed_once_for_networks_on_a_gpu_and_not_for_the_cpu(use, network, provider, calls):
    use("CUDA")
    asked = []
    prepare([open_session(network, provider), open_session(network, provider)], lambda: asked.append(1))
    assert len(asked) == calls


def test_a_card_that_was_full_is_tried_again_before_each_search(use, network):
    ort, asked = use("CUDA", refused={"CUDA": FULL[0]}), []
    session = open_session(network, gpu=GPU)
    prepare([session], lambda: asked.append("freed"))
    assert (session.provider, asked) == ("CPU", ["freed"])
    ort.refused.clear()
    prepare([session], lambda: asked.append("freed"))
    assert (session.provider, session.notes, len(asked)) == ("CUDA", ["net.onnx runs on CUDA."], 2)
    session.run({"x": np.zeros(1)})
    name, _, made = ort.made[-1]
    assert name == "CUDA" and len(made.runs) == 2


def test_a_network_that_runs_or_whose_file_went_away_is_not_opened_again(use, network):
    ort = use("CUDA", broken={"CUDA": Fail("no kernel image")})
    session, cuda = open_session(network, gpu=GPU), len(ort.made)
    prepare([session], lambda: pytest.fail("Room was made for the CPU."))
    assert session.provider == "CPU" and len(ort.made) == cuda
    use("CUDA", refused={"CUDA": FULL[0]})
    session = open_session(network, gpu=GPU)
    network.unlink()
    prepare([session], lambda: None)
    assert session.provider == "CPU" and session.run({"x": np.zeros(1)})[0].shape == (1, 7)
    with pytest.raises(ValueError, match="There is no file .*net.onnx"):
        open_session(network)


@pytest.mark.parametrize(
    ("provider", "available", "build", "gpu", "fix"),
    [
        ("CoreML", [], "onnxruntime", GPU, f"CoreML is made for macOS, and ComfyUI runs on {CARD} on Linux. Choose"),
        ("CUDA", ["CUDA"], "onnxruntime-gpu", None, "and ComfyUI runs on the CPU on Linux. Choose"),
        ("CUDA", ["CUDA"], "onnxruntime-gpu", Gpu("AMD Radeon"), "and ComfyUI runs on AMD Radeon on Linux. Choose"),
        ("ROCm", ["MIGraphX"], "onnxruntime-migraphx", Gpu("AMD Radeon"), "since. Choose 'MIGraphX'. Or choose"),
    ],
)
def test_for_a_provider_that_cannot_work_nothing_is_to_be_installed(
    use, builds, network, monkeypatch, provider, available, build, gpu, fix
):
    monkeypatch.setattr(sys, "platform", "linux")
    use(*available, unused=["CUDA"])
    builds(build)
    with pytest.raises(ValueError) as caught:
        open_session(network, provider, gpu)
    assert str(caught.value).endswith(f"{fix} 'auto'.") and "pip" not in str(caught.value)


@pytest.mark.parametrize("lacks", ["cuda", "tensorrt"])
def test_tensorrt_that_is_absent_is_named(use, network, monkeypatch, lacks):
    def load(path, mode):
        if lacks in path:
            raise OSError("libnvinfer.so.10: cannot open shared object file" if lacks == "tensorrt" else "libcudart.so")

    monkeypatch.setattr(ctypes, "CDLL", load)
    use("TensorRT", "CUDA", unused=["TensorRT"])
    with pytest.raises(ValueError) as caught:
        open_session(network, "TensorRT", GPU)
    text = str(caught.value)
    if lacks == "tensorrt":
        assert "a TensorRT library could not be loaded (libnvinfer.so.10: cannot open" in text and "pip" not in text
        assert text.endswith("install NVIDIA's where the system finds its libraries. Or choose 'auto'.")
    else:
        assert "a CUDA or cuDNN library could not be loaded (libcudart.so)" in text and "[cuda,cudnn]" in text


def test_an_asked_provider_is_used(use, network):
    use("TensorRT", "CUDA")
    session = open_session(network, "TensorRT", gpu=GPU)
    assert session.provider == "TensorRT" and session.notes == ["net.onnx runs on TensorRT, as asked."]
    assert open_session(network, "CPU", gpu=GPU).notes == ["net.onnx runs on CPU, as asked."]


def test_the_check_comes_before_the_first_run(use, network):
    def check(session):
        raise ValueError(f"not wanted: {session.inputs}")

    ort = use("CUDA")
    with pytest.raises(ValueError, match="not wanted"):
        open_session(network, check=check)
    assert ort.made[0][2].runs == []


@pytest.mark.parametrize(
    ("provider", "failure", "message"),
    [
        ("CUDA", Fail("illegal instruction\nat line 1"), "illegal instruction. If the GPU's memory is full"),
        ("CUDA", Fail("CUDA failure 2: out of memory"), f".*memory. {re.escape(UNLOAD)}"),
        ("CPU", Fail("bad node"), "[^G]*Choose another[^G]*$"),
        ("CPU", MemoryError(), "[^G]*The computer's memory is full[^G]*$"),
    ],
)
def test_a_failure_while_running_says_what_to_do(use, network, provider, failure, message):
    """A failure on the CPU blames no GPU."""
    ort = use(*({provider} - {"CPU"}))
    session = open_session(network, gpu=GPU)
    ort.broken[provider] = failure
    with pytest.raises(ValueError, match=f"failed on {provider}: {message}"):
        session.run({"x": np.zeros(1)})


def test_a_float16_network_runs(tmp_path):
    """With the real ONNX Runtime, which refuses any other type than the port's own."""
    half = onnx.TensorProto.FLOAT16
    ports = [helper.make_tensor_value_info(name, half, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "h.onnx")
    (output,) = open_session(tmp_path / "h.onnx", "CPU").run({"x": np.full((2, 3), 0.25, np.float32)})
    assert output.dtype == np.float32 and (output == 0.5).all()


def test_openvino_is_asked_for_its_gpu_and_without_one_what_runs_is_named(use, network, builds):
    """By default it computes on the CPU."""
    ort = use("OpenVINO")
    assert open_session(network).notes == ["net.onnx runs on OpenVINO (GPU)."]
    assert ort.options == [("OpenVINOExecutionProvider", {"device_type": "GPU"})]
    use("OpenVINO", no_gpu=True)
    builds("onnxruntime-openvino")
    runs, cause, fix = open_session(network, gpu=Gpu("Intel(R) Arc(TM) A770 Graphics")).notes
    assert runs == "net.onnx runs on CPU." and "OpenVINO (GPU) does not work: it found no GPU." in cause
    assert f"{PIP} install -U onnxruntime-openvino\n" in fix
    session = open_session(network, "OpenVINO")
    assert session.place == "OpenVINO (CPU)"
    assert session.notes[1:] == ["OpenVINO (GPU) does not work: it found no GPU."]


@pytest.mark.parametrize("name", ["MIGraphX", "TensorRT"])
def test_what_compiles_for_each_batch_size_runs_when_asked_and_sample_by_sample(use, network, name):
    ort = use(name)
    session = open_session(network, name)
    ((_, _, made),) = ort.made
    made.runs.clear()
    (output,) = session.run({"x": np.zeros((4, 3, 1, 5))})
    assert output.shape == (4, 7) and [feeds["x"].shape for feeds in made.runs] == [(1, 3, 1, 5)] * 4


def test_migraphx_keeps_what_it_compiled_and_runs_where_that_cannot_be_kept(use, network, tmp_path, caplog):
    for version, kept in (("1.22.1", False), ("1.23.0", True), ("1.27.1", True)):
        ort, folder = use("MIGraphX", version=version), tmp_path / version / "onnx_cache"
        open_session(network, "MIGraphX", Gpu("AMD Radeon", cache=folder))
        assert ort.options == [("MIGraphXExecutionProvider", {"migraphx_model_cache_dir": str(folder)} if kept else {})]
        assert folder.is_dir() == kept
    ort = use("MIGraphX")
    session = open_session(network, "MIGraphX", Gpu("AMD Radeon", cache=network / "below_a_file"))
    assert session.provider == "MIGraphX" and ort.options[0][1] == {}
    assert "MIGraphX compiles anew each time" in caplog.text


def test_without_a_build_for_the_gpu_or_with_migraphx_alone_the_cpu_is_said_to_be_all_right(use, builds, network):
    use()
    builds("onnxruntime")
    for gpu in ("gfx1151", "Ascend910B", "npu", "Something New"):
        _, cause, fix = open_session(network, gpu=Gpu(gpu)).notes
        assert gpu in cause and fix == CPU_IS_ENOUGH
    use("MIGraphX")
    builds("onnxruntime-migraphx")
    _, cause, fix = open_session(network, gpu=Gpu("AMD Radeon RX 7900 XTX")).notes
    assert "MIGraphX compiles for minutes, so it runs only where it is chosen as the provider." in cause
    assert fix == CPU_IS_ENOUGH


def test_the_installed_builds_are_found_whatever_their_names(builds):
    builds("ort-nightly-gpu", "onnxruntime", "onnxruntime")
    assert runtime.installed_builds() == ["onnxruntime", "ort-nightly-gpu"]
