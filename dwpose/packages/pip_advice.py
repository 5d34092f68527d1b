"""Why a compiled package does not import, and the pip commands to paste for it: absent, does not load, or torn."""

import importlib.metadata
import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence

IMPORT_ERRORS = (ImportError, AttributeError, OSError)  # a torn package has modules without what others ask of them
TORN = re.compile(
    "(?i)partially initialized module|missing configuration file|recursion is detected|has no attribute"
    "|file too short|invalid elf header"
)
# An extension built for another NumPy says one of these, or nothing at all.
NUMPY_ABI = re.compile(r"multiarray|numpy\.core|_array_api|numpy 1\.x|numpy version|module 'numpy'|^$", re.IGNORECASE)
DISPLAY_LIBRARIES = re.compile(
    r"(?i)libgl\.so|libgles|libegl|libgthread|libglib|libsm\.so|libice\.so|libxcb|libxext|libxrender|libx11"
)
NO_DLL = re.compile(r"dll load failed|\[winerror (126|127|1114)\]", re.IGNORECASE)  # absent, too old, does not start
WINDOWS_WORD = re.compile(r"[\w:\\/.-]+")  # needs no quotes, neither in cmd nor in PowerShell
AGAIN = "--force-reinstall --no-deps"  # writes the files of one package again and leaves all others
TERMINAL, RESTART = "Run in a terminal", "and restart ComfyUI."
IN_POWERSHELL = " (in PowerShell with & before the line)"
WINDOWS_RUNTIME = "https://aka.ms/vs/17/release/vc_redist.x64.exe"


def in_terminal(command: str) -> str:
    """Return the sentence that says to run a command, which has a line of its own."""
    in_powershell = IN_POWERSHELL if command.startswith('"') else ""
    return f"{TERMINAL}{in_powershell}:\n{command}\n{RESTART}"


def in_report(advice: str) -> str:
    """Return advice for one line of a report that names no folder: with `python` for the path of this Python."""
    advice = advice.replace(IN_POWERSHELL, "").replace(f"{_python()} -m ", "python -m ")
    advice = advice.replace(f"{TERMINAL}:\n", "With ComfyUI's own Python: ")
    return advice.replace(f"\n{RESTART}", ". Then restart ComfyUI.")


def install(*specifiers: str, options: str = "") -> str:
    """Return the command that installs into this Python, with its uv where it has no pip."""
    has_pip = importlib.util.find_spec("pip") or not importlib.util.find_spec("uv")
    pip = "pip" if has_pip else "uv pip"
    return " ".join([_python(), "-m", pip, "install", *options.split(), *map(quoted, specifiers)])


def quoted(specifier: str) -> str:
    """Return the specifier in the quotes that every shell needs around <, > and brackets."""
    return specifier if specifier.replace("-", "").isalnum() else f'"{specifier}"'


def distributions(module: str) -> list[str]:
    """Return the installed packages that brought files of a top-level module, by name."""
    names = importlib.metadata.packages_distributions().get(module, ())
    return sorted({name.lower().replace("_", "-") for name in names if name})  # a broken installation has no name


def import_failure(what: str, module: str, error: Exception, best: str) -> str:
    """Return why `module` of the package `what` does not import, and what to do. best: what to install if none is."""
    installed = distributions(module)
    present = _present(installed, best)
    if not installed and isinstance(error, ModuleNotFoundError) and error.name == module:
        return f"{what} is not installed. {in_terminal(install(best))}"
    if _is_torn(module, error):
        return torn(what, module, best)
    advice = without_reinstalling(module, error, present)
    if not advice:
        headless = present.removesuffix("-headless") + "-headless"
        why = "This system has no display libraries, and the headless OpenCV needs none."
        if present == headless:
            why = "This version of the headless OpenCV needs a library of the display; the newest does not."
        advice = f"{why} {in_terminal(install(headless, options=AGAIN))}"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
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
    if NUMPY_ABI.search(str(error)):
        return False
    own = (getattr(error, "name", None) or "").partition(".")[0] == module
    if isinstance(error, ModuleNotFoundError):
        return own
    return (own and "cannot import name" in str(error).lower()) or bool(TORN.search(str(error)))


def without_reinstalling(module: str, error: Exception, package: str) -> str:
    """Return what lets a package load whose own files are whole; "" if they or the headless ones are to be written."""
    if _is_torn(module, error) or lacks_display(package, error):
        return ""
    if isinstance(error, ModuleNotFoundError):
        return in_terminal(install(package))  # brings what it depends on
    if NUMPY_ABI.search(str(error)):
        return f"It was built for another NumPy. {in_terminal(install(package, options='-U'))}"
    if NO_DLL.search(str(error)):
        media = "on Windows N its Media Feature Pack too, " if package.startswith("opencv") else ""
        return f"Install the newest Microsoft Visual C++ runtime ({WINDOWS_RUNTIME}), {media}and restart ComfyUI."
    command = in_terminal(install(package, options="-U"))
    return f"Installing the same version again does not help; a newer one may load. {command}"


def lacks_display(package: str, error: Exception) -> bool:
    """Return whether an OpenCV does not load for lack of a library of the display."""
    return package.startswith("opencv") and bool(DISPLAY_LIBRARIES.search(str(error)))


def _python() -> str:
    """Return the path of this Python, in quotes where a shell needs them."""
    python = sys.executable or "python"
    if sys.platform != "win32":
        return shlex.quote(python)
    return python if WINDOWS_WORD.fullmatch(python) else f'"{python}"'
