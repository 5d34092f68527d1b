"""Why a compiled package does not import, and the pip commands to paste for it: absent, does not load, or torn."""

import importlib.metadata
import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence

IMPORT_ERRORS = (ImportError, AttributeError, OSError)  # a torn package has modules without what others ask of them
TORN = (
    "partially initialized module", "missing configuration file", "recursion is detected", "has no attribute",
    "file too short", "invalid elf header",
)  # fmt: skip
NUMPY_ABI = ("multiarray", "numpy.core", "_array_api", "numpy 1.x", "numpy version", "module 'numpy'")
DISPLAY_LIBRARIES = (
    "libgl.so", "libgles", "libegl", "libgthread", "libglib", "libsm.so", "libice.so", "libxcb", "libxext",
    "libxrender", "libx11",
)  # fmt: skip
NO_DLL = ("dll load failed", "[winerror 126]", "[winerror 127]", "[winerror 1114]")  # absent, too old, does not start
WINDOWS_WORD = re.compile(r"[\w:\\/.-]+")  # needs no quotes, neither in cmd nor in PowerShell
AGAIN = "--force-reinstall --no-deps"  # writes the files of one package again and leaves all others
TERMINAL, RESTART = "Run in a terminal", "and restart ComfyUI."
IN_POWERSHELL = " (in PowerShell with & before the line)"
WINDOWS_RUNTIME = "https://aka.ms/vs/17/release/vc_redist.x64.exe"


def in_terminal(command: str) -> str:
    """Return the sentence that asks for a command, which has a line of its own."""
    in_powershell = IN_POWERSHELL if command.startswith('"') else ""
    return f"{TERMINAL}{in_powershell}:\n{command}\n{RESTART}"


def in_report(advice: str) -> str:
    """Return advice for one line of a report that names no folder: with `python` for the path of this Python."""
    advice = advice.replace(IN_POWERSHELL, "").replace(f"{_python()} -m ", "python -m ")
    advice = advice.replace(f"{TERMINAL}:\n", "With ComfyUI's own Python: ")
    return advice.replace(f"\n{RESTART}", ". Then restart ComfyUI.")


def install(*specifiers: str, options: str = "") -> str:
    """Return the command that installs into this very Python."""
    return _pip("install", *options.split(), *map(quoted, specifiers))


def quoted(specifier: str) -> str:
    """Return the specifier in the quotes that every shell needs around <, > and brackets."""
    return specifier if specifier.replace("-", "").isalnum() else f'"{specifier}"'


def distributions(module: str) -> list[str]:
    """Return the installed packages that brought files of a top-level module, by name."""
    names = importlib.metadata.packages_distributions().get(module, ())
    return sorted({name.lower().replace("_", "-") for name in names if name})  # a broken installation has no name


def import_failure(what: str, module: str, error: Exception, best: str) -> str:
    """Return why `module` of the package `what` does not import, and what to do.

    best: the package to install where none is.
    """
    installed, reason = distributions(module), _first_line(error)
    present = _present(installed, best)
    if not installed and isinstance(error, ModuleNotFoundError) and error.name == module:
        return f"{what} is not installed. {in_terminal(install(best))}"
    if _is_torn(module, error):
        return torn(what, module, best)
    advice = without_reinstalling(module, error, present) or _headless(present)
    return f"{what} is installed, but does not load ({reason}). {advice}"


def torn(what: str, module: str, best: str) -> str:
    """Return that files of the package are missing, and how to bring them back."""
    return (
        f"{what} is installed only in part: another package that shares its folder was uninstalled, or an "
        f"installation was broken off. {in_terminal(install(_present(distributions(module), best), options=AGAIN))}"
    )


def _present(installed: Sequence[str], best: str) -> str:
    """Return the package to keep of those installed: the best, if it is one of them or there is none."""
    name = re.split(r"[<>=\[]", best)[0]
    return best if name in installed or not installed else installed[0]


def _is_torn(module: str, error: Exception) -> bool:
    """Return whether a part of the module itself is missing; built for another NumPy is not torn."""
    text = str(error).lower()
    if _is_of_numpy(error):
        return False
    own = (getattr(error, "name", None) or "").partition(".")[0] == module
    if isinstance(error, ModuleNotFoundError):
        return own
    return ("cannot import name" in text and own) or any(words in text for words in TORN)


def _is_of_numpy(error: Exception) -> bool:
    """Return whether the package was built for another NumPy, of which an extension says nothing or one of these."""
    text = str(error).lower()
    return not text or any(words in text for words in NUMPY_ABI)


def without_reinstalling(module: str, error: Exception, package: str) -> str:
    """Return what lets a package load whose own files are whole; "" if they or the headless ones are to be written."""
    if _is_torn(module, error) or lacks_display(package, error):
        return ""
    if isinstance(error, ModuleNotFoundError):
        return in_terminal(install(package))  # brings what it depends on
    if _is_of_numpy(error):
        return f"It was built for another NumPy. {in_terminal(install(package, options='-U'))}"
    if any(words in str(error).lower() for words in NO_DLL):
        media = "on Windows N its Media Feature Pack too, " if package.startswith("opencv") else ""
        return f"Install the newest Microsoft Visual C++ runtime ({WINDOWS_RUNTIME}), {media}and restart ComfyUI."
    command = in_terminal(install(package, options="-U"))
    return f"Installing the same version again does not help; a newer one may load. {command}"


def lacks_display(package: str, error: Exception) -> bool:
    """Return whether an OpenCV does not load for lack of a library of the display."""
    return package.startswith("opencv") and any(library in str(error).lower() for library in DISPLAY_LIBRARIES)


def _headless(package: str) -> str:
    """Return the command that writes the files of the OpenCV that needs no display, in its newest version."""
    headless = package.removesuffix("-headless") + "-headless"
    why = "This system has no display libraries, and the headless OpenCV needs none."
    if package == headless:
        why = "This version of the headless OpenCV needs a library of the display; the newest does not."
    return f"{why} {in_terminal(install(headless, options=AGAIN))}"


def _pip(*arguments: str) -> str:
    """Return a pip command of this Python, or of its uv where pip is not installed."""
    has_pip = importlib.util.find_spec("pip") or not importlib.util.find_spec("uv")
    return " ".join([_python(), "-m", "pip" if has_pip else "uv pip", *arguments])


def _python() -> str:
    """Return the path of this Python, in quotes where a shell needs them."""
    python = sys.executable or "python"
    if sys.platform != "win32":
        return shlex.quote(python)
    return python if WINDOWS_WORD.fullmatch(python) else f'"{python}"'


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
