"""A process that tries inputs, so that a crash, a hang or a full memory of one of them ends nothing else.

It reads a line "TARGET SEED" and answers with a line of JSON: what came of the input, and how the process has grown.
"""

import json
import logging
import resource
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import conftest

    from steadydancer_pack.tests.comfyui import use_comfyui

    use_comfyui()

    from steadydancer_pack.tests.fuzz.targets import TARGETS

ACCEPTED, REFUSED, CRASH, WRONG = "accepted", "refused", "crash", "wrong"
SHORTEST_SENTENCE = 20  # characters: a refusal explains itself


def attempt(target: str, seed: int) -> dict[str, str]:
    """Return what comes of one input: its kind, and what was said of it."""
    conftest.GUARD.refused.clear()
    with tempfile.TemporaryDirectory(prefix="steadydancer-fuzz-") as folder:
        try:
            TARGETS[target](Path(folder), Random(f"{target} {seed}"))
        except ValueError as refusal:
            kind, said = (REFUSED if len(str(refusal)) >= SHORTEST_SENTENCE else CRASH), str(refusal)
        except AssertionError:
            kind, said = WRONG, traceback.format_exc()
        except Exception:
            kind, said = CRASH, traceback.format_exc()
        else:
            kind, said = ACCEPTED, ""
    if conftest.GUARD.refused:
        return {"kind": "outside", "said": "; ".join(conftest.GUARD.refused)}
    return {"kind": kind, "said": said}


def main() -> None:
    logging.disable()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        target, seed = line.split()
        answer = attempt(target, int(seed))
        answer["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
