"""Farm Fingerprint: servers with the same model files report the same, and any other content is seen."""

import json
import os

import folder_paths
import pytest

from steadydancer_pack.media import sampled_hash
from steadydancer_pack.nodes.fingerprint import Fingerprint


@pytest.fixture
def vae(tmp_path, monkeypatch):
    """A large file in ComfyUI's only VAE folder, of more pieces than are read."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "vae", ([str(tmp_path)], {".safetensors"}))
    file = tmp_path / "sub" / "v.safetensors"
    file.parent.mkdir()
    file.write_bytes(os.urandom(sampled_hash.PIECES * sampled_hash.PIECE * 2))
    return file


def report(*names):
    return json.loads(Fingerprint.execute(json.dumps(names)).args[0])


def test_other_contents_of_one_size_are_seen_and_other_names_and_times_are_not(vae):
    name = "sub/v.safetensors"
    first = report(name)
    os.utime(vae, (1, 1))
    assert report(name) == first and len(first["models"][name]) == 64 and first["pack_version"][0].isdigit()
    content = bytearray(vae.read_bytes())
    for place in (0, len(content) - 1):
        changed = content.copy()
        changed[place] ^= 1
        vae.write_bytes(changed)
        assert report(name)["fingerprint"] != first["fingerprint"]


def test_the_report_is_kept_while_size_and_time_are_the_same(vae):
    files = json.dumps(["sub/v.safetensors"])
    os.utime(vae, (1, 1))
    before = Fingerprint.fingerprint_inputs(files)
    assert Fingerprint.fingerprint_inputs(files) == before
    os.utime(vae, (2, 2))
    assert Fingerprint.fingerprint_inputs(files) != before


def test_a_file_that_is_in_no_folder_has_no_hash_and_none_outside_is_read(vae):
    outside = vae.parents[2] / "secret.safetensors"
    outside.write_bytes(b"secret")
    assert report("none.safetensors")["models"] == {"none.safetensors": ""}
    for name in ("../secret.safetensors", str(outside)):
        assert report(name)["models"] == {name: ""}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ("v.safetensors", "files must be a JSON list"),
        ('{"a": 1}', "JSON list"),
        ('["a.txt"]', "a.txt is no model file"),
    ],
)
def test_what_is_no_list_of_model_files_is_refused(files, words):
    with pytest.raises(ValueError, match=words):
        Fingerprint.execute(files)
    assert Fingerprint.fingerprint_inputs(files) == [files]
