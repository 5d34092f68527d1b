"""What DW-Pose's two files look like, and what else people put into their places.

Sizes and sha256: the files of repository yzd-v/DWPose on Hugging Face; yolox_l.onnx is Megvii's own release 0.1.1rc0.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ...media.byte_size import size_text
from ..packages.onnxruntime_advice import Gpu
from .runtime import AUTO, Session, open_session
from .simcc import KEYPOINTS as WHOLE_BODY
from .yolox import ROW, STRIDES

PAGE = "yzd-v/DWPose on Hugging Face"
NOT_ONNX = (  # how a file starts, and what it is then
    (b"PK\x03\x04", "a TorchScript or PyTorch file"),
    (b"\x80\x02", "an old PyTorch file"),
    (b"version https://git-lfs", "a pointer to a file that was not downloaded (git lfs pull fetches it)"),
    (b"<", "a web page, not the download itself"),
)


class NetworkFile(NamedTuple):
    """One of the files that a detector needs, as published."""

    slot: str
    file: str
    size: int
    sha256: str
    needed: str
    fits: Callable[[Session], bool]


def is_yolox(session: Session) -> bool:
    """Return whether it takes one picture and gives rows of box, objectness and COCO's 80 classes."""
    rows = (1, _cells(session), ROW)
    return _matches(session.inputs, (1, 3, None, None)) and _matches(session.outputs, rows)


def is_dwpose(session: Session) -> bool:
    """Return whether it takes crops and gives SimCC peaks of 133 keypoints, two bins for each pixel."""
    height, width = _crop(session)
    if not height or not width or _only(session.inputs)[0] not in (None, 1):
        return False
    return _matches(session.outputs, (None, WHOLE_BODY, 2 * width), (None, WHOLE_BODY, 2 * height))


YOLOX = NetworkFile(
    "yolox", "yolox_l.onnx", 216_746_733, "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
    "a YOLOX person detector (one picture in, rows of 85 numbers out)", is_yolox,
)  # fmt: skip
DWPOSE = NetworkFile(
    "dwpose", "dw-ll_ucoco_384.onnx", 134_399_116, "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
    "a DW-Pose network (crops of 384x288 in, simcc_x and simcc_y of 133 keypoints out)", is_dwpose,
)  # fmt: skip


def open_network(path: Path | str, kind: NetworkFile, provider: str = AUTO, gpu: Gpu | None = None) -> Session:
    """Return the network in the file; ValueError says what the file is if it is not of that kind."""
    path = Path(path)
    if path.is_file():  # open_session reports a missing one
        with path.open("rb") as file:
            head = file.read(32)
        found = next((text for start, text in NOT_ONNX if head.startswith(start)), None) if head else "an empty file"
        if found:
            raise ValueError(_wrong(path, kind, found))
    return open_session(path, provider, gpu, partial(_check, path, kind))


def download_note(kinds=(YOLOX, DWPOSE)) -> str:
    """Return names and sizes of the files, and where they are published, one line each."""
    lines = [f"{kind.file}: {size_text(kind.size)}" for kind in kinds]
    return "\n".join([f"Download from repository {PAGE}:", *lines])


def describe(session: Session) -> str:
    """Return what the network is by its inputs and outputs."""
    shapes, only, (height, width) = list(session.outputs.values()), _only(session.outputs), _crop(session)
    simcc = [2 * width, 2 * height] if height and width else None
    if is_yolox(session):
        family = "a YOLOX person detector"
    elif is_dwpose(session):
        family = "a DW-Pose network of 133 keypoints"
    elif len(shapes) == 4 and any(port.type == "tensor(uint8)" for port in session.ports.values()):
        family = "a YOLO-NAS detector with suppression inside"
    elif len(only) == 3 and _cells(session) == only[1] and (only[2] or 0) > 5:
        family = "a YOLOX detector of other classes than COCO's 80"
    elif len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and [s[2] for s in shapes] == simcc:
        family = "a pose network with another set of keypoints than the 133"
    elif any(shape[-1:] == (5,) and len(shape) in (2, 3) for shape in shapes):
        family = "a detector with suppression inside"
    else:
        family = "another network"
    return f"{family} ({_ports(session.inputs)} in, {_ports(session.outputs)} out)"


def _check(path: Path, kind: NetworkFile, session: Session) -> None:
    if not kind.fits(session):
        raise ValueError(_wrong(path, kind, describe(session)))


def _wrong(path: Path, kind: NetworkFile, found: str) -> str:
    return (
        f"{path.name} cannot be used as the {kind.slot} file. Found {found}; needed is {kind.needed}. "
        f"Choose {kind.file}, from repository {PAGE}."
    )


def _matches(ports: dict[str, tuple], *wanted: tuple) -> bool:
    """Return whether there are as many ports as wanted shapes, each fitting its own; None fits any size."""
    if [*map(len, ports.values())] != [*map(len, wanted)]:
        return False
    sizes = zip(chain(*ports.values()), chain(*wanted), strict=True)
    return all(size == other or None in (size, other) for size, other in sizes)


def _only(ports: dict[str, tuple]) -> tuple:
    return next(iter(ports.values())) if len(ports) == 1 else ()


def _crop(session: Session) -> tuple[int | None, int | None]:
    """Return height and width of a network that takes one batch of color pictures."""
    shape = _only(session.inputs)
    return shape[2:] if len(shape) == 4 and shape[1] == 3 else (None, None)


def _cells(session: Session) -> int | None:
    height, width = _crop(session)
    return sum((height // s) * (width // s) for s in STRIDES) if height and width else None


def _ports(ports: dict[str, tuple]) -> str:
    return ", ".join(f"{name} [{', '.join(str(size or '?') for size in shape)}]" for name, shape in ports.items())
