"""The embedded default: ComfyUI takes every file, the sample is what it says, and no file of the user is harmed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import comfy.sd
import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from steadydancer_pack import miniature
from steadydancer_pack.dwpose.detect.blazepose import BlazePose
from steadydancer_pack.dwpose.edit.augment import augment
from steadydancer_pack.dwpose.poses import BODY, NECK
from steadydancer_pack.dwpose.track.extract import extract
from steadydancer_pack.media.frames import fit_image
from steadydancer_pack.miniature import ENLARGED, SHIPPED, SIDE, shipped
from steadydancer_pack.nodes.miniature import MakeMiniatureFiles
from steadydancer_pack.steadydancer_core.weights import detection, prompt_embeddings
from steadydancer_pack.training import sample
from steadydancer_pack.training.network import SHIPPED_SIZE
from steadydancer_pack.training.prompts import NEGATIVE, POSITIVE, ROWS, WIDTH, prompt_vectors
from steadydancer_pack.training.world.store import HELD_OUT, skeletons

PACK = Path(__file__).resolve().parents[2]
MODEL, VAE = shipped("steadydancer_miniature.safetensors"), shipped("steadydancer_miniature_vae.safetensors")
PROMPTS = {name: shipped(f"steadydancer_miniature_{name}.safetensors") for name in ("positive", "negative")}
PHOTO, DANCE = shipped("steadydancer_sample.png"), shipped("steadydancer_sample_dance.mp4")
LARGE = ENLARGED * SIDE
OTHER_SQUARES = {64, 224, 640, 768}  # of H.265, CLIP vision, and the clips of the 14B model
POSE, POSE_NEGATIVE = (shipped(f"steadydancer_sample_pose{name}.mp4") for name in ("", "_negative"))


# --- model, VAE and prompts


def test_comfyui_recognises_the_model_and_loads_all_of_it():
    detection.register()
    shipped = load_file(MODEL)
    assert all(tensor.float().isfinite().all() for tensor in shipped.values())
    patcher = comfy.sd.load_diffusion_model(str(MODEL))
    assert type(patcher.model).__name__ == "SteadyDancer"
    model = patcher.model.diffusion_model
    assert (model.dim, len(model.blocks)) == (
        SHIPPED_SIZE.dim,
        SHIPPED_SIZE.layers,
    ) and model.num_heads * 128 == model.dim
    loaded, name = model.state_dict(), "condition_embedding_align.proj_p.weight"
    torch.testing.assert_close(loaded[name].float(), shipped[name].float(), atol=1e-3, rtol=1e-3)


def test_weights_and_prompts_are_small_and_name_their_license():
    assert sum(file.stat().st_size for file in (MODEL, VAE, *PROMPTS.values())) <= 10_000_000
    for file in (MODEL, VAE):
        with safe_open(file, framework="pt") as opened:
            assert opened.metadata()["license"] == "Apache-2.0"


@torch.inference_mode()
def test_the_vae_gives_the_photo_back():
    vae = comfy.sd.VAE(sd=load_file(VAE))
    vae.throw_exception_if_invalid()
    photo = sample.film(sample.answer().at(slice(1)), SIDE).frames
    photo = torch.from_numpy(photo).float() / 255
    latent = vae.encode(photo)
    assert (vae.decode(latent)[0].cpu() - photo).square().mean() < 10**-2.5  # a PSNR above 25 dB
    first = vae.encode(torch.cat([photo, torch.full((8, *photo.shape[1:]), 0.5)]))[:, :, :1]
    torch.testing.assert_close(first, latent, atol=1e-5, rtol=1e-5)  # causal: photo and first pose need no pass more


@pytest.mark.parametrize(("name", "words"), [("positive", POSITIVE), ("negative", NEGATIVE)])
def test_the_prompts_are_the_words_the_model_was_trained_with(name, words):
    ((cond, options),) = prompt_embeddings.load(PROMPTS[name])
    assert cond.shape == (1, ROWS, WIDTH) and options == {}
    torch.testing.assert_close(cond[0].float(), prompt_vectors(words), atol=1e-2, rtol=1e-2)


# --- the sample


def decode(file):
    """Return (frames [F, H, W, 3], frames per second, sound samples [S])."""
    with av.open(str(file)) as container:
        fps = container.streams.video[0].average_rate
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(file)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)] if container.streams.audio else []
    return frames, fps, np.concatenate(blocks or [np.zeros(0)])


def difference(found, want):
    return np.abs(found.astype(int) - want).mean()


@pytest.fixture(scope="module")
def dance():
    return decode(DANCE)


def test_the_photo_is_the_answers_first_frame_and_shrinks_to_it():
    photo = Image.open(PHOTO)
    assert photo.size == (LARGE, LARGE) and photo.mode == "RGB"
    pixels, first = np.array(photo), sample.answer().at(slice(1))
    assert difference(pixels, sample.photo()) < 0.1
    assert difference(pixels, sample.film(first, LARGE).frames[0]) < 3
    shrunk = 255 * fit_image(torch.from_numpy(pixels)[None].float() / 255, SIDE, SIDE)
    assert np.abs(shrunk.numpy() - sample.film(first, SIDE).frames).max() < 3


def test_every_text_says_how_large_its_frames_are():
    places = {"": "README.md", "docs": "**/*.md", "web/docs": "**/*.md", "tools/templates/notes": "*.md"}
    places |= {"locales": "**/*.json", "workflows": "*.json", "nodes": "**/*.py", "miniature/files": "README.md"}
    texts = [page.read_text("utf-8") for folder, names in places.items() for page in (PACK / folder).glob(names)]
    found = [re.findall(r"(?<!\d)(\d+)x\1(?!\d)", text) for text in texts]
    assert {int(side) for sides in found for side in sides} - OTHER_SQUARES == {SIDE, LARGE}


def test_the_driving_video_is_the_driver_with_a_rhythm(dance):
    frames, fps, sound = dance
    assert frames.shape == (161, LARGE, LARGE, 3) and fps == 16 and DANCE.stat().st_size < 400_000
    some = np.array([0, 40, 160])
    assert difference(frames[some], sample.film(sample.driver().at(some), LARGE).frames) < 2
    heard = sample.rhythm(161 / 16)[0]
    assert abs(len(sound) - len(heard)) <= 1024
    assert np.corrcoef(sound[: len(heard)], heard[: len(sound)])[0, 1] > 0.9


def test_photo_and_driver_are_two_people_in_two_places_and_were_not_trained_on():
    photo, driver = sample.answer(), sample.driver()
    assert photo.look != driver.look and photo.scene.wall != driver.scene.wall
    assert abs(photo.scene.feet_x - driver.scene.feet_x) > 0.1
    for part in ("leg", "head", "hips", "lower_arm"):
        assert abs(np.log(getattr(photo.body, part) / getattr(driver.body, part))) > 0.05, part
    for name, values in driver.motion.items():
        assert np.array_equal(values, photo.motion[name])
    assert min(sample.PHOTO_SEED, sample.DRIVER_SEED) >= HELD_OUT and sample.PHOTO_SEED != sample.DRIVER_SEED


def test_the_pose_clip_is_the_answers_skeleton_and_the_negative_one_is_silent_and_jitters():
    poses = sample.film(sample.answer().at(slice(sample.POSE_FRAMES)), SIDE).poses
    (frames, _, sound), (negative, _, silence) = clips = [decode(file) for file in (POSE, POSE_NEGATIVE)]
    assert all(pictures.shape == (33, LARGE, LARGE, 3) and fps == 16 for pictures, fps, _ in clips)
    blocks = 33, SIDE, ENLARGED, SIDE, ENLARGED, 3
    positive, negative = (one.reshape(blocks).mean(axis=(2, 4)) for one in (frames, negative))
    assert abs(len(sound) - 33 / 16 * 48000) <= 1024 and 0.1 < np.abs(sound).max() < 1
    assert difference(positive, skeletons(poses)) < 1 and difference(frames[8], frames[0]) > 2
    assert difference(negative, skeletons(augment(poses, sample.AUGMENT_SEED))) < 1
    assert difference(negative, skeletons(poses)) > 2 and len(silence) == 0


def test_the_bundled_detector_sees_both_figures_whole(dance):
    detector = BlazePose()
    some = np.arange(0, 161, 16)
    cases = (
        (dance[0][some], sample.film(sample.driver().at(some), SIDE).poses),
        (np.asarray(Image.open(PHOTO))[None], sample.film(sample.answer().at(slice(1)), SIDE).poses),
    )
    for frames, truth in cases:
        (found,), (true,) = extract(list(frames), detector).tracks, truth.tracks
        assert found.visible[:, BODY].all()
        distance = np.linalg.norm(found.points - true.points, axis=-1)
        assert np.median(distance[:, BODY]) < 0.03 and distance[:, NECK].max() < 0.06


# --- writing


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    base = tmp_path_factory.mktemp("written")
    return base, miniature.write_all(base / "models", base / "input")


def contents(base):
    return {str(p.relative_to(base)): (p.read_bytes(), p.stat().st_mtime_ns) for p in base.rglob("*") if p.is_file()}


def test_all_files_are_written_as_they_are_shipped_and_a_second_run_touches_nothing(written):
    base, paths = written
    found = sorted(path.relative_to(base).as_posix() for path in paths)
    samples = [f"input/steadydancer_sample{end}" for end in (".png", "_dance.mp4", "_pose.mp4", "_pose_negative.mp4")]
    models = ("diffusion_models/{}", "prompt_embeddings/{}_negative", "prompt_embeddings/{}_positive", "vae/{}_vae")
    assert found == samples + [f"models/{name.format('steadydancer_miniature')}.safetensors" for name in models]
    assert sorted(Path(name).as_posix() for name in contents(base)) == found
    assert all(path.read_bytes() == shipped(path.name).read_bytes() for path in paths)
    every = {file for file in SHIPPED.rglob("*") if file.is_file()} - {SHIPPED / "README.md"}
    assert every == {file.shipped for file in miniature.FILES}
    before = contents(base)
    assert miniature.write_all(base / "models", base / "input") == paths
    assert contents(base) == before


@pytest.mark.parametrize("name", ["steadydancer_sample.png", "steadydancer_sample_pose.mp4"])
def test_a_file_of_the_user_is_replaced_only_when_asked(name, written, tmp_path):
    (tmp_path / "input").mkdir()
    file = tmp_path / "input" / name
    file.write_bytes(shipped(name).read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{name}\. Nothing was written"):
        miniature.write_all(tmp_path / "models", tmp_path / "input")
    assert list(contents(tmp_path)) == [os.path.join("input", name)]
    miniature.write_all(tmp_path / "models", tmp_path / "input", overwrite=True)
    assert contents(tmp_path).keys() == contents(written[0]).keys()
    assert file.read_bytes() == shipped(name).read_bytes()


def test_a_failed_write_leaves_no_part(tmp_path, monkeypatch):
    monkeypatch.setattr(miniature, "FILES", [file for file in miniature.FILES if file.name.endswith(".png")])
    (tmp_path / "input").write_text("a file where a folder is needed")
    with pytest.raises(ValueError, match="could not be written"):
        miniature.write_files({"input": tmp_path / "input"})
    assert os.listdir(tmp_path) == ["input"]


def test_a_file_that_the_pack_lacks_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(miniature, "SHIPPED", tmp_path / "files")
    for file in miniature.FILES[:-1]:
        file.shipped.parent.mkdir(parents=True, exist_ok=True)
        file.shipped.write_bytes(b"any")
    with pytest.raises(ValueError, match=r"sample_dance\.mp4, a file of the pack, cannot be read: .* Install the pack"):
        miniature.write_all(tmp_path / "models", tmp_path / "input")
    assert sorted(os.listdir(tmp_path)) == ["files"]


def test_the_command_needs_neither_comfyui_nor_torch(written, tmp_path):
    modules = ("comfy", "comfy_api", "folder_paths", "torch", "numpy", "av")
    code = (
        "import sys; from comfy_client.in_process import use_pack; use_pack(); "
        "from steadydancer_pack.miniature.command import main; status = main(); "
        f"sys.exit(status or any(name in sys.modules for name in {modules}))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "models"), str(tmp_path / "input")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(command, cwd=PACK, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == len(miniature.FILES)
    assert "steadydancer_miniature_vae.safetensors (" in run.stdout
    found, want = ({name: data for name, (data, _) in contents(base).items()} for base in (tmp_path, written[0]))
    assert found == want


def test_the_node_writes_where_the_loaders_look(tmp_path, monkeypatch):
    own = {key: ([str(tmp_path / "models" / key)], set()) for key in ("vae", "prompt_embeddings")}
    own["diffusion_models"] = ([str(tmp_path / "models" / name) for name in ("unet", "diffusion_models")], set())
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", own)
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    first, again = (MakeMiniatureFiles.fingerprint_inputs(overwrite=False) for _ in range(2))
    assert first != again  # ComfyUI must not take the run for done
    (text,) = MakeMiniatureFiles.execute(overwrite=False).ui.as_dict()["text"]
    model = tmp_path / "models" / "diffusion_models" / "steadydancer_miniature.safetensors"
    assert model.is_file() and str(model) in text and "Press R" in text
    assert len(contents(tmp_path)) == len(miniature.FILES)
    first, again = (MakeMiniatureFiles.fingerprint_inputs(overwrite=False) for _ in range(2))
    assert first == again
    model.unlink()
    assert MakeMiniatureFiles.fingerprint_inputs(overwrite=False) != first
