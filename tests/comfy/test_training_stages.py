"""What the stages compute: noise levels, batches, losses, low-rank adaptation, changed poses, first weights."""

from dataclasses import replace
from types import SimpleNamespace

import comfy.model_management
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track
from steadydancer_pack.steadydancer_core.weights.clip_vision import serves_clip_vision
from steadydancer_pack.training import latents, pipeline
from steadydancer_pack.training.batches import Batches, BucketBatches, cell_weights, conditions
from steadydancer_pack.training.clip_rows import ClipRows
from steadydancer_pack.training.flow import Distillation, FlowMatching, Velocity, noised, sample, shifted
from steadydancer_pack.training.latents import ARRAYS, CHANGED, CLIP, PHOTO, POSE, TEXT, Pixels, Store
from steadydancer_pack.training.lora import Adapter, merged
from steadydancer_pack.training.network import Size, add_pose, attention, base_part, build, initialize
from steadydancer_pack.training.pipeline import Work, write_stores
from steadydancer_pack.training.pose_simulation import REACH, with_jump
from steadydancer_pack.training.prompts import NEGATIVE, POSITIVE, ROWS, WIDTH, prompt_vectors
from steadydancer_pack.training.stages import STAGES, Cuts
from steadydancer_pack.training.tasks import StageTask, choose_trained, strips
from steadydancer_pack.training.world.pixels import GAP_EVERY, LEAST_GAP, make_one
from steadydancer_pack.training.world.store import HELD_OUT

TINY = Size(128, 64, 2, WIDTH)
N, T, H = 6, 4, 4


@pytest.fixture(autouse=True)
def gradients(monkeypatch):
    monkeypatch.setattr(comfy.model_management, "in_training", True)


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)
    for name in ARRAYS:
        shape = {TEXT: (N, ROWS, WIDTH), CHANGED: (N, len(REACH), 16, 2, H, H)}.get(name, (N, 16, T, H, H))
        np.save(tmp_path / f"{name}.npy", random.standard_normal(shape).astype(np.float16))
    return Store(tmp_path)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batches(store, **cuts):
    settings = {"lengths": ((3, 2),), "shares": (1.0,), "negative": 0.0} | cuts
    return Batches(store, Cuts(**settings), prompt_vectors(NEGATIVE), torch.full((1, 16, 1, H, H), 0.5))


@pytest.fixture
def batch(store):
    return batches(store)(generator())


def network(pose, seed=0):
    model = build(TINY, pose)
    initialize(model, seed)
    torch.nn.init.normal_(model.head.head.weight, std=0.1, generator=generator())
    return model


def distilled(decoupled=True):
    """Return a student with poses, its teacher, and the distillation of both."""
    student, teacher = Velocity(network(True), True), Velocity(network(False, 1), False)
    return student, teacher, Distillation(student, teacher, decoupled)


def test_noise_level_0_is_the_clip_1_is_noise_and_their_shift_that_of_the_sampling_schedule(batch):
    assert torch.equal(noised(batch | {"sigma": torch.zeros(2)}), batch["clean"])
    assert torch.allclose(noised(batch | {"sigma": torch.ones(2)}), batch["noise"])
    even = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert torch.allclose(shifted(even, 5.0), torch.tensor([0.0, 0.625, 5 / 6, 1.0]))
    assert torch.equal(shifted(even, 1.0), even)


def test_batches_follow_from_the_generator(store):
    draw = batches(store, lengths=((2, 3), (3, 2)), shares=(0.5, 0.5), middle=0.5)
    one, same, other = (draw(generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["noise"][:1, :, :1], other["noise"][:1, :, :1])


def test_batches_of_several_stores_are_of_one_each_as_often_as_it_has_clips(store):
    def few(generator):
        return {"few": torch.rand(1, generator=generator)}

    few.store = SimpleNamespace(count=2)
    draw = BucketBatches([batches(store), few])
    drawn = [draw(generator(seed)) for seed in range(200)]
    assert 30 < sum("few" in batch for batch in drawn) < 70  # 2 of 8 clips
    again = draw(generator(7))
    assert again.keys() == drawn[7].keys() and all(torch.equal(again[name], drawn[7][name]) for name in again)
    alone = BucketBatches([batches(store)])(generator(3))
    assert all(torch.equal(alone[name], tensor) for name, tensor in batches(store)(generator(3)).items())


def test_a_batch_from_the_start_has_the_photo_and_its_mask_one_from_the_middle_neither():
    photo, pose = torch.randn(2, 2, 16, T, H, H)
    given, later = (conditions(photo, pose, frames) for frames in (slice(0, 3), slice(1, 4)))
    assert (given["image"][:, :4, 0] == 1).all() and (given["image"][:, :4, 1:] == 0).all()
    assert torch.equal(given["image"][:, 4:], photo[:, :, :3])
    first = photo[:, :, :1]
    assert torch.equal(given["ref_x"], torch.cat([first, torch.ones_like(first[:, :4]), first], 1))
    assert (later["image"][:, :4] == 0).all() and torch.equal(later["pose"], pose[:, :, 1:4])
    assert all(torch.equal(each["ref_c"], pose[:, :, :1]) for each in (given, later))


def test_middle_batches_are_as_frequent_as_asked_and_the_negative_prompt_replaces_text(store):
    draw = batches(store, middle=0.5, negative=1.0)
    assert torch.equal(draw(generator())["text"], prompt_vectors(NEGATIVE).expand(2, -1, -1))
    middle = sum(not draw(generator(seed))["image"][:, :4].any() for seed in range(200))
    assert 70 < middle < 130


def test_jumps_replace_the_start_of_about_half_of_the_poses_each_time_by_another_of_theirs(store):
    draw, changed = batches(store, jumps=True, lengths=((T, N),)), torch.zeros(N, len(REACH))
    for seed in range(30):
        batch = draw(generator(seed))
        starts = batch["pose"][:, None, :, :2] == store.take(CHANGED, np.arange(N))
        changed += starts.flatten(2).all(2)
        same = (batch["pose"] == store.take(POSE, np.arange(N))).flatten(3).all(3).all(1)
        assert same[:, 2:].all() and (same.all(1) | ~same[:, 0]).all()
    assert 60 < changed.sum() < 120 and ((changed > 0).sum(1) > 1).all()


def test_cells_that_move_weigh_more_and_all_weigh_1_on_the_mean():
    clips = torch.zeros(2, 16, 5, 1, 2)
    clips[0, :, 3:, 0, 1] = 0.5  # half of what has all of the weight
    clips[1, :, 0] = 9.0  # the first frame is compared with none
    weight = cell_weights(clips, slice(0, 5), 4.0)
    assert torch.allclose(
        weight[0, 0, :, 0] * (8 + 2 * 3) / 10, torch.tensor([[1.0, 1], [1, 1], [1, 3], [1, 3], [1, 1]])
    )
    assert torch.equal(weight[1], torch.ones(1, 5, 1, 2))
    cut = cell_weights(clips, slice(3, 5), 4.0)
    assert torch.allclose(cut[0, 0, :, 0] * (3 + 3) / 4, torch.tensor([[1.0, 3], [1, 1]]))
    assert torch.equal(cell_weights(clips[:, :, :2], slice(0, 2), 4.0), torch.ones(2, 1, 2, 1, 2))


def test_weights_are_drawn_where_the_table_says_so_and_change_nothing_else(store):
    plain, weighted = batches(store)(generator()), batches(store, moving=4.0)(generator())
    weight = weighted.pop("weight")
    assert list(plain) == list(weighted) and all(torch.equal(plain[name], weighted[name]) for name in plain)
    assert weight.shape == (2, 1, 3, H, H) and weight.mean().item() == pytest.approx(1) and weight.std() > 0
    assert [stage.full.cuts.moving for stage in STAGES.values() if stage.full] == [0.0] * 4


@pytest.mark.parametrize("loss", ["flow", "conditional", "data"])
def test_the_loss_on_the_data_is_weighted(batch, loss):
    velocity, teacher = Velocity(network(True), True), Velocity(network(False, 1), False)
    half = torch.zeros(2, 1, 3, H, H)
    half[:, :, :1] = 3.0
    weighted = batch | {"weight": half}
    with torch.no_grad():
        if loss == "flow":
            found = FlowMatching(velocity)(weighted)["loss"]
        elif loss == "conditional":
            found = Distillation(velocity, teacher)(weighted, loss)["loss"]
        else:
            found = Distillation(velocity, teacher, decoupled=False)(weighted)[loss]
        error = (velocity(batch, noised(batch)) - (batch["noise"] - batch["clean"])).square()
    assert found.item() == pytest.approx(error[:, :, :1].mean().item(), rel=1e-4)


def test_flow_loss_of_a_network_that_says_nothing_is_the_velocity_itself(batch):
    model = build(TINY, pose=True)
    initialize(model, 0)  # its head is zero
    loss = FlowMatching(Velocity(model, True))(batch)["loss"]
    assert loss.item() == pytest.approx((batch["noise"] - batch["clean"]).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("pose", [True, False])
def test_pose_reaches_the_velocity_and_the_base_has_none(batch, pose):
    velocity = Velocity(network(pose), pose)
    one, other = (velocity(batch | {"pose": poses}, batch["noise"]) for poses in (batch["pose"], -batch["pose"]))
    assert (one - other).abs().max() > 1e-4 if pose else torch.equal(one, other)


@pytest.mark.parametrize("pose", [True, False])
def test_tokens_are_made_in_float32_under_autocast(batch, pose):
    model, seen = network(pose), []
    for name, layer in model.named_children():
        if name.startswith(("patch_embedding", "condition_embedding")):
            layer.register_forward_hook(lambda layer, args, output: seen.append(output))
    velocity = Velocity(model, pose)
    velocity(batch, batch["noise"])
    with torch.autocast("cpu", torch.bfloat16):
        velocity(batch, batch["noise"])
    half = len(seen) // 2
    assert half == (6 if pose else 1)
    assert all(torch.equal(one, other) for one, other in zip(seen[:half], seen[half:], strict=True))


def fill_free_memory_with_nan(*_):
    blocks = [torch.full((2**power,), torch.nan) for power in range(4, 17) for _ in range(6)]
    del blocks


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("frames", [2, 3])
def test_no_gradient_reads_memory_that_nobody_wrote(store, frames, threads):
    batch, model = batches(store, lengths=((frames, 2),))(generator()), network(True)
    for layer in model.modules():
        if hasattr(layer, "weight"):
            layer.register_full_backward_pre_hook(fill_free_memory_with_nan)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            loss = FlowMatching(Velocity(model, True))(batch)["loss"]
        loss.backward()
    finally:
        torch.set_num_threads(before)
    assert [name for name, weight in model.named_parameters() if not weight.grad.isfinite().all()] == []


def test_recomputing_blocks_changes_no_gradient(batch):
    grads = []
    for recompute in (False, True):
        model = network(True)
        FlowMatching(Velocity(model, True, recompute))(batch)["loss"].backward()
        grads.append(model.blocks[0].ffn[0].weight.grad.clone())
    assert torch.equal(*grads)


def test_decoupled_distillation_holds_only_the_unconditional_part_to_the_teacher(batch):
    student, teacher, module = distilled()
    x, data = noised(batch), batch["noise"] - batch["clean"]
    with torch.no_grad():
        free = (student(batch, x, conditional=False) - teacher(batch, x, conditional=False)).square().mean().item()
        bound = (student(batch, x) - data).square().mean().item()
        parts = {name: module(batch, name) for name in module.passes}
    for name, wanted in (("unconditional", free), ("conditional", bound)):
        assert {key: part.item() for key, part in parts[name].items()} == pytest.approx(
            {"loss": wanted, name: wanted}, rel=1e-4
        )


def test_parts_of_the_decoupled_loss_one_after_the_other_have_the_gradients_of_their_sum(batch):
    gradients = []
    for together in (True, False):
        _, _, module = distilled()
        losses = (module(batch, name)["loss"] for name in module.passes)
        if together:
            sum(losses).backward()
        else:
            for loss in losses:
                loss.backward()
        # what serves CLIP vision is called twice in a pass, and the sum of four terms depends on their order
        named = module.named_parameters()
        gradients.append({name: weight.grad for name, weight in named if not serves_clip_vision(name)})
    one, other = gradients
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert any(gradient.any() for gradient in one.values())


def test_the_validation_loss_is_the_mean_over_the_same_held_out_batches(store):
    column = replace(STAGES["stage2"].miniature, cuts=Cuts(((3, 2),), (1.0,)))
    held = batches(store)
    model, teacher = network(True), network(False, 1)
    task = StageTask(STAGES["stage2"], column, model, batches(store), teacher, held=held)
    with torch.no_grad():
        found = [task.validate()["validation_loss"] for _ in range(2)]
        losses = [task.module(held(generator(seed)), part)["loss"] for seed in range(4) for part in task.module.passes]
    assert found[0] == found[1] == pytest.approx(sum(losses).item() / 4, rel=1e-5)
    assert StageTask(STAGES["stage2"], column, model, batches(store), teacher).validate() == {}


def test_plain_distillation_holds_the_conditional_output_to_the_teacher(batch):
    student, teacher, module = distilled(decoupled=False)
    x = noised(batch)
    with torch.no_grad():
        wanted = (student(batch, x) - teacher(batch, x)).square().mean()
    assert module(batch)["loss"].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_a_teacher_is_neither_trained_nor_saved(batch):
    _, teacher, module = distilled()
    module(batch, "unconditional")["loss"].backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert not [name for name in module.state_dict() if "teacher" in name]


def test_lora_layers_start_at_nothing_and_merge_to_what_they_did(batch):
    model = network(True)
    before = Velocity(model, True)(batch, batch["noise"])
    adapter = Adapter(model, rank=4, alpha=8, seed=0)
    assert torch.equal(Velocity(model, True)(batch, batch["noise"]), before)
    for layer in adapter.paths.values():
        torch.nn.init.normal_(layer.up, std=0.1, generator=generator())
    adapted = Velocity(model, True)(batch, batch["noise"])
    other = build(TINY, True)
    other.load_state_dict(merged(model.state_dict(), adapter))
    assert (adapted - before).abs().max() > 1e-3
    assert torch.allclose(Velocity(other, True)(batch, batch["noise"]), adapted, atol=1e-4)
    with pytest.raises(ValueError, match="nothing to adapt"):
        Adapter(torch.nn.Linear(2, 2), 4, 4, 0)


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("base", {"blocks", "head"}),
        ("stage1", {"condition_embedding_spatial", "patch_embedding_fuse"}),
        ("stage2", {"blocks", "condition_embedding_align"}),
        ("stage3", set()),
    ],
)
def test_each_stage_trains_what_its_table_says(name, trained):
    model = network(STAGES[name].pose)
    choose_trained(STAGES[name], STAGES[name].full or STAGES[name].miniature, model)
    names = {key for key, weight in model.named_parameters() if weight.requires_grad}
    assert trained <= {key.split(".")[0] for key in names} if trained else not names
    assert not any(serves_clip_vision(key) for key in names)


def test_stage_1_of_the_miniature_trains_all_weights_and_that_of_14b_a_lora():
    stage, model = STAGES["stage1"], network(True)
    assert (stage.miniature.rank, stage.full.rank) == (0, 64)
    choose_trained(stage, stage.miniature, model)
    assert {name for name, weight in model.named_parameters() if not weight.requires_grad} == {
        name for name, _ in model.named_parameters() if serves_clip_vision(name)
    }


def test_stage_1_of_14b_trains_lora_layers_and_the_42_pose_tensors(store):
    task = StageTask(STAGES["stage1"], STAGES["stage1"].full, network(True), batches(store))
    names = [name for name, weight in task.module.named_parameters() if weight.requires_grad]
    lora = [name for name in names if name.startswith("adapter.")]
    assert len(lora) == 2 * 10 * TINY.layers and len(names) - len(lora) == 42
    assert not [name for name in names if "network.blocks" in name]
    task.module(task.batch(0, generator()))["loss"].backward()
    assert all(weight.grad is not None for weight in task.module.parameters() if weight.requires_grad)


def test_a_stage_s_result_is_the_network_with_its_lora_layers_merged(store):
    task = StageTask(STAGES["stage3"], STAGES["stage3"].full, network(True), batches(store))
    before = task.velocity.network.blocks[0].ffn[0].weight.clone()
    path = task.adapter.paths["blocks/0/ffn/0"]
    up = torch.ones_like(path.up)
    result = task.result({"adapter.paths.blocks/0/ffn/0.up": up})
    assert torch.allclose(result["blocks.0.ffn.0.weight"], before + up @ path.down, atol=1e-5)
    assert not [name for name in result if "adapter" in name]


def test_steadydancer_starts_as_its_base_and_what_serves_clip_vision_at_zero():
    base, model = network(False), build(TINY, True)
    add_pose(model, base.state_dict(), 0)
    for name, weight in base.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    assert torch.equal(model.patch_embedding_fuse.weight[:, :36], base.patch_embedding.weight)
    assert set(base_part(model.state_dict())) == set(base.state_dict())
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert not any(weight.any() for name, weight in network(True).named_parameters() if "img_emb" in name)
    assert serves_clip_vision("blocks.3.cross_attn.norm_k_img.weight")
    assert not serves_clip_vision("blocks.3.cross_attn.k.weight")


def test_plain_products_are_attention():
    q, k, v = (torch.randn(2, 5, 16, generator=generator(i)) for i in range(3))
    split = [t.view(2, 5, 4, 4).transpose(1, 2) for t in (q, k, v)]
    wanted = torch.nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).reshape(2, 5, 16)
    assert torch.allclose(attention(None, q, k, v, 4), wanted, atol=1e-6)


def test_the_second_pose_moves_ahead_and_no_other():
    points = np.arange(6.0)[:, None, None] * np.ones((6, KEYPOINTS, 2))
    poses = PoseClip(64, 64, 6, (Track(0, points, np.ones((6, KEYPOINTS))),))
    for reach in REACH:
        moved = with_jump(poses, reach).tracks[0].points
        assert moved[1, 0, 0] == reach / 2
        assert (moved[[0, 2, 3, 4, 5]] == points[[0, 2, 3, 4, 5]]).all()
    assert points[1, 0, 0] == 1  # the clip itself stays
    short = poses.at(slice(2))
    assert with_jump(short, REACH[0]) is short


def frames_equal_to(video, frame):
    return np.flatnonzero((video[0] == video[0, frame]).all(axis=(1, 2, 3))).tolist()


def test_photo_and_first_skeleton_of_every_fourth_clip_come_from_the_same_later_frame():
    gap, usual = make_one(2 * GAP_EVERY, 9, 48), make_one(2 * GAP_EVERY + 1, 9, 48)
    photo, later = frames_equal_to(gap.frames, 0)
    assert photo == 0 and later >= LEAST_GAP
    assert frames_equal_to(gap.skeletons, 0) == [0, later]
    assert (gap.changed == gap.skeletons[:, None]).all()
    assert frames_equal_to(usual.frames, 0) == [0]
    same = (usual.changed[0] == usual.skeletons).all(axis=(2, 3, 4))
    assert same[:, 2:].all() and same[:, 0].all() and not same[:, 1].any()


def test_prompts_are_rows_of_words():
    one = prompt_vectors(POSITIVE)
    assert one.shape == (ROWS, WIDTH) and one[3:].abs().sum() == 0
    assert torch.equal(prompt_vectors("a person walks")[:2], one[:2])
    assert not torch.equal(prompt_vectors("a person walks")[2], one[2])


def test_a_store_holds_what_was_encoded(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 8, 8, 3), dtype=np.uint8)
    changed = np.random.default_rng(1).integers(0, 256, (3, 3, 5, 8, 8, 3), dtype=np.uint8)

    def encode(video):
        return video[:, :1, ::4, ::8, ::8].repeat(1, 16, 1, 1, 1)

    rows = ClipRows(tmp_path, 3, {})
    for row in range(3):
        part = slice(row, row + 1)
        rows.add(str(row), latents.encoded(Pixels(*pictures[:, part], changed[part], np.ones((1, 2, 4))), encode))
    rows.finish()
    store = Store(tmp_path)
    assert store.count == 3 and store.latent_frames == 2
    first = store.take(CLIP, np.array([2]))[0, 0, 0, 0, 0]
    assert first.item() == pytest.approx(pictures[0][2, 0, 0, 0, 0] / 127.5 - 1, abs=1e-3)
    photo = store.take(PHOTO, np.array([2]))[0, 0]
    assert photo[0, 0, 0] == first and photo[1, 0, 0].item() == pytest.approx(0, abs=0.01)
    assert store.take(POSE, np.array([0])).shape == (1, 16, 2, 1, 1)
    starts = store.take(CHANGED, np.arange(3))[:, :, 0, :, 0, 0]
    assert starts == pytest.approx(changed[:, :, ::4, 0, 0, 0] / 127.5 - 1, abs=1e-3)


def test_a_store_of_the_drawn_world_that_was_killed_goes_on_with_the_same_vae_only(tmp_path, monkeypatch):
    work, drawn = Work(tmp_path), []
    work.vae_file.parent.mkdir()
    save_file({"w": torch.ones(3)}, work.vae_file)

    def row(_vae, _size, seed):
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(seed)
        return {name: np.full((1, 16, 2, 1, 1), seed % HELD_OUT, np.float16) for name in ARRAYS}

    monkeypatch.setattr(pipeline, "encode_seed", row)
    with pytest.raises(KeyboardInterrupt):
        write_stores(work, 3, held=2, workers=1)
    with pytest.raises(ValueError, match="store has no clip, pose, .* not all of them. Make them with `store`"):
        Store(tmp_path / "store")
    drawn.clear()
    write_stores(work, 3, held=2, workers=1)
    assert drawn == [1, 2]
    for name, count in (("held", 2), ("store", 3)):
        store = Store(tmp_path / name)
        assert store.take(CLIP, np.arange(count))[:, 0, 0, 0, 0].tolist() == list(range(count))
    save_file({"w": torch.zeros(3)}, work.vae_file)
    with pytest.raises(ValueError, match="was begun with {'vae': .*Use the same, or another folder"):
        write_stores(work, 3, held=2, workers=1)


def test_a_sampler_that_knows_the_answer_finds_it(batch):
    def velocity(batch, x):
        return (x - batch["clean"]) / batch["sigma"].view(-1, 1, 1, 1, 1)

    assert torch.allclose(sample(velocity, batch, batch["noise"], steps=4), batch["clean"], atol=1e-4)


def test_strips_show_clip_after_clip():
    videos = [torch.full((2, 3, 5, 4, 6), value) for value in (-1.0, 1.0)]
    picture = strips(*videos)
    assert picture.shape == (4 * 4, 3 * 6, 3)
    assert picture[0, 0, 0] == 0 and picture[4, 0, 0] == 255
