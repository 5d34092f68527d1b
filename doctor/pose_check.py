"""The pose detector: what it runs on, and whether DW-Pose's files are there."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..dwpose.detect.blazepose import LANDMARKS, OUTPUTS
from ..dwpose.detect.opencv_network import open_bundled
from ..dwpose.detect.runtime import AUTO, CPU, OPENCV
from ..dwpose.packages.onnxruntime_advice import Gpu, build_for, to_keep
from ..dwpose.packages.onnxruntime_build import import_onnxruntime, installed_builds
from ..dwpose.packages.pip_advice import in_report, quoted
from .findings import NOTE, OK, PROBLEM, WARNING, Finding, of_error
from .package_check import in_own_python


@dataclass(frozen=True)
class Runtime:
    """The result of a trial of ONNX Runtime. gpu: name of the card that ComfyUI computes on, None for the CPU.

    builds: installed packages; best: the package to install again; available: providers by name; provider: the one
    that ran a network; cause and fix: why it was not the card; error: why ONNX Runtime did not run; has_build: whether
    a build uses the card.
    """

    builds: tuple[str, ...]
    best: str
    available: tuple[str, ...] = ()
    gpu: str | None = None
    provider: str = ""
    cause: str = ""
    fix: str = ""
    error: Exception | None = None
    has_build: bool = True


@dataclass(frozen=True)
class DetectorFile:
    """A file that DW-Pose needs: its published name and bytes, and those found here; None if it is not there."""

    file: str
    published: int
    found: int | None
    where: str = ""


def try_runtime(gpu: Gpu | None) -> Runtime:
    """Run a bundled network on the best provider. gpu: the card that ComfyUI computes on, None for the CPU."""
    builds = tuple(installed_builds())
    name, best = gpu.name if gpu else None, quoted(to_keep(gpu, builds))
    try:
        session = open_bundled(LANDMARKS, OUTPUTS[LANDMARKS], AUTO, gpu)
    except ValueError as error:
        return Runtime(builds, best, gpu=name, error=ValueError(in_report(str(error))))
    if session.provider == OPENCV:
        return Runtime(builds, best, gpu=name, provider=OPENCV, error=ValueError(in_report(session.notes[1])))
    available = tuple(import_onnxruntime().get_available_providers())
    cause, fix = (*map(in_report, session.notes[1:]), "", "")[:2]
    has_build = gpu is None or build_for(gpu) is not None
    return Runtime(builds, best, available, name, session.place, cause, fix, has_build=has_build)


def check_runtime(runtime: Runtime) -> list[Finding]:
    if runtime.error is not None:
        return [of_error(WARNING if runtime.provider == OPENCV else PROBLEM, runtime.error)]
    builds = " and ".join(runtime.builds) or "an unknown build"
    again = in_own_python(f"install --force-reinstall --no-deps {runtime.best}")
    if runtime.provider == CPU and runtime.gpu:
        what = runtime.cause or f"The GPU ({runtime.gpu}) is not used for pose detection."
        level = WARNING if runtime.has_build else NOTE
        return [Finding(level, what, runtime.fix or again)]
    if len(runtime.builds) > 1:
        what = f"{len(runtime.builds)} builds of ONNX Runtime share one folder: {builds}."
        fix = f"Keep all of them. Uninstalling one breaks the rest, and this repairs it. {again}"
        return [Finding(NOTE, f"{what} Poses are found on {runtime.provider}.", fix)]
    return [Finding(OK, f"Poses are found on {runtime.provider}, by {builds}.")]


def check_telemetry(sends: bool, switch: str) -> list[Finding]:
    """Return a warning where ONNX Runtime sends usage data; switch: the variable that stops it before its import."""
    if not sends:
        return []
    what = "Another pack imported ONNX Runtime first, with its telemetry on: it sends usage data to its maker."
    return [Finding(WARNING, what, f"Set {switch}=1 in the environment that ComfyUI starts in. Then restart ComfyUI.")]


def check_detector_files(files: Iterable[DetectorFile], folder: str, download: str) -> list[Finding]:
    """Return whether DW-Pose's files are there. folder: where they go; download: where they are published."""
    files, wrong = list(files), []
    missing = [file.file for file in files if file.found is None]
    for file in files:
        if file.found not in (None, file.published):
            what = f"{file.where or file.file} has {file.found:,} bytes; the published file has {file.published:,}."
            fix = f"Download it again from {download}."
            wrong.append(Finding(WARNING, f"{what} It is another network, or was cut.", fix))
    if missing:
        what = f"DW-Pose lacks {' and '.join(missing)}: poses are found without hands, by the bundled detector."
        fix = f"For hands, download {' and '.join(missing)} from {download} into {folder} and press R."
        return [*wrong, Finding(NOTE, what, fix)]
    return wrong or [Finding(OK, f"DW-Pose: {' and '.join(file.file for file in files)} are there, for hands too.")]
