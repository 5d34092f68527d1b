"""No stage is trained on a VAE that loses limbs, unless somebody says so."""

import json

import pytest

from steadydancer_pack.training import command, command_steps
from steadydancer_pack.training.vae_gate import check_vae

GOOD = {"moving_psnr": 24.0, "skeleton_moving_psnr": 23.0, "photo_psnr": 33.0}


def write(work, **metrics):
    (work / "vae").mkdir(exist_ok=True)
    (work / "vae" / "metrics.json").write_text(json.dumps({"metrics": metrics}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("moving_psnr", "moving pixels of characters 22.9 dB, at least 24 needed"),
        ("skeleton_moving_psnr", "moving pixels of skeletons 22.9 dB, at least 23 needed"),
        ("photo_psnr", "photo 22.9 dB, at least 33 needed"),
    ],
)
@pytest.mark.parametrize("verb", ["store", "base", "stage3"])
def test_a_vae_below_one_of_them_stops_every_step_after_it(tmp_path, capsys, verb, name, text):
    write(tmp_path, **{**GOOD, name: 22.9})
    assert command.main([verb, str(tmp_path), "--cpu"]) == 1
    assert f": {text}. Train the VAE first" in capsys.readouterr().err


@pytest.mark.parametrize("metrics", [{}, {**GOOD, "photo_psnr": None}])
def test_metrics_that_are_not_there_stop_it_too(tmp_path, metrics):
    with pytest.raises(ValueError, match="does not say how good the VAE is.*--accept-vae"):
        check_vae(tmp_path / "nowhere.json")
    write(tmp_path, **metrics)
    with pytest.raises(ValueError, match="does not say how good the VAE is"):
        check_vae(tmp_path / "vae" / "metrics.json")


def test_not_a_number_is_below_every_bound(tmp_path):
    write(tmp_path, **{**GOOD, "moving_psnr": float("nan")})
    with pytest.raises(ValueError, match="characters nan dB"):
        check_vae(tmp_path / "vae" / "metrics.json")


def test_it_goes_on_with_one_at_the_bounds_or_where_told_to(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(command_steps, "run_stage", lambda _work, name, *_: done.append(name))
    assert command.main(["base", str(tmp_path), "--accept-vae"]) == 0
    write(tmp_path, **GOOD)
    assert command.main(["stage1", str(tmp_path)]) == 0
    assert done == ["base", "stage1"]
