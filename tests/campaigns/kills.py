"""Kill a real ComfyUI at random moments while the pack works, and look at what it leaves behind.

    COMFYUI_PATH=... python -m tests.campaigns.kills --count 30 --seed 1

Every kill is a SIGKILL while a prompt extracts poses, samples, samples in chunks, converts a model or combines a video,
in turn. Then every file with a final name must open whole, the next server must run the same prompt to its end, and a
long video must equal the one of a run that nobody killed, bit for bit. Exit status 1 if anything of that fails.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save_file

from comfy_client.in_process import use_pack

use_pack()

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt  # noqa: E402
from steadydancer_pack.comfy_client.client import ServerGone  # noqa: E402
from steadydancer_pack.comfy_client.process import ComfyProcess  # noqa: E402
from steadydancer_pack.comfy_client.prompt_edit import find, set_custom, set_inputs  # noqa: E402
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptRejected  # noqa: E402
from steadydancer_pack.media.atomic_write import UNFINISHED  # noqa: E402  the line above makes it importable
from steadydancer_pack.media.clips import read_frames  # noqa: E402
from steadydancer_pack.media.video_formats import FORMATS  # noqa: E402
from steadydancer_pack.miniature import SHIPPED, write_all  # noqa: E402
from steadydancer_pack.miniature.weights import steadydancer_state_dict  # noqa: E402
from steadydancer_pack.tests.campaigns.whole_files import fault  # noqa: E402
from steadydancer_pack.tests.prompts import RECONCILE, SAMPLER, SKELETONS, VIDEO, node, run  # noqa: E402

PACK = Path(__file__).resolve().parents[2]
START_SECONDS = 900  # on a machine that does much else
DANCE, SOURCE = "steadydancer_sample_dance.mp4", "kills_source.safetensors"
FRAMES, LONG = 17, 33  # of a clip, and of the sample's poses, which the long video goes through
CHUNKS, PICTURES = "chunks", "pictures"
REPLACED = (RECONCILE, SAMPLER, VIDEO, "VAEDecode", "ImageScaleBy")
KINDS = ("extract", "sampling", CHUNKS, "convert", "combine")
BIGGER = {"dim": 768, "ffn_dim": 1536, "layers": 4, "text_dim": 64}  # 0.2 GB: a conversion takes its time


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign and print the counts; the exit status is that of the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=30, help="how many kills: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the moments: %(default)s")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="steadydancer-kills-") as base:
        campaign = Campaign(Path(base), options.seed)
        try:
            campaign.run(options.count)
        finally:
            campaign.server.stop()
    return int(bool(campaign.failures))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Campaign:
    """Kills in one base directory, which every server takes over from the one before."""

    def __init__(self, base: Path, seed: int):
        self.base, self.random = base, random.Random(seed)
        self.server = self.new_server()
        self.failures: list[str] = []
        self.seconds: dict[str, float] = {}  # that a prompt takes, by kind
        self.counts: Counter = Counter()
        self.good: dict[Path, int] = {}  # files that opened whole, by the time of their last change
        self.frames = {"extract": FRAMES, "sampling": FRAMES, CHUNKS: LONG}

    def run(self, count: int) -> None:
        """Run everything once without a kill, then kill `count` times."""
        self.write_inputs()
        self.start()
        self.info = self.server.client.object_info()
        for kind in KINDS:
            since = time.monotonic()
            self.finish(kind, 0)
            self.seconds[kind] = time.monotonic() - since
            say(f"    {kind:9} takes {self.seconds[kind]:.1f} s")
        self.chunks, self.pictures = self.take_chunks()
        self.model = self.take_model(0)
        for trial in range(1, count + 1):
            kind = KINDS[(trial - 1) % len(KINDS)]
            said = self.kill(kind, trial)
            self.start()
            try:
                said += self.next_prompt(kind, trial)
            except (PromptFailed, PromptRejected, ServerGone) as error:
                self.fail(f"the next prompt of {kind} {trial} did not run: {error}")
            say(f"{trial:3} {kind:9} {said}")
        self.tell(count)

    def write_inputs(self) -> None:
        write_all(self.base / "models", self.base / "input")
        save_file(steadydancer_state_dict(**BIGGER), self.models / SOURCE)
        self.frames["combine"] = sum(1 for _ in read_frames(SHIPPED / "input" / DANCE))

    def new_server(self) -> ComfyProcess:
        return ComfyProcess(Path(os.environ["COMFYUI_PATH"]), PACK, self.base, ("--cache-none",))

    def start(self) -> None:
        self.server = self.new_server()
        self.server.start(START_SECONDS)

    @property
    def models(self) -> Path:
        return self.base / "models" / "diffusion_models"

    @property
    def chunk_folder(self) -> Path:
        return self.base / "user" / "steadydancer" / "chunks"

    def prompt(self, kind: str, trial: int) -> dict:
        """Return the prompt of a kind; its files have the kind and the trial in their names."""
        return getattr(self, f"{kind}_prompt")(f"kills/{kind}_{trial}", trial)

    def extract_prompt(self, prefix: str, trial: int) -> dict:
        how = {"fps": 16.0, "source_fps": 16.0, "detect_every": 1, "max_people": 4, "when_nobody": "hold"}
        how |= {"max_frames": FRAMES, "use_cache": True, "cache_mb": 1024}
        return {
            "detector": node("SteadyDancerLoadPoseDetector", **self.defaults("SteadyDancerLoadPoseDetector")),
            "video": node("LoadVideo", file=DANCE),
            "poses": node("SteadyDancerExtractPoses", detector=["detector", 0], video=["video", 0], **how),
            "save": node("SteadyDancerSavePoses", poses=["poses", 0], filename_prefix=prefix, fps=16.0),
        }

    def sampling_prompt(self, prefix: str, trial: int) -> dict:
        prompt = to_api_prompt(json.loads(SKELETONS.read_text("utf-8")), self.info)
        set_inputs(prompt, find(prompt, RECONCILE), length=FRAMES)
        set_inputs(prompt, find(prompt, SAMPLER), seed=trial)
        set_custom(prompt, find(prompt, SAMPLER), steps=4)
        set_inputs(prompt, find(prompt, VIDEO), filename_prefix=prefix)
        return prompt

    def chunks_prompt(self, prefix: str, trial: int) -> dict:
        prompt = self.sampling_prompt(prefix, trial)
        reconcile, sampler = prompt[find(prompt, RECONCILE)]["inputs"], prompt[find(prompt, SAMPLER)]["inputs"]
        pictures = ("positive", "negative", "vae", "photo", "pose_frames", "pose_negative_frames", "width", "height")
        values = {name: reconcile[name] for name in pictures}
        values |= {name: value for name, value in sampler.items() if name == "model" or name.startswith("preset")}
        store = {"colour_match": 1.0, "keep_chunks": True, "chunks_gb": 1, "tiled_vae": False}
        how = {"preset": "Custom", "preset.steps": 3}
        chunks = node("SteadyDancerChunkSampler", chunk_length=13, overlap=5, **values | store | how, seed=7)
        video = node(VIDEO, **prompt[find(prompt, VIDEO)]["inputs"] | {"images": [CHUNKS, 0]})
        kept = {key: value for key, value in prompt.items() if value["class_type"] not in REPLACED}
        return kept | {CHUNKS: chunks, "video": video}

    def convert_prompt(self, prefix: str, trial: int) -> dict:
        how = {"model_name": SOURCE, "precision": "keep", "overwrite": False}
        return {"convert": node("SteadyDancerConvertModel", file_name=self.target(trial).name, **how)}

    def combine_prompt(self, prefix: str, trial: int) -> dict:
        how = self.defaults(VIDEO) | {"format": list(FORMATS)[trial // len(KINDS) % len(FORMATS)]}
        return {
            "load": node("LoadVideo", file=DANCE),
            "parts": node("GetVideoComponents", video=["load", 0]),
            "large": node("ImageScaleBy", image=["parts", 0], upscale_method="bicubic", scale_by=1.0),
            "video": node(VIDEO, images=["large", 0], **how | {"filename_prefix": prefix}),
        }

    def defaults(self, node_id: str) -> dict:
        """Return the values that a new node of that type has in its widgets."""
        inputs = {**self.info[node_id]["input"]["required"], **self.info[node_id]["input"].get("optional", {})}
        given = {name: spec for name, spec in inputs.items() if isinstance(spec[0], list) or len(spec) > 1}
        return {name: value for name, spec in given.items() if (value := default(spec)) is not None}

    def kill(self, kind: str, trial: int) -> str:
        """Queue a prompt, kill the server at a random moment, and look at all files; return what was seen."""
        if kind == "extract":
            shutil.rmtree(self.pose_cache, ignore_errors=True)
        moment = self.random.uniform(0, self.seconds[kind])
        self.server.client.queue(self.prompt(kind, trial))
        time.sleep(moment)
        self.server.process.kill()
        self.server.process.wait()
        self.server.stop()
        finished = any(self.files(f"{kind}_{trial}[._]*"))
        self.counts["the prompt was finished"] += finished
        unfinished = [path for path in self.base.rglob(f"*{UNFINISHED}") if path.is_file()]
        self.counts["left an unfinished file"] += bool(unfinished)
        self.check()
        for path in unfinished if kind != "convert" else ():
            path.unlink()
        return f"killed after {moment:4.1f} s, {'finished' if finished else 'at work'}, {len(unfinished)} unfinished; "

    @property
    def pose_cache(self) -> Path:
        return self.chunk_folder.parent / "pose_cache"

    def files(self, pattern: str = "*") -> Iterator[Path]:
        """Yield the files with final names that the pack has written."""
        for folder in (self.base / "output" / "kills", self.models, self.chunk_folder, self.pose_cache):
            for path in folder.rglob(pattern):
                if path.is_file() and path.name[0] != "." and UNFINISHED not in path.suffixes:
                    yield path

    def check(self) -> None:
        """Open every file that is new or changed."""
        for path in self.files():
            changed = path.stat().st_mtime_ns
            if self.good.get(path) == changed:
                continue
            self.counts["files opened"] += 1
            if found := fault(path, self.frames.get(path.name.split("_")[0])):
                self.fail(f"half file: {found}")
            elif path.exists():
                self.good[path] = path.stat().st_mtime_ns

    def fail(self, what: str) -> None:
        self.failures.append(what)
        say(f"    FAILED: {what}")

    def next_prompt(self, kind: str, trial: int) -> str:
        """Run the prompt that was killed to its end and compare what it made; return what was seen."""
        since = time.monotonic()
        text = self.finish(kind, trial)
        said = f"next prompt ran in {time.monotonic() - since:.1f} s"
        self.check()
        if kind == CHUNKS:
            resumed = next((line for line in text.splitlines() if "taken from disk" in line), "none taken from disk")
            said += f", {self.compare_chunks()}, {resumed}"
        if kind == "convert":
            said += f", {self.compare_model(trial)}"
        return said

    def finish(self, kind: str, trial: int) -> str:
        """Run a prompt to its end; return the texts of its nodes."""
        prompt = self.prompt(kind, trial)
        if kind == CHUNKS:
            prompt[PICTURES] = node("SaveImage", images=[CHUNKS, 0], filename_prefix=f"{PICTURES}/a")
        if kind == "convert":
            set_inputs(prompt, "convert", overwrite=True)  # the killed one may have ended
        _, outputs = run(self.server, prompt)
        return "\n".join(output["text"][0] for output in outputs.values() if output.get("text"))

    def take_chunks(self) -> tuple[dict[str, bytes], list[np.ndarray]]:
        """Return the stored chunks by name and the pictures of the long video; both are removed."""
        pictures = self.base / "output" / PICTURES
        chunks = {path.name: path.read_bytes() for path in self.chunk_folder.glob("*.frames")}
        frames = [np.asarray(Image.open(path)) for path in sorted(pictures.glob("*.png"))]
        for folder in (self.chunk_folder, pictures):
            shutil.rmtree(folder)
        return chunks, frames

    def compare_chunks(self) -> str:
        chunks, pictures = self.take_chunks()
        same = len(pictures) == len(self.pictures) and all(map(np.array_equal, pictures, self.pictures))
        if chunks != self.chunks or not same:
            self.fail("the long video differs from the one of a run that was not killed")
            return "chunks differ"
        self.counts["long videos equal bit for bit"] += 1
        return f"{len(chunks)} chunks and {len(pictures)} frames equal"

    def target(self, trial: int) -> Path:
        return self.models / f"convert_{trial}.safetensors"

    def take_model(self, trial: int) -> str:
        """Return the hash of the converted model, which is removed."""
        digest = hashlib.sha256(self.target(trial).read_bytes()).hexdigest()
        self.target(trial).unlink()
        return digest

    def compare_model(self, trial: int) -> str:
        if self.take_model(trial) != self.model:
            self.fail("the converted model differs from that of a run that was not killed")
            return "model differs"
        self.counts["converted models equal byte for byte"] += 1
        return "model equal"

    def tell(self, count: int) -> None:
        say(f"{count} kills")
        for what, number in self.counts.items():
            say(f"{number:4} {what}")
        say(f"{len(self.failures):4} failures: half files, prompts that did not run, results that differ")


def default(spec: list):
    """Return what a widget of this /object_info entry holds in a new node; None for a socket."""
    options = spec[1] if len(spec) > 1 else {}
    choices = spec[0] if isinstance(spec[0], list) else options.get("options")
    return options.get("default", choices[0] if choices else None)


if __name__ == "__main__":
    sys.exit(main())
