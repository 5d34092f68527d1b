"""A prompt in a file: exact both ways, nothing but a prompt, and nothing left behind when it fails."""

import errno
import json
import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import folder_paths
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from steadydancer_pack.nodes import prompt as nodes
from steadydancer_pack.steadydancer_core.weights import prompt_embeddings
from steadydancer_pack.tests.together import meeting, together

SAVE, LOAD = nodes.SavePromptEmbeddings, nodes.LoadPromptEmbeddings


def embeddings(rows=7, full=512, channels=64, dtype=torch.float32):
    cond = torch.zeros(1, full, channels, dtype=dtype)
    cond[:, :rows] = torch.randn(1, rows, channels, generator=torch.Generator().manual_seed(0)).to(dtype)
    return cond


def assert_equal(found, wanted):
    assert len(found) == len(wanted)
    for (cond, extra), (wanted_cond, wanted_extra) in zip(found, wanted, strict=True):
        assert set(extra) == set(wanted_extra)
        pairs = [(cond, wanted_cond), *((extra[key], wanted_extra[key]) for key in wanted_extra)]
        for value, wanted_value in pairs:
            assert type(value) is type(wanted_value)
            if isinstance(value, torch.Tensor):
                assert value.dtype == wanted_value.dtype and torch.equal(value, wanted_value)
            else:
                assert value == wanted_value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The node's folder, registered but not there yet."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    nodes.register_folder()
    return tmp_path / "models" / "prompt_embeddings"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [0, 1, 7, 512])
def test_round_trip_is_exact(tmp_path, dtype, rows):
    conditioning = [[embeddings(rows, dtype=dtype), {"pooled_output": None}]]
    prompt_embeddings.save(conditioning, tmp_path / "a.safetensors")
    assert_equal(prompt_embeddings.load(tmp_path / "a.safetensors"), conditioning)


def test_every_entry_and_extra_comes_back_and_a_zero_row_within_the_prompt_stays(tmp_path):
    cond = embeddings(9)
    cond[:, 3:6] = 0
    prompt_embeddings.save([[cond, {}]], tmp_path / "a.safetensors")
    assert_equal(prompt_embeddings.load(tmp_path / "a.safetensors"), [[cond, {}]])
    cond = embeddings()
    extra = {
        "pooled_output": cond[:, 0],  # shares memory with the embeddings
        "attention_mask": torch.arange(512).lt(7)[None].long().expand(2, -1),
        "note": "caf\u00e9",
    }
    extra |= {"strength": 0.1, "clip_start_percent": 0, "flag": True, "nothing": None}
    conditioning = [[cond, extra], [embeddings(3, 77, 16, torch.float16), {}], [embeddings().expand(2, -1, -1), {}]]
    prompt_embeddings.save(conditioning, tmp_path / "a.safetensors")
    assert_equal(prompt_embeddings.load(tmp_path / "a.safetensors"), conditioning)


def test_the_format(tmp_path):
    path = tmp_path / "sub" / "a.safetensors"
    prompt_embeddings.save([[embeddings(), {"pooled_output": None, "attention_mask": torch.ones(1, 7)}]], path, "wave")
    with safe_open(path, framework="pt") as file:
        assert {name: file.get_tensor(name).shape for name in file.keys()} == {  # noqa: SIM118  not a dict
            "cond.0": (1, 7, 64),
            "attention_mask.0": (1, 7),
        }
        metadata = file.metadata()
    assert json.loads(metadata.pop("entries")) == [
        {"rows": 512, "tensors": ["attention_mask"], "values": {"pooled_output": None}}
    ]
    assert len(metadata.pop("checksum")) == 40
    assert metadata == {"format": "steadydancer_prompt_embeddings", "version": "1", "prompt": "wave"}
    assert path.stat().st_size < 7 * 64 * 4 + 1000


def test_a_flipped_bit_is_never_served(tmp_path):
    """Bits of the tensors, of the row count and of the values once came through."""
    path, conditioning = tmp_path / "a.safetensors", [[embeddings(1, 9, 2), {"strength": 0.25}]]
    prompt_embeddings.save(conditioning, path, "wave")
    stored = path.read_bytes()
    for place in range(8, len(stored)):
        path.write_bytes(stored[:place] + bytes([stored[place] ^ 1 << place % 8]) + stored[place + 1 :])
        try:
            found = prompt_embeddings.load(path)
        except ValueError:
            continue
        assert_equal(found, conditioning)  # the bit was in the name of the checksum


def test_files_without_a_checksum_are_still_read(tmp_path):
    path = tmp_path / "a.safetensors"
    prompt_embeddings.save([[embeddings(), {}]], path)
    with safe_open(path, framework="pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "checksum"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    save_file(tensors, path, metadata)
    assert_equal(prompt_embeddings.load(path), [[embeddings(), {}]])


def test_the_conditioning_is_not_changed(tmp_path):
    conditioning = [[embeddings(), {"pooled_output": torch.ones(1, 8)}]]
    before = [[conditioning[0][0].clone(), {"pooled_output": torch.ones(1, 8)}]]
    prompt_embeddings.save(conditioning, tmp_path / "a.safetensors")
    assert_equal(conditioning, before)


LATENT = torch.zeros(1, 16, 3, 8, 6)
MORE_THAN_A_PROMPT = {"concat_latent_image": LATENT, "pose_video_latent": LATENT, "concat_mask": LATENT[:, :1]}
MORE_THAN_A_PROMPT |= {"reference_latents": [LATENT[:, :, :1]], "cond": torch.zeros(1)}
MORE_THAN_A_PROMPT |= dict.fromkeys(("control", "hooks", "clip_vision_output"), object())


@pytest.mark.parametrize(("key", "value"), MORE_THAN_A_PROMPT.items())
def test_more_than_a_prompt_is_refused(tmp_path, key, value):
    conditioning = [[embeddings(), {"pooled_output": None, key: value}]]
    with pytest.raises(ValueError, match=rf"more than a prompt: {key}\. .* straight from CLIP Text Encode"):
        prompt_embeddings.save(conditioning, tmp_path / "sub" / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("conditioning", [[], [[torch.zeros(1, 4), {}]], [[None, {}]]])
def test_what_is_no_prompt_is_refused(tmp_path, conditioning):
    with pytest.raises(ValueError, match="straight from CLIP Text Encode"):
        prompt_embeddings.save(conditioning, tmp_path / "a.safetensors")


@pytest.mark.parametrize("call", ["replace", "write"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "a.safetensors"
    prompt_embeddings.save([[embeddings(1), {}]], path)
    before = path.read_bytes()

    def full_disk(target, *_):
        if call == "write":
            target.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"replace": (os, "replace"), "write": (type(path), "write_bytes")}[call], full_disk)
    with pytest.raises(ValueError, match=r"could not be saved as .*a\.safetensors: No space left"):
        prompt_embeddings.save([[embeddings(2), {}]], path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.safetensors"]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "sub").write_text("x")
    with pytest.raises(ValueError, match="could not be saved"):
        prompt_embeddings.save([[embeddings(), {}]], tmp_path / "sub" / "a.safetensors")


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "a"])
def test_other_formats_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="only .safetensors is loaded"):
        prompt_embeddings.load(tmp_path / name)


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        ("diffusion_model.blocks.0.ffn.0.lora_down.weight", "a LoRA"),
        ("decoder.middle.0.residual.0.gamma", "a Wan VAE"),
        ("cond.0", "an unknown file"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, tensor, kind):
    save_file({tensor: torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"a.safetensors is {kind}, not prompt embeddings"):
        prompt_embeddings.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: b"<html>404</html>", lambda data: b""])
def test_a_missing_or_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match=r"no file .*a\.safetensors"):
        prompt_embeddings.load(path)
    prompt_embeddings.save([[embeddings(), {}]], path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged or not complete"):
        prompt_embeddings.load(path)


def entries(count=1, **changes):
    return json.dumps([{"rows": 512, "tensors": [], "values": {}, **changes}] * count)


WRONG_ENTRIES = {
    "no entries": ("[]", "does not fit"),
    "no JSON": ("{", "does not fit"),
    "no list": ("[1]", "does not fit"),
    "an entry too many": (entries(2), "does not fit"),
    "a tensor too many": (entries(tensors=["x"]), "does not fit"),
    "too few rows": (entries(rows=3), "does not fit"),
    "a hundred million rows": (entries(rows=10**8), "100000000 rows .* more than any prompt has"),
    "many prompts of many rows": (entries(2, rows=10**6), "does not fit"),
    "rows no number": (entries(rows="9"), "does not fit"),
    "rows true": (entries(rows=True), "does not fit"),
    "a value no value": (entries(values={"a": [1]}), "a value in it is not plain"),
    "deep": ("[" * 100_000, "does not fit"),
    "long": (entries(tensors=["x" * 10_000]), r"does not fit its tensors \(.{,300}\)"),
    "no values": ('[{"rows": 7, "tensors": []}]', "does not fit"),
}
WRONG_FILES = {name: ((1, 7, 64), "1", *case) for name, case in WRONG_ENTRIES.items()}
WRONG_FILES["newer"] = ((1, 7, 64), "2", entries(), "version '2'; this pack reads version 1")
for shape in ((7, 64), (1, 7, 64, 1), (1, 0, 1 << 28)):
    WRONG_FILES[f"no prompt {shape}"] = (shape, "1", entries(), "does not fit its tensors")


@pytest.mark.parametrize(("shape", "version", "entries", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_wrong_metadata_and_tensors_that_are_no_prompt_are_refused(tmp_path, shape, version, entries, message):
    metadata = {"format": prompt_embeddings.FORMAT, "version": version, "entries": entries}
    save_file({"cond.0": torch.ones(shape)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ValueError, match=message):
        prompt_embeddings.load(tmp_path / "a.safetensors")


def test_what_could_not_be_loaded_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(prompt_embeddings, "MAX_PADDING", 505 * 64 * 4 - 1)
    with pytest.raises(ValueError, match="512 rows of .* more than any prompt has. Save the prompt straight from"):
        prompt_embeddings.save([[embeddings(7), {}]], tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def options():
    return LOAD.GET_NODE_INFO_V1()["input"]["required"]["file"][1]["options"]


def saved(folder):
    """Return the options that lie in `folder`; the pack's own prompts may be offered beside them."""
    return [name for name in options() if (folder / name).is_file()]


def test_the_nodes_give_the_prompt_back(folder):
    conditioning = [[embeddings(), {"pooled_output": None}]]
    assert not saved(folder) and not folder.exists()
    shown = SAVE.execute(conditioning, "dance/positive", "wave").ui.as_dict()
    assert shown == {"text": (str(folder / "dance" / "positive.safetensors"),)}
    assert saved(folder) == [os.path.join("dance", "positive.safetensors")]
    (loaded,) = LOAD.execute(saved(folder)[0]).result
    assert_equal(loaded, conditioning)


def test_the_schema_needs_no_registered_folder(monkeypatch):
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    assert options() == []


def test_the_folder_of_the_user_comes_first(folder, tmp_path):
    own = str(tmp_path / "own")
    folder_paths.folder_names_and_paths["prompt_embeddings"] = ([own], set())
    for _ in range(3):
        nodes.register_folder()
    assert folder_paths.folder_names_and_paths["prompt_embeddings"] == ([own, str(folder)], {".safetensors"})
    SAVE.execute([[embeddings(), {}]], "a")
    assert os.listdir(own) == ["a.safetensors"] and not folder.exists()


def test_of_two_that_save_one_name_together_one_is_refused(folder, monkeypatch):
    monkeypatch.setattr(prompt_embeddings, "to_bytes", meeting(prompt_embeddings.to_bytes))

    def save(value):
        try:
            SAVE.execute([[embeddings(value), {}]], "a")
        except ValueError as error:
            return str(error)
        return value

    found = together(lambda: save(1), lambda: save(2))
    (refusal,) = (answer for answer in found if isinstance(answer, str))
    (kept,) = (answer for answer in found if answer != refusal)
    assert "exists already. Choose another name, or switch overwrite on" in refusal
    assert_equal(LOAD.execute("a.safetensors").result[0], [[embeddings(kept), {}]])
    assert os.listdir(folder) == ["a.safetensors"]


def test_a_file_is_replaced_only_when_asked(folder):
    SAVE.execute([[embeddings(1), {}]], "a")
    before = LOAD.fingerprint_inputs("a.safetensors")
    with pytest.raises(ValueError, match="exists already"):
        SAVE.execute([[embeddings(2), {}]], "a.safetensors")
    assert LOAD.fingerprint_inputs("a.safetensors") == before
    os.utime(folder / "a.safetensors", (0, 0))
    SAVE.execute([[embeddings(2), {}]], "a", overwrite=True)
    assert LOAD.fingerprint_inputs("a.safetensors") != 0
    assert_equal(LOAD.execute("a.safetensors").result[0], [[embeddings(2), {}]])
    assert os.listdir(folder) == ["a.safetensors"]


NO_NAMES = "", "  ", ".", "/", ".safetensors", "a:b", "a\x00b", "a*"
ELSEWHERE = "../a", "..\\a", "x/../../a", ".. /a", "/a", "\\a", "C:\\a", "C:a", "\\\\host\\share\\a"


@pytest.mark.parametrize("name", [*NO_NAMES, *ELSEWHERE])
def test_a_name_outside_the_folder_is_refused(folder, name):
    with pytest.raises(ValueError, match="does not name a file inside models/prompt_embeddings"):
        SAVE.execute([[embeddings(), {}]], name)
    assert not folder.exists()


@pytest.mark.parametrize("file", ["gone.safetensors", "../../a.safetensors", "/a.safetensors"])
def test_only_files_in_the_folder_are_loaded(folder, tmp_path, file):
    prompt_embeddings.save([[embeddings(), {}]], tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="There is no"):
        LOAD.execute(file)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Only Linux lists what a process has mapped.")
def test_a_loaded_prompt_is_no_view_of_its_file(tmp_path):
    """Windows replaces no file that is mapped."""
    path = tmp_path / "a.safetensors"
    prompt_embeddings.save([[embeddings(), {"pooled_output": torch.ones(1, 64)}]], path)
    found = prompt_embeddings.load(path)
    assert str(path) not in Path("/proc/self/maps").read_text()
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(found[0][1]["pooled_output"], torch.ones(1, 64))


def test_each_tensor_is_read_once(tmp_path, monkeypatch):
    read = []

    @contextmanager
    def counting(path, framework):
        with safe_open(path, framework=framework) as file:
            yield SimpleNamespace(get_tensor=lambda name: read.append(name) or file.get_tensor(name))

    prompt_embeddings.save([[embeddings(), {"pooled_output": torch.ones(1, 64)}]], tmp_path / "a.safetensors")
    monkeypatch.setattr(prompt_embeddings, "safe_open", counting)
    prompt_embeddings.load(tmp_path / "a.safetensors")
    assert sorted(read) == ["cond.0", "pooled_output.0"]
