"""torchmetrics and matplotlib: needed by some metrics and by the charts, imported when used, not part of the pack."""

import importlib
from types import ModuleType

from ..dwpose.packages.pip_advice import IMPORT_ERRORS, import_failure
from ..media.log import logger

TORCHMETRICS, MATPLOTLIB = "torchmetrics", "matplotlib"


class MissingPackage(ValueError):
    """A package that does not import; the text says why and how to install it."""


def import_from(package: str, module: str) -> ModuleType:
    """Return PACKAGE.MODULE, imported now because it takes seconds. MissingPackage if it does not import."""
    try:
        return importlib.import_module(f"{package}.{module}")
    except IMPORT_ERRORS as error:
        raise MissingPackage(import_failure(package, package, error, package)) from error


def import_advice(package: str, module: str) -> str:
    """Return why PACKAGE.MODULE does not import and how to install it, "" if it does. The log gets it at once."""
    try:
        import_from(package, module)
    except MissingPackage as error:
        logger.warning("%s", error)
        return str(error)
    return ""
