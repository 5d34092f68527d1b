"""Command line: `python PATH_OF_THIS_FOLDER MODELS_DIR INPUT_DIR` writes the files of the miniature and lists them."""

import argparse
import sys
from pathlib import Path

from . import write_all


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python miniature", description="Write the files of the miniature.")
    parser.add_argument("models_dir", type=Path, help="ComfyUI's models folder")
    parser.add_argument("input_dir", type=Path, help="ComfyUI's input folder")
    parser.add_argument("--overwrite", action="store_true", help="replace other files of the same names")
    options = parser.parse_args(arguments)
    try:
        paths = write_all(options.models_dir, options.input_dir, options.overwrite)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{path} ({path.stat().st_size:,} bytes)\n" for path in paths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
