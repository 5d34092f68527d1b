"""Text for a public bug report: absolute paths lose their folders, which name people, disks and machines."""

import re
from collections.abc import Iterable
from pathlib import Path

Root = tuple[str, Path | str]  # what stands for a folder in the text, and the folder
FILE_TYPES = (
    "safetensors|gguf|onnx|pth?|bin|ckpt|json|ya?ml|toml|txt|md|csv|log|db|py[cdi]?|so|dll|dylib|exe|whl|zip|part|tmp|"
    "mp4|mov|webm|mkv|avi|gif|png|jpe?g|webp|bmp|tiff?|wav|mp3|flac|np[yz]"
)
# How an absolute path begins: an address of a local or shared file, Windows' long spelling, a drive, a share, a user's
# home, and a first folder. Other addresses, relative paths and fractions do not begin so. A path may follow a letter of
# Chinese without a blank.
WORD_BEFORE = "A-Za-z0-9_"
START = re.compile(
    rf"(?<![{WORD_BEFORE}])(?:file:/+(?:[a-z]:/+)?|(?:smb|afp|nfs|s?ftp|davs?)://|[a-z][a-z0-9+.-]*:/{{3,}})(?=[^\s/<])"
    rf"|(?<![{WORD_BEFORE}\\])\\{{2,4}}[?.]\\{{1,2}}(?:UNC\\{{1,2}}|[a-z]:\\{{1,2}})?(?=[^\s\\<])"
    rf"|(?<![{WORD_BEFORE}])[a-z]:[/\\]+(?=[^\s/\\<])"
    rf"|(?<![{WORD_BEFORE}.~>:/\\])(?:\\{{2,4}}(?=[\w.$-])|//(?=[\w.$-]+/))"
    rf"|(?<![{WORD_BEFORE}/\\])~(?=[a-z_][\w.-]*[/\\])"
    rf"|(?<![{WORD_BEFORE}.~>/\\])(?:\\(?=Users\\|Documents and Settings\\)|/(?=[^\s/\\:*?\"<>|'`]+/))",
    re.I,
)
HOMES = r"(?:Users|homes?|Documents and Settings)"
DISKS = r"(?:Volumes|mnt|media|media[/\\]+[^/\\]+)"
# A folder whose folders may carry names of people or disks, blanks included; and such a name inside a path.
IN_NAMES = re.compile(rf"(?:^|[/\\])(?:{HOMES}|{DISKS}|[a-z]:)[/\\]+$|^\\{{2,4}}[^/\\]+\\+$", re.I)
NAME = re.compile(rf"[^\n\"<>|:']*?(?<![^/\\]){HOMES}[/\\]+[^/\\\n\"<>|:]+(?=[/\\])", re.I)
# What no path goes across where no quotes mark its end: a file's ending, a new clause, another path.
STOP = re.compile(
    rf"[*?\"<>|`]|:(?![\w])|\)(?=[\s.,;]|$)|(?<!\w)'|'(?!\w)|[,;](?=\s)|\.(?=\s+[A-Z])|(?<=\s)(?=(?:[A-Z]:)?[/\\])"
    rf"|(?<=\.)(?i:{FILE_TYPES})(?=[\s)\]])"
)
# One or two words up to the next separator: part of a folder's name, such as "Dr. Mary Poppins" or "Poppins, Mary".
GOES_ON = re.compile(r"[.,:;]\s+[^\s/\\:*?\"<>|]+(?:\s[^\s/\\:*?\"<>|]+)?[/\\](?=[^\s/\\])")
CLOSING = {"'": re.compile(r"(?<!\w)'|'(?!\w)"), '"': re.compile('"'), "`": re.compile("`")}
FILE_NAME = re.compile(rf"\S.*?\.(?:{FILE_TYPES})(?![\w-])", re.I)
WORD_END = re.compile(r"[\s)\]]")


def without_paths(text: str, roots: Iterable[Root]) -> str:
    """Return `text` with each root under its short name, and of any other absolute path only the file's name."""
    spelled = {}
    for name, root in roots:
        for path in (Path(root), Path(root).resolve()):
            if path.is_absolute() and path.parent != path:  # roots of drives name nobody
                spellings = str(path), path.as_posix(), str(path).replace("\\", "\\\\")
                spelled |= dict.fromkeys(spellings, name)
    for root in sorted(spelled, key=len, reverse=True):
        text = re.sub(rf"{re.escape(root)}(?![\w-])", lambda _, name=spelled[root]: f"<{name}>", text, flags=re.I)
    return "\n".join(map(_without_unknown, text.split("\n")))


def _without_unknown(line: str) -> str:
    done, position = [], 0
    while start := START.search(line, position):
        end, shown = _path(line, start)
        done += [line[position : start.start()], shown]
        position = end
    return "".join((*done, line[position:]))


def _path(line: str, start: re.Match) -> tuple[int, str]:
    """Return where the path ends, and what is shown of it. In quotes it ends with them, else it may end too late."""
    quote = line[start.start() - 1 : start.start()]
    closed = CLOSING[quote].search(line, start.end()) if quote in CLOSING else None
    end = closed.start() if closed else _end(line, start)
    tail = 1 + max(line.rfind("/", start.start(), end), line.rfind("\\", start.start(), end), start.end() - 1)
    if file := FILE_NAME.match(line, tail, end):
        return file.end(), f"<path>/{file[0]}"
    if not closed and not IN_NAMES.search(line[start.start() : tail]):
        end = tail + len(WORD_END.split(line[tail:end], maxsplit=1)[0])
    return end, "<path>"


def _end(line: str, start: re.Match) -> int:
    """Return the end of the clause that a path without quotes begins, or that of its file's name."""
    name = NAME.match(line, start.start() if line[start.start()] in "/\\" else start.end())
    stop = STOP.search(line, max(start.end(), name.end() if name else 0))
    while stop and (more := GOES_ON.match(line, stop.start())):
        stop = STOP.search(line, more.end())
    if stop is None:
        return len(line)
    return stop.end() if stop[0].isalnum() else stop.start()
