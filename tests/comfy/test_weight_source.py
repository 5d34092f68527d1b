"""Files and folders of weights: what is read of them, and what is said of those that are not whole."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from steadydancer_pack.steadydancer_core.weights.weight_source import open_weights

INDEX = "diffusion_pytorch_model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
PARTS = (
    {"blocks.0.ffn.0.weight": torch.arange(6.0).reshape(2, 3), "blocks.0.norm.bias": torch.ones(3)},
    {"blocks.1.ffn.0.weight": torch.ones(2, 3), "head": torch.tensor(5.0), "none": torch.zeros(0, 4)},
)


def write_folder(folder, parts=PARTS, weight_map=None):
    folder.mkdir(exist_ok=True)
    for name, tensors in zip(SHARDS, parts, strict=True):
        save_file(tensors, folder / name, {"format": "pt"})
    if weight_map is None:
        weight_map = {key: name for name, tensors in zip(SHARDS, parts, strict=True) for key in tensors}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    return folder


FLOATS = torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2
INTEGERS = torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool


def test_a_private_view_is_the_tensor_and_never_the_file(tmp_path):
    fp8 = torch.arange(12.0).reshape(3, 4).to(torch.float8_e4m3fn)
    save_file({"a": torch.arange(6.0), "b": fp8}, tmp_path / "a.sft")
    before, source = (tmp_path / "a.sft").read_bytes(), open_weights(tmp_path / "a.sft")
    for name in "ab":
        assert torch.equal(source.map(name).double(), source.read(name).double())
    source.map("b").copy_(torch.zeros(3, 4))
    assert source.map("b").float().sum() == 66 and (tmp_path / "a.sft").read_bytes() == before


def test_a_file_is_read_as_safetensors_reads_it(tmp_path):
    tensors = {f"a{i}": torch.arange(12).reshape(3, 4).to(dtype) for i, dtype in enumerate((*FLOATS, *INTEGERS))}
    save_file(tensors, tmp_path / "a.sft", {"made": "here"})
    source, want = open_weights(tmp_path / "a.sft"), load_file(tmp_path / "a.sft")
    assert source.title == "a.sft" and source.paths == (tmp_path / "a.sft",) and source.metadata == {"made": "here"}
    assert set(source.tensors) == set(want)
    for name, tensor in want.items():
        info, found = source.tensors[name], source.read(name)
        assert (info.dtype, info.shape, info.nbytes) == (tensor.dtype, tuple(tensor.shape), tensor.nbytes)
        assert found.dtype == tensor.dtype and torch.equal(found.double(), tensor.double())


@pytest.mark.parametrize("by", ["folder", "index"])
def test_shards_are_one_model(tmp_path, by):
    folder = write_folder(tmp_path / "dancer")
    source = open_weights(folder if by == "folder" else folder / INDEX)
    assert source.title == ("dancer" if by == "folder" else INDEX)
    assert [path.name for path in source.paths] == list(SHARDS)
    assert {name: source.read(name).tolist() for name in source.tensors} == {
        name: tensor.tolist() for part in PARTS for name, tensor in part.items()
    }
    assert source.files["head"] == folder / SHARDS[1]


def no_shards(folder):
    for name in SHARDS:
        (folder / name).unlink()


def cut(folder):
    path = folder / SHARDS[1]
    path.write_bytes(path.read_bytes()[:-1])


def write_index(text):
    return lambda folder: (folder / INDEX).write_text(text)


def gigabyte(folder):
    with (folder / INDEX).open("r+b") as file:
        file.truncate(1 << 30)


def mapping(weight_map):
    return write_index(json.dumps({"weight_map": weight_map}))


def pointing_to(shard):
    return mapping({"head": shard})


def second_part(name, tensor=None):
    others = {key: value for key, value in PARTS[1].items() if key != name}
    part = others if tensor is None else {**others, name: tensor}
    return lambda folder: save_file(part, folder / SHARDS[1])


FAULTS = {
    "index alone": (no_shards, "only the table of contents of a model; none of its 2 files"),
    "a shard missing": (lambda f: (f / SHARDS[0]).unlink(), f"1 of the 2 files .* are missing: {SHARDS[0]}"),
    "a shard cut": (cut, f"{SHARDS[1]} is damaged or not complete: it has .* bytes"),
    "not JSON": (write_index("<html>"), "index.json is damaged .* not readable JSON"),
    "no table": (write_index("[]"), "its JSON is not a table"),
    "no map": (write_index("{}"), "no weight_map"),
    "odd map": (mapping({"head": 3}), "no weight_map"),
    "a name twice": (write_index('{"weight_map": {"head": "a", "head": "b"}}'), "appears in it twice"),
    "outside": (pointing_to("../other.safetensors"), "must be .safetensors files in the index's own folder"),
    "absolute": (pointing_to("/etc/other.safetensors"), "in the index's own folder"),
    "outside, Windows": (pointing_to("..\\other.safetensors"), "in the index's own folder"),
    "pickle": (pointing_to("pytorch_model.bin"), "must be .safetensors"),
    "a long file name": (pointing_to("a" * 201 + ".safetensors"), "name of a file in it is 213 characters long"),
    "1,001 files": (
        mapping({str(i): f"{i}.safetensors" for i in range(1001)}),
        "it lists 1001 files; no model has more than 1000",
    ),
    "too many names": (mapping(dict.fromkeys(range(50_001), "a.safetensors")), "it lists 50001 tensors"),
    "an index of a gigabyte": (gigabyte, "it lists more than 1000000 values or is longer than 16000000 bytes"),
    "30 files gone": (
        mapping({str(i): f"{i:02}.safetensors" for i in range(30)}),
        "none of its 30 files is beside it. Download 00.safetensors, .*, 19.safetensors and 10 more into",
    ),
    "not where said": (second_part("head"), "not belong together: head is not in model-00002-of-00002.safetensors"),
    "in two shards": (
        second_part("blocks.0.norm.bias", torch.ones(3)),
        "blocks.0.norm.bias is in model-00002-of-00002.safetensors, where the index does not put it",
    ),
    "other width": (
        second_part("blocks.1.ffn.0.weight", torch.ones(2, 4)),
        r"blocks.\*.ffn.0.weight is \[2, 3\] in one place and \[2, 4\]",
    ),
    "other precision": (
        second_part("blocks.1.ffn.0.weight", torch.ones(2, 3).half()),
        "is torch.float16 in one file and torch.float32 in another",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_shards_that_are_not_whole_are_named(tmp_path, fault):
    folder = write_folder(tmp_path / "dancer")
    spoil, message = FAULTS[fault]
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        open_weights(folder)


def test_a_folder_needs_one_index(tmp_path):
    with pytest.raises(ValueError, match="has 0 files that end in"):
        open_weights(tmp_path)
    write_folder(tmp_path)
    (tmp_path / "b.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="has 2 files that end in"):
        open_weights(tmp_path)


def header(text, data=b""):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4), names="a"):
    return {name: {"dtype": dtype, "shape": shape, "data_offsets": offsets} for name in names}


BYTES = {
    "empty": (b"", "header is cut off"),
    "a page": (b"<html>404 not found</html>", "header is cut off"),
    "cut header": (header(entry(), bytes(4))[:20], "header is cut off"),
    "no JSON": (header(b"{]"), "not readable JSON"),
    "deep JSON": (header(b"[" * 100_000), "not readable JSON"),
    "no table": (header(b"[1]"), "not a table"),
    "endless number": (header(b"[" + b"9" * 5000 + b"]"), "a number in it has 5000 digits"),
    "type no name": (header(entry(9), bytes(4)), "contradicts itself"),
    "entry no table": (header(b'{"a": 3}'), "entry of a cannot be read"),
    "wrong length": (header(entry(shape=(2,)), bytes(4)), "contradicts itself"),
    "negative": (header(entry(shape=(-1,), offsets=(4, 0)), bytes(4)), "contradicts itself"),
    "a gap": (header(entry(offsets=(4, 8)), bytes(8)), "does not follow"),
    "too long": (header(entry(), bytes(5)), "has .* bytes, its header speaks of"),
    "too short": (header(entry(), bytes(3)), "has .* bytes, its header speaks of"),
    "overlapping": (header(entry(names="ab"), bytes(4)), "b does not follow the tensor before it"),
    "a boolean for a number": (header(entry(shape=(True,)), bytes(4)), "contradicts itself"),
    "100,000 dimensions": (header(entry(shape=[2**63] * 100_000), bytes(4)), "a has 100000 dimensions"),
    "a header of 16 MB": (header(b"{" + b" " * 16_000_000), "its header is 16000001 bytes long"),
    "a million values": (header(b'{"a": [' + b"1," * 1_000_001), "it lists more than 1000000 values"),
    "too many tensors": (
        header(dict.fromkeys(range(50_001), 0)),
        "it lists 50001 tensors; no model has more than 50000",
    ),
    "a long name": (header({"a" * 1001: {}}), "a name in it is 1001 characters long"),
    "half a character in a name": (header(b'{"\\ud800": {}}'), "a string in it has half a character"),
    "a name of control characters": (header(b'{"\\u0007": {}}'), "a name in it has characters that cannot be shown"),
    "half a character": (header(b'{"__metadata__": {"a": "\\ud800"}}'), "a string in it has half a character"),
    "metadata no texts": (header(b'{"__metadata__": {"a": [1]}}'), "its metadata is not a table of strings"),
}


@pytest.mark.parametrize("case", BYTES)
def test_damaged_bytes_are_named_at_once(tmp_path, case):
    data, message = BYTES[case]
    (tmp_path / "a.safetensors").write_bytes(data)
    start = time.process_time()
    with pytest.raises(ValueError, match=f"a.safetensors is damaged or not complete: .*{message}") as caught:
        open_weights(tmp_path / "a.safetensors")
    assert time.process_time() - start < 1 and len(str(caught.value)) < 300


def test_a_tensor_without_values_lies_anywhere(tmp_path):
    empty = {name: entry(shape=(2, 0), offsets=(at, at))["a"] for name, at in (("first", 0), ("last", 4))}
    (tmp_path / "a.safetensors").write_bytes(header(entry() | empty, bytes(4)))
    source = open_weights(tmp_path / "a.safetensors")
    shapes = {name: list(source.map(name).shape) for name in source.tensors}
    assert shapes == {"first": [2, 0], "a": [1], "last": [2, 0]}


def test_an_unknown_kind_of_numbers_is_no_damage(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(header(entry("Q9"), bytes(4)))
    with pytest.raises(ValueError, match=r"a\.safetensors stores a as Q9, .* Choose an fp16, bf16 or fp8") as caught:
        open_weights(tmp_path / "a.safetensors")
    assert "damaged" not in str(caught.value) and "ownload" not in str(caught.value)


def test_a_file_cut_after_it_was_opened_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(8)}, path)
    source = open_weights(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="it ends 4 bytes too early"):
        source.read("a")
