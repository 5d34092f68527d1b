"""The commands as artists start them: by path, from any folder, in an isolated Python, wherever ComfyUI lies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from comfy.cli_args import args
from safetensors.torch import save_file

from steadydancer_pack.comfy_client import in_process
from steadydancer_pack.comfy_client.comfyui_places import base_folder, desktop_model_paths, find_comfyui
from steadydancer_pack.doctor import model_files
from steadydancer_pack.doctor.findings import HEAD
from steadydancer_pack.tools import doctor

PACK = Path(__file__).resolve().parents[2]
COMFYUI = Path(os.environ["COMFYUI_PATH"])


def make(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def link(place: Path, target: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(target, target_is_directory=True)
    except OSError as error:
        pytest.skip(f"This system makes no links: {error}")
    return place


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without any ComfyUI, whose folders of settings and programs lie in tmp_path."""
    monkeypatch.delenv("COMFYUI_PATH")
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize("linked", [False, True])
def test_a_pack_belongs_to_the_comfyui_in_which_it_lies_or_is_linked(machine, linked):
    comfyui = make(machine / "ComfyUI_windows_portable" / "ComfyUI", "comfy/sd.py")
    pack = make(machine / "src" if linked else comfyui / "custom_nodes" / "steadydancer", "a.py")
    if linked:
        pack = link(comfyui / "custom_nodes" / "mine", pack)
    assert find_comfyui(pack) == comfyui and base_folder(pack, comfyui) is None and desktop_model_paths(comfyui) == []


@pytest.mark.parametrize(
    ("program", "settings"),
    [
        ("LOCALAPPDATA/Programs/@comfyorgcomfyui-electron/resources/ComfyUI", "APPDATA/ComfyUI"),
        ("LOCALAPPDATA/Programs/ComfyUI/resources/ComfyUI", "APPDATA/ComfyUI"),
        ("HOME/Applications/ComfyUI.app/Contents/Resources/ComfyUI", "HOME/Library/Application Support/ComfyUI"),
    ],
)
def test_comfy_desktop_keeps_the_packs_apart(machine, program, settings):
    comfyui = make(machine / program, "comfy/sd.py")
    pack = make(machine / "Documents" / "ComfyUI" / "custom_nodes" / "steadydancer", "a.py")
    paths = make(machine / settings, "extra_models_config.yaml") / "extra_models_config.yaml"
    assert (find_comfyui(pack), desktop_model_paths(comfyui)) == (comfyui, [paths])
    assert base_folder(pack, comfyui) is None
    make(pack.parent.parent, "models/vae/a.txt")
    assert base_folder(pack, comfyui) == pack.parent.parent


@pytest.mark.parametrize("root", ["LOCALAPPDATA/Comfy-Desktop", "HOME"])
def test_comfy_desktop_with_several_installations(machine, root):
    own = machine / root / "ComfyUI-Installs" / "first"
    comfyui = make(own / "ComfyUI", "comfy/sd.py")
    (own / "standalone-env").mkdir()
    paths = make(machine / "APPDATA" / "Comfy Desktop", "shared_model_paths.yaml") / "shared_model_paths.yaml"
    inside = make(comfyui / "custom_nodes" / "steadydancer", "a.py")
    taken_over = make(machine / "Documents" / "ComfyUI" / "custom_nodes" / "steadydancer", "a.py")
    assert find_comfyui(inside) == find_comfyui(taken_over) == comfyui
    assert desktop_model_paths(comfyui) == [paths]


def test_where_no_comfyui_is_found_the_message_says_what_to_set(machine, monkeypatch):
    pack = make(machine / "steadydancer", "a.py")
    with pytest.raises(ValueError, match=r"COMFYUI_PATH must name a ComfyUI folder, .* \$env:COMFYUI_PATH = 'FOLDER'"):
        find_comfyui(pack)
    monkeypatch.setenv("COMFYUI_PATH", str(machine))
    make(pack.parent / "ComfyUI" / "custom_nodes" / "steadydancer", "../../comfy/sd.py")
    with pytest.raises(ValueError, match="COMFYUI_PATH must name a ComfyUI folder; .* has no comfy/sd.py"):
        find_comfyui(pack.parent / "ComfyUI" / "custom_nodes" / "steadydancer")


@pytest.mark.parametrize("seen", [False, True])
def test_an_older_pytorch_has_no_accelerator(monkeypatch, seen):
    monkeypatch.delattr(torch, "accelerator")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    assert in_process.has_gpu() is seen


def run(script: Path, *arguments, isolated=("-I",), cwd: Path):
    command = [sys.executable, *isolated, script, *arguments]
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("isolated", [(), ("-I",)], ids=["plain", "isolated"])
def test_a_command_starts_by_its_path_from_another_folder(tmp_path, isolated):
    """Those of the other commands, isolated: test_convert_node.py and test_node_evaluate.py."""
    code, out, error = run(PACK / "tools" / "doctor.py", "--help", isolated=isolated, cwd=tmp_path)
    assert (code, error) == (0, "") and out.startswith("usage: doctor.py ") and "from any folder" in out


def test_the_folder_that_an_option_names_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(args, "base_directory", args.base_directory)
    doctor.use_folders(doctor.parse(["--base-directory", str(tmp_path)]), COMFYUI)
    assert args.base_directory == str(tmp_path)


def test_a_python_without_the_modules_of_comfyui_is_named(tmp_path, monkeypatch):
    file = make(tmp_path / "tools", "needs.py") / "needs.py"
    file.write_text("import a_package_that_is_not_installed\n", "utf-8")
    monkeypatch.setattr(in_process, "PACK", tmp_path)
    monkeypatch.setattr(in_process, "PACKAGE", "another_pack")
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit, match="has no a_package_that_is_not_installed, so it is not the Python that"):
        in_process.run_by_path(str(file))
    assert sys.modules.pop("another_pack").__path__ == [str(tmp_path)]


def vae_folder(folder: Path, name: str) -> Path:
    """Write a made-up VAE below a folder of models, and return a file of extra paths that names the folder."""
    (folder / "vae").mkdir(parents=True)
    save_file({model_files.WAN_VAE: torch.zeros(4)}, folder / "vae" / name)
    paths = folder / "extra.yaml"
    paths.write_text(f"mine:\n  vae: {folder / 'vae'}\n", "utf-8")
    return paths


def test_doctor_on_comfy_desktop_sees_its_models(machine):
    """The pack under Documents, ComfyUI among the programs, more models by Desktop's settings and by an option."""
    base, settings = machine / "Documents" / "ComfyUI", machine / "APPDATA" / "ComfyUI"
    link(machine / "LOCALAPPDATA" / "Programs" / "ComfyUI" / "resources" / "ComfyUI", COMFYUI)
    pack = link(base / "custom_nodes" / "steadydancer", PACK)
    vae_folder(base / "models", "own.safetensors")
    settings.mkdir(parents=True)
    vae_folder(machine / "more", "desktop.safetensors").rename(settings / "extra_models_config.yaml")
    option = vae_folder(machine / "elsewhere", "option.safetensors")
    command = pack / "tools" / "doctor.py"
    code, out, error = run(command, "--cpu", "--extra-model-paths-config", option, cwd=machine)
    assert code == 0, error
    assert out.startswith("SteadyDancer doctor: ") and HEAD in out
    for name in ("own", "desktop", "option"):
        assert f"[ok] models/vae/{name}.safetensors: a Wan 2.1 VAE." in out
    assert str(machine) not in out and str(Path.home()) not in out
