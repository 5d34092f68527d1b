"""GGUF files: their headers, and what is said where ComfyUI-GGUF would fail. test_weight_formats loads them."""

import struct
import time

import folder_paths
import pytest
import torch

from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.nodes.common.steadydancer_files import model_files
from steadydancer_pack.nodes.model import LoadModel
from steadydancer_pack.steadydancer_core.weights.checkpoint import check_file
from steadydancer_pack.steadydancer_core.weights.gguf_header import read_gguf_header, recipe_of
from steadydancer_pack.steadydancer_core.weights.weight_formats import describe
from steadydancer_pack.tests.model_files import diffusers, prefixed, write_gguf

SOME = {"a.weight": torch.ones(3, 64), "b": torch.ones(2, 1, 1, 3, 5), "c": torch.tensor([1.0])}
CONVOLUTION = "patch_embedding_fuse.weight"


@pytest.fixture(scope="module")
def weights():
    return steadydancer_state_dict()


def test_a_header_is_read(tmp_path):
    header = read_gguf_header(write_gguf(tmp_path / "a.gguf", SOME, "Q8_0", {"general.name": "Dancer", "wan.x": 3}))
    assert {name: (t.type, t.shape, t.nbytes) for name, t in header.tensors.items()} == {
        "a.weight": ("Q8_0", (3, 64), 3 * 2 * 34),
        "b": ("F32", (2, 1, 1, 3, 5), 120),
        "c": ("F32", (1,), 4),
    }
    assert header.facts == {"general.architecture": "wan", "general.name": "Dancer"}


@pytest.mark.parametrize(("file_type", "recipe"), [(15, "Q4_K_M"), (14, "Q4_K_S"), (17, "Q5_K_M"), (7, "Q8_0")])
def test_the_recipe_is_named(tmp_path, file_type, recipe):
    header = read_gguf_header(write_gguf(tmp_path / "a.gguf", SOME, "Q8_0", {"general.file_type": file_type}))
    assert recipe_of(header) == recipe


def values(*rows):
    """Return a GGUF header of facts: key, type number, packed value."""
    text = b"".join(struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + data for key, kind, data in rows)
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(rows)) + text


def test_facts_of_every_type_are_passed_over_also_a_whole_vocabulary(tmp_path):
    word = struct.pack("<Q", 2) + b"hi"
    rows = [(b"x", kind, bytes(size)) for kind, size in ((0, 1), (3, 2), (5, 4), (6, 4), (7, 1), (10, 8), (12, 8))]
    rows += [(b"x", 9, struct.pack("<IQ", 8, 2) + word * 2), (b"x", 9, struct.pack("<IQ", 5, 3) + bytes(12))]
    rows += [(b"general.tags", 9, struct.pack("<IQ", 8, 2) + word * 2)]
    rows += [(b"comfy.gguf.orig_shape.a", 9, struct.pack("<IQ3i", 5, 3, 4, 5, 6))]
    (tmp_path / "a.gguf").write_bytes(values(*rows))
    facts = read_gguf_header(tmp_path / "a.gguf").facts
    assert facts == {"general.tags": ["hi", "hi"], "comfy.gguf.orig_shape.a": [4, 5, 6]}
    # Gemma's vocabulary, the largest in use: 262,144 words and 514,906 merges
    rows = [(b"tokenizer.ggml.x", 9, struct.pack("<IQ", 8, count) + word * count) for count in (262_144, 514_906)]
    (tmp_path / "a.gguf").write_bytes(values(*rows))
    assert read_gguf_header(tmp_path / "a.gguf").facts == {}


def tensor(kind=0, dimensions=1):
    return struct.pack("<4sIQQQ1sI", b"GGUF", 3, 1, 0, 1, b"a", dimensions) + struct.pack("<QIQ", 1, kind, 0)


def tensors(*rows, shape=None):
    """Return a GGUF file of one F32 for each (name, offset), with a `shape` (type of numbers, numbers) noted for a."""
    text = b""
    if shape:
        packed = struct.pack(f"<{len(shape[1])}i", *shape[1])
        text = values((b"comfy.gguf.orig_shape.a", 9, struct.pack("<IQ", shape[0], len(shape[1])) + packed))[24:]
    text = struct.pack("<4sIQQ", b"GGUF", 3, len(rows), int(bool(shape))) + text
    for name, offset in rows:
        text += struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, 1, 0, offset)
    return text + bytes(100)


BYTES = {
    "empty": (b"", "header is cut off"),
    "a page": (b"<html>404 not found, and some more text</html>", "does not begin as a GGUF"),
    "old": (struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), "GGUF version 1; versions 2 and 3"),
    "too many": (struct.pack("<4sIQQ", b"GGUF", 3, 1 << 40, 0), "lists 1099511627776 tensors"),
    "long name": (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 1 << 40), "name in its header is 1099511627776 bytes"),
    "cut name": (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 8) + b"gen", "header is cut off"),
    "no UTF-8": (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 1) + b"\xff", "header is cut off"),
    "odd value": (values((b"x", 77, b"")), "unknown type 77"),
    "odd list": (values((b"x", 9, struct.pack("<IQ", 9, 1))), "list of the unknown type 9"),
    "endless list": (values((b"x", 9, struct.pack("<IQ", 10, 1 << 60))), "list of 1152921504606846976 values"),
    "alignment": (values((b"general.alignment", 4, bytes(4))), "data is aligned to 0"),
    "odd alignment": (values((b"general.alignment", 8, struct.pack("<Q", 1) + b"x")), "data is aligned to x"),
    "odd type": (tensor(kind=99), "unknown GGUF type 99"),
    "dimensions": (tensor(dimensions=1 << 30), "has 1073741824 dimensions"),
    "no data": (tensor(), "has 57 bytes, its header speaks of 68"),
    "too many facts": (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 20), "lists 1048576 metadata keys"),
    "a list of all that is kept": (values((b"general.x", 9, struct.pack("<IQ", 0, 1025))), "list of 1025 values"),
    "endless texts": (values((b"x", 9, struct.pack("<IQ", 8, 1 << 60))), "list of 1152921504606846976 values"),
    "too many texts": (values((b"x", 9, struct.pack("<IQ", 8, 1 << 20) + bytes(8 << 20))), "more than 1048576 strings"),
    "endless text": (values((b"x", 8, struct.pack("<Q", (1 << 64) - 1))), "a string of 18446744073709551615 bytes"),
    "cut text": (values((b"x", 8, struct.pack("<Q", 30) + b"hi")), "has 47 bytes, its header speaks of 75"),
    "a list of lists": (values((b"x", 9, struct.pack("<IQ", 9, 1 << 40) * 1000)), "list of the unknown type 9"),
    "a fact twice": (values(*[(b"general.x", 0, b"1")] * 2), "a name appears in it twice"),
    "a tensor twice": (tensors((b"a", 0), (b"a", 4)), "a name appears in it twice"),
    "overlapping": (tensors((b"a", 0), (b"b", 2)), "b overlaps the tensor before it"),
    "far away": (tensors((b"a", 0), (b"b", (1 << 64) - 1)), "header speaks of 1844674407370955"),
    "part of a block": (tensor(kind=8) + bytes(99), "the shape of a contradicts itself"),
    "another shape": (tensors((b"a", 0), shape=(5, (3, 2))), "the shape of a contradicts itself"),
    "a negative shape": (tensors((b"a", 0), shape=(5, (-1, -1))), "the shape of a contradicts itself"),
    "a shape of fractions": (tensors((b"a", 0), shape=(6, (0, 0))), "the shape of a contradicts itself"),
    "a long name": (tensors((b"a" * 1001, 0)), "a name in it is 1001 characters long"),
}


@pytest.mark.parametrize("case", BYTES)
def test_damaged_bytes_are_named_at_once(tmp_path, case):
    data, message = BYTES[case]
    (tmp_path / "a.gguf").write_bytes(data)
    start = time.process_time()
    with pytest.raises(ValueError, match=f"a.gguf .*{message}") as caught:
        read_gguf_header(tmp_path / "a.gguf")
    assert time.process_time() - start < 2 and len(str(caught.value)) < 300


def test_every_cut_is_noticed(tmp_path):
    data = write_gguf(tmp_path / "a.gguf", SOME, "Q8_0").read_bytes()
    for length in range(len(data) - 28):  # the last 28 bytes pad the last tensor
        (tmp_path / "a.gguf").write_bytes(data[:length])
        with pytest.raises(ValueError, match="a.gguf is damaged or not complete"):
            read_gguf_header(tmp_path / "a.gguf")


def without(*names):
    return lambda weights: {name: weight for name, weight in weights.items() if name not in names}


def flattened(weights):
    return weights | {CONVOLUTION: weights[CONVOLUTION].flatten(1)}


FAULTS = {
    "no 5-D": (without(CONVOLUTION), f"is SteadyDancer without {CONVOLUTION}. .*fix_5d_tensor in its name"),
    "no 5-D of plain Wan": (without("patch_embedding.weight"), "without patch_embedding.weight. .*fix_5d_tensor"),
    "flattened": (flattened, r"patch_embedding_fuse.weight flattened to \[128, 272\]. .*fix_5d_tensor"),
    "diffusers": (diffusers, "GGUF file with diffusers names, which ComfyUI-GGUF does not know"),
    "pose cut": (without("patch_embedding_fuse.bias"), "1 of 42 pose tensors are missing: patch_embedding_fuse.bias"),
    "plain Wan": (
        lambda w: {name: t for name, t in w.items() if not name.startswith(("condition", "patch_embedding_"))},
        "is a plain Wan image-to-video model, not SteadyDancer",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_files_that_would_not_load_are_named(weights, tmp_path, fault):
    change, message = FAULTS[fault]
    with pytest.raises(ValueError, match=message):
        check_file(write_gguf(tmp_path / "a.gguf", change(weights)))


def test_a_convolution_in_another_type_is_named(weights, tmp_path):
    path = write_gguf(tmp_path / "a.gguf", weights)
    data, at = path.read_bytes(), path.read_bytes().index(CONVOLUTION.encode()) + len(CONVOLUTION) + 4 + 5 * 8
    path.write_bytes(data[:at] + struct.pack("<I", 30) + data[at + 4 :])
    with pytest.raises(ValueError, match=f"holds {CONVOLUTION} as BF16, not as F16 or F32"):
        check_file(path)


def test_a_prefix_hides_nothing(weights, tmp_path):
    contents = check_file(write_gguf(tmp_path / "a.gguf", prefixed(weights), "Q8_0", {"general.file_type": 15}))
    assert describe(contents).startswith("a.gguf: SteadyDancer with 2 blocks of width 128, GGUF Q4_K_M, 129 tensors")


def test_without_the_pack_its_name_is_told_and_a_precision_is_refused(weights, models_folder):
    write_gguf(models_folder / "a.gguf", weights)
    assert model_files() == ["a.gguf"]
    with pytest.raises(ValueError, match="Install ComfyUI-GGUF through ComfyUI-Manager"):
        LoadModel.execute("a.gguf", "default")
    with pytest.raises(ValueError, match="weight_precision is fp16, but a.gguf is a GGUF file"):
        LoadModel.execute("a.gguf", "fp16")


def test_a_folder_that_the_pack_does_not_search(weights, models_folder, tmp_path_factory, monkeypatch):
    import nodes

    other = tmp_path_factory.mktemp("unet_gguf")
    write_gguf(other / "a.gguf", weights)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "unet_gguf", ([str(other)], {".gguf"}))
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "UnetLoaderGGUF", object)
    assert model_files() == ["a.gguf"]
    with pytest.raises(ValueError, match="looks for a.gguf in models/diffusion_models only"):
        LoadModel.execute("a.gguf", "default")
