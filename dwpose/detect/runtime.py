"""ONNX Runtime on the provider that truly works, and the reason where it is not the one the user hoped for.

A provider works when a session made with it has run once and still names it first: ONNX Runtime lists providers whose
libraries it cannot load, and then quietly uses the CPU.
"""

import contextlib
import ctypes
import io
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...media.log import logger
from ..packages.onnxruntime_advice import MADE_FOR, NO_TENSORRT, Gpu, advice, build_for, not_made_for, without_a_build
from ..packages.onnxruntime_build import NoOnnxRuntime, cuda_major, import_onnxruntime, installed_builds, version

AUTO = "auto"
PROVIDERS = {
    "CUDA": "CUDAExecutionProvider",
    "ROCm": "ROCMExecutionProvider",
    "MIGraphX": "MIGraphXExecutionProvider",
    "DirectML": "DmlExecutionProvider",
    "CoreML": "CoreMLExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
    "CPU": "CPUExecutionProvider",
    "TensorRT": "TensorrtExecutionProvider",
}
COMPILED = ("MIGraphX", "TensorRT")  # for minutes and for each batch size: only when asked for, with batches of 1
CPU = "CPU"
OPENCV = "OpenCV"  # what runs the bundled networks where there is no ONNX Runtime
ON_CPU = (CPU, OPENCV)
AUTO_ORDER = tuple(name for name in PROVIDERS if name not in COMPILED)
CHOICES = (AUTO, *PROVIDERS)
# By default CUDA tries every algorithm again for each new number of people in a batch.
OPTIONS = {"CUDA": {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}}
DEVICES = {"OpenVINO": ("GPU", "CPU")}  # by default OpenVINO takes the CPU; its own CPU runs only when asked for
MIGRAPHX_CACHE_SINCE = (1, 23)  # older ones refuse the option
SHARED_LIBRARIES = {"CUDA": ("shared", "cuda"), "TensorRT": ("shared", "cuda", "tensorrt")}  # in the order of loading
FILE_ERRORS = {"NoSuchFile", "NoModel", "InvalidProtobuf", "InvalidGraph"}
MEMORY_IS_FULL = re.compile(  # how CUDA, cuDNN, cuBLAS, ROCm, DirectML, OpenCL and C++ say so
    "(?i)failed to allocate memory|out of memory|out_of_memory|outofmemory|not enough memory|alloc_failed"
    "|allocation_failed|allocation_failure|memoryallocation|memoryerror|bad_alloc|bad allocation"
)
FREE_MEMORY = (
    "The GPU's memory is full: unload models in ComfyUI (Edit menu: Unload Models), close other programs that use the "
    "GPU, and run again."
)
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class Port(NamedTuple):
    """One input or output of a network: its sizes, None for any, and ONNX Runtime's name of its type."""

    shape: tuple[int | None, ...]
    type: str


class Session:
    """A network on one provider and device, "" where it has only one. notes: what runs and why.

    reopen: opens the network anew where a better provider was passed over for lack of memory; else None.
    """

    def __init__(self, session, provider: str, device: str, errors: tuple[type[Exception], ...]):
        self._session, self._errors = session, errors
        self.provider, self.device = provider, device
        self.notes: list[str] = []
        self.reopen: Callable[[], Session] | None = None
        self.ports = {port.name: _port(port) for port in session.get_inputs()}
        self.inputs = {name: port.shape for name, port in self.ports.items()}
        self.outputs = {port.name: _port(port).shape for port in session.get_outputs()}

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs in the order of `outputs`, float32 from float16 networks too; ValueError if it fails."""
        types = {name: DTYPES.get(port.type) for name, port in self.ports.items()}  # None where it is not known
        typed = {name: np.asarray(values, types.get(name)) for name, values in feeds.items()}
        any_batch = all(shape[:1] == (None,) for shape in self.inputs.values())
        try:
            if self.provider in COMPILED and any_batch:
                outputs = one_by_one(partial(self._session.run, None), typed)
            else:
                outputs = self._session.run(None, typed)
        except self._errors as error:
            raise ValueError(_failed(self.provider, _first_line(error))) from error
        return [np.asarray(output, np.float32) if output.dtype.kind == "f" else output for output in outputs]

    @property
    def place(self) -> str:
        """Return the provider and its device: "CUDA", "OpenVINO (GPU)"."""
        return _place(self.provider, self.device)

    def try_again(self) -> None:
        """Move to the provider that was passed over if it has memory now; what is open stays where that fails."""
        with contextlib.suppress(ValueError):
            if self.reopen:
                vars(self).update(vars(self.reopen()))


def open_session(
    path: Path | str, provider: str = AUTO, gpu: Gpu | None = None, check: Callable[["Session"], None] | None = None
) -> Session:
    """Return the network in an ONNX file, on the asked provider or, for "auto", on the best one that works.

    gpu: ComfyUI's; with it the notes say why the CPU runs instead. check: called before the first run, may raise
    ValueError. ValueError: an unusable provider, a missing or broken file; NoOnnxRuntime if nothing runs at all.
    """
    if provider not in CHOICES:
        raise ValueError(f"Unknown provider '{provider}'. Choose one of {', '.join(CHOICES)}.")
    ort, path = import_onnxruntime(gpu), Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}. Choose another one, or put it back.")
    asked, again = provider != AUTO, partial(open_session, path, provider, gpu, check)
    names = (provider,) if asked else AUTO_ORDER
    places = [(name, device) for name in names for device in DEVICES.get(name, ("",))[: None if asked else 1]]
    session, failures = _first_working(ort, path, places, gpu, check)
    if session is None:
        failed = NoOnnxRuntime if provider in (AUTO, CPU) else ValueError
        raise failed(_no_provider(ort, path, provider, failures, gpu))
    session.notes.append(f"{path.name} runs on {session.place}{', as asked' if asked else ''}.")
    session.notes += _why(failures) if asked else _why_cpu(ort, session.provider, failures, gpu)
    session.reopen = again if any(map(_is_memory, failures.values())) else None
    logger.info("%s", " ".join(session.notes))
    return session


def may_use_gpu(provider: str) -> bool:
    """Return whether `open_session` would try anything but the CPU; without ONNX Runtime it would not."""
    try:
        available = import_onnxruntime().get_available_providers()
    except NoOnnxRuntime:
        return False
    names = AUTO_ORDER if provider == AUTO else (provider,)
    return any(PROVIDERS.get(name) in available for name in names if name != CPU)


def prepare(sessions: Sequence[Session], make_room: Callable[[], None]) -> None:
    """Call `make_room` if a GPU computes any of the networks or was too full to, and try that one again."""
    if any(session.provider not in ON_CPU or session.reopen for session in sessions):
        make_room()
    for session in sessions:
        session.try_again()


def one_by_one(run: Callable[[dict], Sequence[np.ndarray]], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a network for a batch that it is given sample by sample."""
    size = len(next(iter(feeds.values())))
    parts = [run({name: values[i : i + 1] for name, values in feeds.items()}) for i in range(size)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _first_working(ort, path: Path, places, gpu: Gpu | None, check) -> tuple[Session | None, dict[str, str]]:
    """Return a session on the first provider and device that works, and why those before it do not."""
    failures = {}
    available = ort.get_available_providers()
    for name, device in (place for place in places if PROVIDERS[place[0]] in available):
        session, reason = _try(ort, path, name, device, gpu, check)
        if session is not None:
            return session, failures
        failures[_place(name, device)] = reason
    return None, failures


def _try(ort, path: Path, name: str, device: str, gpu: Gpu | None, check) -> tuple[Session | None, str]:
    """Return a session that has run on the provider, or None and the reason why there is none."""
    said = io.StringIO()
    if name in SHARED_LIBRARIES and hasattr(ort, "preload_dlls"):  # loads the CUDA libraries of torch or pip
        with contextlib.redirect_stdout(said):
            ort.preload_dlls()
    session, reason = _attempt(ort, path, lambda: _create(ort, path, name, _options(ort, name, device, gpu)))
    if session is None:
        return None, reason
    if session.get_providers()[:1] != [PROVIDERS[name]]:
        missing = f"it found no {device}" if device else "ONNX Runtime did not use it and gave no reason"
        return None, _library_error(ort, name) or " ".join(said.getvalue().split()) or missing
    result = Session(session, name, device, _errors(ort))
    if check:
        check(result)
    if name != CPU:
        zeros = {
            name: np.zeros([size or 1 for size in port.shape], DTYPES.get(port.type, np.float32))
            for name, port in result.ports.items()
        }
        _, reason = _attempt(ort, path, lambda: session.run(None, zeros))
    return (None, reason) if reason else (result, "")


def _attempt(ort, path: Path, action):
    """Return (what the action returns, ""), or (None, reason) if ONNX Runtime fails; ValueError for a broken file."""
    try:
        return action(), ""
    except _errors(ort) as error:
        if type(error).__name__ not in FILE_ERRORS:
            return None, _first_line(error)
        raise ValueError(
            f"{path} is not a whole ONNX file: {_first_line(error)}. Delete it and download it again."
        ) from error


def _options(ort, name: str, device: str, gpu: Gpu | None) -> dict[str, str]:
    """Return the provider's options: its device, and where it keeps what it compiled if that folder can be made."""
    options = dict(OPTIONS.get(name, {}))
    if device:
        options["device_type"] = device
    if name == "MIGraphX" and gpu and gpu.cache and version(ort) >= MIGRAPHX_CACHE_SINCE:
        try:
            gpu.cache.mkdir(parents=True, exist_ok=True)
            options["migraphx_model_cache_dir"] = str(gpu.cache)
        except OSError as error:
            logger.warning("MIGraphX compiles anew each time: the folder %s cannot be made (%s).", gpu.cache, error)
    return options


def _create(ort, path: Path, name: str, provider_options: dict[str, str]):
    options = ort.SessionOptions()
    options.log_severity_level = 4  # the notes report its errors
    options.enable_mem_pattern = name != "DirectML"  # DirectML allows no memory patterns
    wanted = [(PROVIDERS[name], provider_options)]
    if name == "TensorRT":  # CUDA for what TensorRT cannot do
        wanted.append((PROVIDERS["CUDA"], OPTIONS["CUDA"]))
    return ort.InferenceSession(str(path), sess_options=options, providers=wanted, enable_fallback=0)


def _library_error(ort, name: str) -> str:
    """Return why the provider's own library cannot be loaded, in the words of the operating system; "" if it can."""
    folder = Path(ort.__file__).parent / "capi"
    affix = "onnxruntime_providers_{}.dll" if sys.platform == "win32" else "libonnxruntime_providers_{}.so"
    for library in SHARED_LIBRARIES.get(name, ()):
        try:
            ctypes.CDLL(str(folder / affix.format(library)), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            missing = NO_TENSORRT if library == "tensorrt" else "a CUDA or cuDNN library could not be loaded"
            return f"{missing} ({_first_line(error)})"
    return ""


def _failed(provider: str, reason: str) -> str:
    """Return what failed in a run, and what to do, which depends on where it ran."""
    full, other = FREE_MEMORY, "If the GPU's memory is full, free some; else choose another provider, such as CPU."
    if provider == CPU:
        full, other = "The computer's memory is full: close other programs, and run again.", "Choose another file."
    return f"The network failed on {provider}: {reason}. {full if _is_memory(reason) else other}"


def _is_memory(reason: str) -> bool:
    """Return whether a provider failed for lack of memory, so that nothing is wrong with it."""
    return bool(MEMORY_IS_FULL.search(reason))


def _no_provider(ort, path: Path, provider: str, failures: dict[str, str], gpu: Gpu | None) -> str:
    if provider == AUTO:
        return f"{path.name} runs on no provider. " + " ".join(f"{name}: {why}." for name, why in failures.items())
    found = f"the installed ONNX Runtime has only {_names(ort)}"
    if failures:
        found = f"it does not work here: {'; '.join(failures.values())}"
    if any(map(_is_memory, failures.values())):
        fix = f"{FREE_MEMORY} Or choose"
    elif elsewhere := not_made_for(provider, gpu):  # no build would help
        fix = f"{elsewhere} Choose"
    else:
        build = MADE_FOR[provider].package
        fix = f"{without_a_build(provider, failures.values()) or _fix(ort, build, gpu, failures)} Or choose"
    return f"Provider {provider} was asked for, but {found}. {fix} 'auto'."


def _why(failures: dict[str, str]) -> list[str]:
    return [f"{place} does not work: {reason}." for place, reason in failures.items()]


def _why_cpu(ort, name: str, failures: dict[str, str], gpu: Gpu | None) -> list[str]:
    """Return the cause and the fix if the CPU runs although there is a GPU; nothing else is worth a note."""
    if name != CPU or not gpu:
        return []
    cause = " ".join(_why(failures))
    available = ort.get_available_providers()
    slow = [name for name, full in PROVIDERS.items() if name in COMPILED and full in available]
    if slow and not failures:
        cause = f"{slow[0]} compiles for minutes, so it runs only where it is chosen as the provider."
    cause = cause or f"The installed ONNX Runtime has only {_names(ort)}."
    full = any(map(_is_memory, failures.values()))
    again = f"{FREE_MEMORY} Every new search for poses tries the GPU again."
    fix = again if full else _fix(ort, build_for(gpu), gpu, failures)
    return [f"The GPU ({gpu.name}) is not used for pose detection. {cause}", fix]


def _fix(ort, build: str | None, gpu: Gpu | None, failures: dict[str, str]) -> str:
    """Return what to do so that a build of ONNX Runtime computes on the GPU."""
    failed = [place.partition(" ")[0] for place in failures]
    return advice(build, gpu, installed_builds(), cuda_major(ort), failed)


def _errors(ort) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises: its exceptions have no common base of their own."""
    own = vars(ort.capi.onnxruntime_pybind11_state).values()
    raised = (e for e in own if isinstance(e, type) and issubclass(e, Exception))
    return (RuntimeError, ValueError, MemoryError, *raised)


def _place(provider: str, device: str) -> str:
    return f"{provider} ({device})" if device else provider


def _names(ort) -> str:
    available = ort.get_available_providers()
    return ", ".join(name for name, full in PROVIDERS.items() if full in available)


def _port(port) -> Port:
    return Port(tuple(size if isinstance(size, int) else None for size in port.shape), port.type)


def _first_line(error: Exception) -> str:
    """Return the first line of what it says, or the one that speaks of a full memory."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next(filter(_is_memory, lines), lines[0]).rstrip(".")
