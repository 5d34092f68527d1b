"""Reconcile Conditions: sizes, what each condition carries, and what is refused before any work is done."""

from types import SimpleNamespace

import comfy.clip_vision
import numpy as np
import pytest
import torch
from comfy.ldm.wan.vae import WanVAE
from PIL import Image

from steadydancer_pack.dwpose.draw import draw_clip, draw_person
from steadydancer_pack.dwpose.poses import PoseClip
from steadydancer_pack.media.frame_size import default_size, valid_length
from steadydancer_pack.media.frames import blank_video, clip_pixels, fit_image
from steadydancer_pack.nodes.conditioning import ReconcileConditions
from steadydancer_pack.steadydancer_core.sampling import conditions
from steadydancer_pack.tests.pure.test_pose_golden import CASES, track

TEXT = [[torch.zeros(1, 512, 64), {}]]
NEGATIVE = [[torch.ones(1, 512, 64), {}]]


class FakeVAE:
    """A Wan 2.1 VAE in shapes: [F, H, W, 3] -> [1, 16, (F + 3) // 4, H / 8, W / 8], the mean of each frame."""

    latent_channels, first_stage_model = 16, WanVAE.__new__(WanVAE)

    def __init__(self):
        self.encoded = []

    def encode(self, pixels):
        self.encoded.append(pixels)
        frames, height, width = pixels.shape[:3]
        values = pixels[::4].mean(dim=(1, 2, 3)).view(1, 1, -1, 1, 1)
        return values.expand(1, 16, (frames + 3) // 4, height // 8, width // 8)


class FakeClipVision:
    def __init__(self, width=1280, tokens=257):
        self.shape, self.seen = (1, tokens, width), []

    def encode_image(self, image, crop):
        self.seen.append((image, crop))
        output = comfy.clip_vision.Output()
        output.penultimate_hidden_states = torch.full(self.shape, float(image.mean()))
        return output


@pytest.fixture(scope="module")
def clip_h():
    """ComfyUI's own CLIP vision model, two layers deep, with weights made up."""
    layers = {"num_hidden_layers": 2, "num_attention_heads": 16, "intermediate_size": 64, "hidden_act": "gelu"}
    images = {"image_size": 224, "patch_size": 14, "num_channels": 3, "projection_dim": 16}
    config = {"model_type": "clip_vision_model", "hidden_size": 1280, **layers, **images}
    model = comfy.clip_vision.ClipVisionModel(config)
    for parameter in model.model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture
def material():
    generator = torch.Generator().manual_seed(0)
    return {
        "photo": torch.rand(1, 96, 64, 3, generator=generator),
        "pose": torch.rand(21, 96, 64, 3, generator=generator),
        "pose_negative": torch.rand(21, 96, 64, 3, generator=generator),
    }


def reconcile(material, vae=None, **kwargs):
    arguments = {"width": 64, "height": 96, "length": 9, **({"vae": vae or FakeVAE()} | material), **kwargs}
    return conditions.reconcile(TEXT, NEGATIVE, **arguments)


def values(conditioning):
    ((tensor, cond),) = conditioning
    return tensor, cond


def test_the_three_conditions_differ_only_where_they_must(material):
    result = reconcile(material, clip_vision=FakeClipVision())
    (text, positive), (negative_text, negative), (same_text, pose_negative) = map(values, result[:3])
    assert text is same_text and text is not negative_text
    assert positive.keys() == negative.keys() == pose_negative.keys()
    shared = [key for key in positive if positive[key] is pose_negative[key]]
    assert sorted(set(positive) - set(shared)) == ["pose_video_latent"]
    assert positive["pose_video_latent"] is negative["pose_video_latent"]
    assert TEXT[0][1] == {}


def test_shapes_masks_first_frames_and_what_the_vae_encodes(material):
    """The photo and gray behind it, and each clip once."""
    vae = FakeVAE()
    result = reconcile(material, vae)
    _, cond = values(result.positive)
    assert cond["concat_latent_image"].shape == cond["pose_video_latent"].shape == (1, 16, 3, 12, 8)
    assert cond["concat_mask"][:, :, 0].eq(0).all() and cond["concat_mask"][:, :, 1:].eq(1).all()
    assert torch.equal(cond["reference_pose_latent"], cond["pose_video_latent"][:, :, :1])
    photo, pose, negative = vae.encoded
    assert torch.equal(photo[0], material["photo"][0]) and photo[1:].eq(0.5).all()
    assert torch.equal(pose, material["pose"][:9]) and torch.equal(negative, material["pose_negative"][:9])
    assert result.latent["samples"].shape == (1, 16, 3, 12, 8) and not result.latent["samples"].any()


class SmallVAE:
    """A Wan 2.1 VAE of made-up weights, an eighth as wide or less. encoded: how many frames it was given."""

    def __init__(self):
        self.network, self.encoded = WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True]).eval(), []
        for parameter in self.network.parameters():
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)

    @torch.inference_mode()
    def encode(self, pixels):
        self.encoded.append(len(pixels))
        return self.network.encode(2 * pixels.movedim(-1, 0)[None] - 1)


@pytest.mark.parametrize(
    ("known", "length", "encoded"),
    [(1, 133, 125), (1, 137, 121), (9, 141, 133), (1, 9, 9)],
)
def test_gray_behind_the_known_frames_is_encoded_as_far_as_they_reach(known, length, encoded):
    vae, frames = SmallVAE(), torch.rand(known, 16, 16, 3)
    latent = conditions.encode_known(vae, frames, length)
    assert torch.equal(latent, vae.encode(blank_video(frames, length)))
    assert vae.encoded == [encoded, length]


def test_clip_vision_gets_photo_and_first_pose_whole(material):
    clip = FakeClipVision()
    reconcile(material, clip_vision=clip, width=32, height=48)
    (photo, crop), (pose, _) = clip.seen
    assert crop is False
    assert torch.equal(photo, clip_pixels(material["photo"])) and torch.equal(pose, clip_pixels(material["pose"][:1]))


def official_clip_pixels(image, size=None):
    """Return uint8 [H, W, 3] as the official code gives it to CLIP, in 0..1; `size` is that of the photo."""
    picture = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) if size else Image.fromarray(image)
    pixels = torch.from_numpy(np.asarray(picture) / np.float32(127.5) - 1).movedim(-1, 0)[None]
    return torch.nn.functional.interpolate(pixels, size=(224, 224), mode="bicubic") / 2 + 0.5


def relative_error(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


OFFICIAL_SCALE = 2  # official skeletons are drawn at twice the video's size; Draw Poses halves them


@pytest.mark.parametrize(
    ("photo_width", "pose_scale", "bound"),
    [
        (512, 1, 0.2),
        (624, 1, 0.2),
        (1060, 1, 0.2),
        (1248, 1, 0.25),  # nothing is resized officially, so what halving the lines took away is missing
        (1248, OFFICIAL_SCALE, 0.06),  # what ComfyUI clamps to 0..1
    ],
)
def test_the_pixels_that_enter_clip_are_the_official_ones(dancer, clip_h, photo_width, pose_scale, bound):
    photo_size = photo_width, photo_width * 928 // 624
    photo = np.array(Image.fromarray(dancer).resize(photo_size, Image.Resampling.BICUBIC))
    dance = track(CASES["full"]["aligned_poses"])
    clip = PoseClip(624, 928, len(dance.points), (dance,))
    official_pose = np.zeros((1856, 1248, 3), np.uint8)
    draw_person(official_pose, dance, 0)
    first_pose = official_pose if pose_scale == OFFICIAL_SCALE else next(draw_clip(clip, 624, 928))
    pose = torch.from_numpy(first_pose).expand(5, -1, -1, -1) / 255
    seen = []
    hook = clip_h.model.register_forward_pre_hook(lambda *call: seen.append(call[2]["pixel_values"]), with_kwargs=True)
    material = {"photo": torch.from_numpy(photo)[None] / 255, "pose": pose}
    reconcile(material, width=624, height=928, length=5, clip_vision=clip_h)
    hook.remove()
    wanted = official_clip_pixels(photo), official_clip_pixels(official_pose, photo_size)
    assert relative_error(seen[0], (wanted[0] - CLIP_MEAN) / CLIP_STD) <= 0.02
    # black is 0: the skeleton alone counts
    assert relative_error(seen[1] * CLIP_STD + CLIP_MEAN, wanted[1]) <= bound


def test_comfyuis_clip_h_gives_the_features_that_stock_nodes_can_give(material, clip_h):
    """As the help page says: Upscale Image, bicubic to 224x224, before CLIP Vision Encode with crop none."""
    import nodes

    _, cond = values(reconcile(material, clip_vision=clip_h).positive)
    photo, pose = (cond[key].penultimate_hidden_states for key in ("clip_vision_output", "pose_clip_vision_output"))
    assert photo.shape == pose.shape == (1, 257, 1280) and photo.any() and not torch.equal(photo, pose)
    (scaled,) = nodes.ImageScale().upscale(material["photo"], "bicubic", 224, 224, "disabled")
    (output,) = nodes.CLIPVisionEncode().encode(clip_h, scaled, "none")
    assert torch.equal(output.penultimate_hidden_states, photo)


def test_without_clip_the_features_are_zero_and_without_pose_negative_frames_there_is_no_third_condition(material):
    result = reconcile(material | {"pose_negative": None})
    _, cond = values(result.positive)
    for key in ("clip_vision_output", "pose_clip_vision_output"):
        assert cond[key].penultimate_hidden_states.shape == (1, 257, 1280)
        assert not cond[key].penultimate_hidden_states.any()
    assert any("clip_vision_h.safetensors" in note for note in result.notes) and result.pose_negative is None


@pytest.mark.parametrize(
    ("photo", "size"),
    [((1024, 576), (1024, 576)), ((576, 1024), (576, 1024)), ((1000, 1000), (768, 768)), ((512, 2048), (384, 1536))],
)
def test_the_default_size_keeps_the_aspect_at_1024x576_area(photo, size):
    assert default_size(*photo) == size


@pytest.mark.parametrize(
    ("width", "height", "chosen"), [(64, 96, (64, 96)), (0, 96, (64, 96)), (70, 0, (64, 96)), (33, 50, (32, 48))]
)
def test_a_given_size_is_brought_to_multiples_of_16(material, width, height, chosen):
    result = reconcile(material, width=width, height=height)
    assert result.latent["samples"].shape[3:] == (chosen[1] // 8, chosen[0] // 8)
    assert any("multiples of 16" in note for note in result.notes) == ((width, height) not in [(64, 96), (0, 96)])


@pytest.mark.parametrize(("length", "chosen"), [(5, 5), (8, 5), (9, 9), (20, 17), (21, 21), (81, 21)])
def test_the_length_is_brought_to_4n_plus_1_and_said(material, length, chosen):
    result = reconcile(material, length=length)
    assert valid_length(chosen) == chosen == result.latent["samples"].shape[2] * 4 - 3
    assert any("length" in note for note in result.notes) == (length != chosen)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_rgba_images(material, channels):
    photo = torch.rand(1, 96, 64, channels)
    vae = FakeVAE()
    reconcile(material | {"photo": photo}, vae)
    assert torch.equal(vae.encoded[0][:1], photo[..., :3].expand(-1, -1, -1, 3))


def test_odd_sized_images_fit(material):
    photo, pose = torch.rand(1, 97, 65, 3), torch.rand(9, 193, 129, 3)
    result = reconcile({"photo": photo, "pose": pose, "pose_negative": None}, width=0, height=0)
    assert result.latent["samples"].shape[3:] == (192 // 8, 128 // 8)


@pytest.mark.parametrize(
    ("pose", "size"), [((832, 480), (480, 832)), ((1280, 720), (720, 1280)), ((1920, 1080), (576, 1024))]
)
def test_the_size_is_that_of_the_pose_frames_up_to_720p(pose, size):
    photo, frames = torch.zeros(1, 1, 1, 3).expand(1, 1600, 900, 3), torch.zeros(1, 1, 1, 3).expand(9, *pose, 3)
    assert conditions.choose_frame(photo, frames, 0, 0, 9, []) == (*size, 9)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((96, 96), "top and bottom 33% of the height are cut."),
        ((32, 96), "left and right 50% of the width are cut."),
        ((64, 96), None),
        ((0, 0), None),
    ],
)
def test_a_crop_is_said(material, size, said):
    notes = reconcile(material, width=size[0], height=size[1]).notes
    start = "The photo is cropped to the shape of the video: "
    assert [note for note in notes if "cut" in note] == ([start + said] if said else [])


def test_photo_and_pose_stay_in_register():
    """A pose of almost the photo's shape is cropped where the photo is, though alone it would be stretched."""
    photo, pose = torch.zeros(1, 100, 100, 3), torch.zeros(5, 100, 104, 3)
    photo[:, :, 50:], pose[:, :, 52:] = 1, 1
    vae = FakeVAE()
    reconcile({"photo": photo, "pose": pose, "pose_negative": pose}, vae, width=112, height=96, length=5)
    edges = [int((clip[0, 48, :, 0] < 0.5).sum()) for clip in vae.encoded]
    assert edges == [56, 56, 56]


def test_of_many_clip_features_the_first_is_used(material):
    many = conditions.features_output(torch.arange(3.0).view(3, 1, 1).expand(3, 257, 1280))
    result = reconcile(material, clip_outputs=(many, many))
    _, cond = values(result.positive)
    assert cond["clip_vision_output"].penultimate_hidden_states.shape == (1, 257, 1280)
    assert any("first of 3 images" in note for note in result.notes)


def test_another_aspect_is_cropped_about_the_centre():
    image = torch.zeros(1, 40, 100, 3)
    image[:, :, 30:70] = 1
    assert fit_image(image, 40, 40).min() == 1


BAD = {
    "no frames": ({"pose": torch.zeros(0, 96, 64, 3)}, "Found 0 pose"),
    "one frame": ({"pose": torch.zeros(1, 96, 64, 3)}, "Found 1 pose .* single image .* bypassed"),
    "four frames": ({"pose": torch.zeros(4, 96, 64, 3)}, "at least 5. Raise max_frames of 'Poses From Video'"),
    "other aspect": ({"pose": torch.zeros(9, 64, 96, 3)}, "96x64 but the photo is 64x96"),
    "negative of other aspect": ({"pose_negative": torch.zeros(9, 64, 96, 3)}, "pose-negative frames are 96x64"),
    "short negative": ({"pose_negative": torch.zeros(8, 96, 64, 3)}, "8 pose-negative frames"),
    "length 0": ({"length": 0}, "length is 0"),
    "negative width": ({"width": -16}, "-16x96"),
    "empty photo": ({"photo": torch.zeros(0, 96, 64, 3)}, "empty batch"),
    "no image": ({"photo": torch.zeros(1, 96, 64, 2)}, r"\(1, 96, 64, 2\)"),
    "CLIP-G": ({"clip_vision": FakeClipVision(1664)}, "CLIP-G"),
    "CLIP-L": ({"clip_vision": FakeClipVision(1024)}, "CLIP-L"),
    "one CLIP output": ({"clip_outputs": (object(), None)}, "Only one CLIP vision output"),
    "Wan 2.2 VAE": ({"vae": SimpleNamespace(latent_channels=48)}, "a Wan 2.2 VAE"),
    "SD VAE": ({"vae": SimpleNamespace(latent_channels=4)}, "an SD or SDXL VAE"),
    "HunyuanVideo VAE": ({"vae": SimpleNamespace(latent_channels=16, first_stage_model=0)}, "another model's VAE"),
    "no VAE in the checkpoint": ({"vae": None}, "vae is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_encoding(material, case):
    change, message = BAD[case]
    vae = FakeVAE()
    with pytest.raises(ValueError, match=message):
        reconcile({**material, "vae": vae, **change})
    assert vae.encoded == []


def test_where_encoding_runs_out_of_memory_the_node_says_what_to_lower(material, monkeypatch):
    def full(self, pixels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(FakeVAE, "encode", full)
    photo, pose = material["photo"], material["pose"]
    with pytest.raises(torch.OutOfMemoryError, match="SteadyDancer ran out of memory .* Lower, .* 1. width and height"):
        ReconcileConditions.execute(TEXT, TEXT, FakeVAE(), photo, 0, 0, 9, pose_frames=pose)
