"""Frechet distances with known values, and networks in files: what they are fed, which ones are refused."""

import numpy as np
import onnx
import pytest
import torch
import torchvision
from onnx import helper
from safetensors.torch import save_file

from steadydancer_pack.dwpose.packages.pip_advice import install
from steadydancer_pack.evaluation import evaluate as evaluate_module
from steadydancer_pack.evaluation.body_keypoints import Keypoints
from steadydancer_pack.evaluation.evaluate import Case, evaluate
from steadydancer_pack.evaluation.feature_networks import ClipFeatures, PictureFeatures
from steadydancer_pack.evaluation.frechet import frechet_distance, gaussian_distance
from steadydancer_pack.evaluation.identity import identity_by_network
from steadydancer_pack.evaluation.lpips import Lpips
from steadydancer_pack.evaluation.metrics import NotMeasured


def mean_network(path, *shape):
    """Write an ONNX file whose features are the means of the channels of its input."""
    shapes = {"pixels": shape, "features": [None, 3]}
    ports = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)] for name, sizes in shapes.items()]
    node = helper.make_node("ReduceMean", ["pixels"], ["features"], axes=list(range(2, len(shape))), keepdims=0)
    graph = helper.make_graph([node], "means", *ports)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def clip_network(tmp_path):
    return ClipFeatures(mean_network(tmp_path / "clips.onnx", "n", 3, 4, 8, 6))


@pytest.fixture
def picture_network(tmp_path):
    return PictureFeatures(mean_network(tmp_path / "pictures.onnx", 1, 3, "h", "w"))


def save_as(path, tensors):
    save_file(tensors, path)
    return path


def test_gaussians_with_a_known_distance_and_ones_that_do_not_commute():
    """One axis: (m1 - m2)^2 + (s1 - s2)^2; of independent axes, the sum.

    tr (S1 S2)^(1/2) of 2 x 2 matrices is (tr S1 S2 + 2 (det S1 S2)^(1/2))^(1/2).
    """
    zero, a, b = np.zeros(3), np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 1.0])
    assert gaussian_distance(zero, a, zero, a) == pytest.approx(0, abs=1e-12)
    assert gaussian_distance(zero, a, zero, b) == pytest.approx(1 + 0 + 4)
    assert gaussian_distance(zero, a, np.array([3.0, 0, 4.0]), b) == pytest.approx(25 + 5)
    zero, a, b = np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([3.0, 1.0])
    expected = 4 + 4 - 2 * np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    assert gaussian_distance(zero, a, zero, b) == pytest.approx(expected)


def test_samples_of_fewer_than_their_features_and_one_that_has_no_covariance():
    samples = np.random.default_rng(0).normal(size=(4, 10))
    assert frechet_distance(samples, samples) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(samples, samples + 2.0) == pytest.approx(40)
    assert frechet_distance(samples, samples[::-1]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(NotMeasured, match="1 samples have no covariance; at least 2"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_a_clip_network_sees_overlapping_pieces_in_minus_1_to_1(clip_network):
    assert (clip_network.length, clip_network.size) == (4, (8, 6))
    frames = (torch.arange(9) / 10)[:, None, None, None].expand(9, 16, 16, 3)
    features = clip_network(frames)
    starts = np.array([0, 2, 4])  # of 9 frames: 0..3, 2..5, 4..7
    assert features == pytest.approx(np.tile((2 * (starts + 1.5) / 10 - 1)[:, None], 3), abs=1e-6)
    assert clip_network(frames[:3]).shape == (0, 0)


def test_fvd_of_a_brighter_clip_is_the_square_of_the_shift(clip_network):
    truth = torch.rand(12, 16, 16, 3, generator=torch.Generator().manual_seed(0)) / 2
    case = Case(truth + 0.25, ground_truth=truth, clips=clip_network)
    result = evaluate(case)
    assert result.values["fvd"] == pytest.approx(3 * 0.5**2, abs=1e-5)
    assert "FVD: 5 pieces of 4 frames of one clip; use it to rank only." in result.notes
    short = evaluate(Case(truth[:5], ground_truth=truth[:5], clips=clip_network))
    assert "FVD: not measured: 1 samples have no covariance; at least 2 are needed." in short.notes


def test_a_picture_network_sees_the_person(picture_network):
    assert picture_network.size == (224, 224)
    frames = torch.zeros(3, 32, 32, 3)
    frames[:, 8:24, 8:24] = torch.tensor([1.0, 0.5, 0.5])
    frames[1, 8:24, 8:24] = torch.tensor([0.0, 0.5, 0.5])
    corners = np.array([(0.4, 0.4), (0.6, 0.6)])  # with the margin still inside the square
    keypoints = Keypoints(np.tile(corners, (3, 1, 1)), np.array([[True] * 2, [True] * 2, [False] * 2]))
    scores = identity_by_network(frames, frames[:1], picture_network, keypoints)
    assert scores[:2] == pytest.approx([1.0, -1.0], abs=1e-5) and np.isnan(scores[2])
    values = evaluate(Case(frames, poses=keypoints, pictures=picture_network)).values
    assert values["identity"] == pytest.approx(0.0, abs=1e-5) and values["identity_lowest"] == pytest.approx(-1.0)


def test_a_picture_network_without_a_person_in_frame_0_is_not_asked(picture_network):
    keypoints = Keypoints(np.tile([[0.25, 0.25], [0.75, 0.75]], (3, 1, 1)), np.array([[False] * 2, *[[True] * 2] * 2]))
    result = evaluate(Case(torch.rand(3, 16, 16, 3), poses=keypoints, pictures=picture_network))
    assert "identity" not in result.values
    assert "Identity: not measured: nobody is seen in frame 0 and again later." in result.notes


@pytest.mark.parametrize(("kind", "shape"), [(ClipFeatures, (1, 3, 8, 8)), (PictureFeatures, (1, 3, 4, 8, 8))])
def test_a_network_for_something_else_is_refused(tmp_path, kind, shape):
    with pytest.raises(ValueError, match="needed is one input"):
        kind(mean_network(tmp_path / "other.onnx", *shape))


@pytest.fixture(scope="module")
def alexnet():
    torch.manual_seed(0)
    return torchvision.models.alexnet(weights=None).eval()


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


def test_lpips_with_a_backbone_from_a_file(tmp_path, alexnet, offline):
    lpips = Lpips(save_as(tmp_path / "alexnet.safetensors", alexnet.state_dict()))
    clip = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    assert lpips.net == "alex"
    assert lpips(clip, clip).tolist() == [0.0, 0.0]
    near, far = (lpips((clip + offset * torch.randn(clip.shape)).clamp(0, 1), clip) for offset in (0.02, 0.5))
    assert (near > 0).all() and (far > near).all()
    pixels = clip.movedim(-1, 1)
    with torch.inference_mode():
        layers, expected = lpips.model.net(pixels), alexnet.features[:12](pixels)
    assert torch.equal(layers[-1], expected)
    values = evaluate(Case(clip, photo=clip[:1], ground_truth=clip, lpips=lpips)).values
    assert values["first_frame_lpips"] == values["truth_lpips"] == 0.0
    with pytest.raises(NotMeasured, match="16x16 are smaller than 32x32"):
        lpips(clip[:, :16, :16], clip[:, :16, :16])


def test_without_torchmetrics_all_but_lpips_is_measured_and_the_log_says_at_once_how_to_add_it(
    tmp_path, alexnet, forget, monkeypatch, caplog
):
    forget("torchmetrics")
    lpips = Lpips(save_as(tmp_path / "alexnet.safetensors", alexnet.state_dict()))
    clip = torch.full((3, 32, 32, 3), 0.5)
    assert evaluate(Case(clip, ground_truth=clip)).values["truth_ssim"] == 1.0 and "torchmetrics" not in caplog.text
    said = []
    monkeypatch.setattr(evaluate_module, "frame_psnr", lambda *_: said.append(caplog.text) or torch.zeros(3))
    result = evaluate(Case(clip, ground_truth=clip, lpips=lpips))
    assert result.values["flicker"] == 1.0 and "truth_lpips" not in result.values
    command = f"Run in a terminal:\n{install('torchmetrics')}\nand restart ComfyUI."
    assert f"SteadyDancer: torchmetrics is not installed. {command}" in said[0]
    assert result.notes[0] == f"torchmetrics is not installed. {command}"
    assert "LPIPS against the ground truth: not measured: torchmetrics is not installed." in result.notes


@pytest.mark.parametrize("net", ["vgg", "squeeze"])
def test_the_other_backbones_are_known_by_their_shapes(tmp_path, offline, net):
    make = {"vgg": torchvision.models.vgg16, "squeeze": torchvision.models.squeezenet1_1}[net]
    with torch.device("meta"):
        shapes = make(weights=None).features.state_dict()
    weights = {f"features.{key}": torch.zeros(value.shape, dtype=torch.float16) for key, value in shapes.items()}
    assert Lpips(save_as(tmp_path / "net.safetensors", weights)).net == net


def test_a_file_without_a_backbone_is_refused(tmp_path, alexnet):
    torn = {key: value for key, value in alexnet.state_dict().items() if key != "features.3.bias"}
    save_as(tmp_path / "torn.safetensors", torn)
    save_as(tmp_path / "other.safetensors", {"blocks.0.weight": torch.zeros(1)})
    (tmp_path / "text.safetensors").write_text("nothing")
    refused = {"other": "other.safetensors holds no backbone for LPIPS", "torn": "lacks features.3.bias"}
    for name, words in (refused | {"text": "no safetensors file that can be read"}).items():
        with pytest.raises(ValueError, match=words):
            Lpips(tmp_path / f"{name}.safetensors")
