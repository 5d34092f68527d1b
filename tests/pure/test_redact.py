"""The doctor's text is for public bug reports: no path in it names a folder, a person, a disk or a machine."""

import pytest

from steadydancer_pack.doctor.redact import without_paths

PATHS = [
    r"C:\Users\Mary Poppins",
    r"C:\Users\Mary Poppins\ComfyUI\models\a.safetensors",
    r"C:\\Users\\Mary Poppins\\my files\\a.safetensors",
    r"C:\Users\Poppins, Mary\a.safetensors",
    r"C:\Users\MARYPO~1\AppData\Local\Temp\a.safetensors",
    r"C:\Documents and Settings\Mary Poppins\a.safetensors",
    "C:/Users/Mary Poppins/a.safetensors",
    r"D:\Mary Poppins",
    r"D:\Mary Poppins\my files\a.safetensors",
    r"\\?\C:\Users\Mary Poppins\a.safetensors",
    r"\\\\?\\C:\\Users\\Mary Poppins\\a.safetensors",
    r"\\?\UNC\server\Mary Poppins\a.safetensors",
    r"\\.\C:\Users\Mary Poppins",
    r"\\server\Mary",
    r"\\server\Mary Poppins\a.safetensors",
    r"\\wsl.localhost\Ubuntu\home\mary\a.safetensors",
    r"\\wsl$\Ubuntu\home\mary",
    "/mnt/c/Users/Mary Poppins/a.safetensors",
    "/c/Users/Mary/a.safetensors",
    "/home/mary",
    "/home/mary poppins",
    "/home/mary poppins/my files/a.safetensors",
    "/export/home/mary",
    "/Users/Mary",
    "/Users/Mary O'Poppins/my files/a.safetensors",
    "~mary/a.safetensors",
    "/media/mary",
    "/media/mary/Mary's disk",
    "/media/mary/Mary's disk/models/a.safetensors",
    "/run/media/mary",
    "/run/media/mary/Mary's disk",
    "/run/media/mary/Mary's disk/a.safetensors",
    "/Volumes/Mary Poppins",
    "/Volumes/Mary Poppins/my files/a.safetensors",
    "/mnt/mary poppins",
    "/srv/mary/a.safetensors",
    "file:///home/mary",
    "file:///home/mary%20poppins/a.safetensors",
    "file:///C:/Users/Mary%20Poppins/a.safetensors",
    "file://server/mary/a.safetensors",
    "sqlite:////home/mary/a.safetensors",
    "/run/user/1000/gvfs/smb-share:server=nas,user=mary/models/a.safetensors",
    r"D:\Poppins, Mary\a.safetensors",
    r"D:\Dr. Mary Poppins\a.safetensors",
    "/media/mary/Dr. Poppins/a.safetensors",
    "/home/mary/Dr. Poppins/my files/a.safetensors",
    "/Volumes/Mary: Backup/a.safetensors",
    "//nas/mary/a.safetensors",
    "smb://nas/mary/a.safetensors",
    "sftp://mary@host/home/mary/a.safetensors",
    r"\Users\Mary\a.safetensors",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "around", ["{}", "Lost '{}'.", 'open "{}" (2)', "In {}: no", "Wrote {}", "of={}", "b'{}'", "\u6587\u4ef6{}"]
)
def test_of_a_path_only_the_name_of_the_file_is_left(path, around):
    found = without_paths(around.format(path), [])
    assert found == around.format("<path>/a.safetensors" if path.endswith("safetensors") else "<path>")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"C:\a\b.onnx and \\server\mary\c.onnx, /x/y/d.onnx", "<path>/b.onnx and <path>/c.onnx, <path>/d.onnx"),
        ("Load model from /home/mary p/y.onnx failed:Protobuf", "Load model from <path>/y.onnx failed:Protobuf"),
        ("'/home/mary p/a b' -> '/home/mary p/c d.png'", "'<path>' -> '<path>/c d.png'"),
        ("/home/mary/a.txt is not in models/vae. Put it there.", "<path>/a.txt is not in models/vae. Put it there."),
        ("In /opt/mary/models. Put it into models/vae.", "In <path>. Put it into models/vae."),
        ("PATH=/home/mary/bin:/home/john/bin", "PATH=<path>:<path>"),
        ("(/home/mary) is full", "(<path>) is full"),
        ("/usr/lib/libGL.so.1: cannot open", "<path>/libGL.so.1: cannot open"),
    ],
)
def test_what_stands_around_a_path_is_kept(text, shown):
    assert without_paths(text, []) == shown


def test_what_is_no_absolute_path_is_kept_and_a_known_folder_has_a_short_name():
    for text in (
        "models/vae/wan/f.safetensors, models\\vae\\f.safetensors, https://host/a/b, and/or 3/4, ~3/4, fp16",
        "OS: Linux-6.18-x86_64-with-glibc2.36; libGL.so.1: cannot open shared object file: C: D: a:b ~/x/y.txt",
        "<ComfyUI>/models/vae/x.safetensors, <home>\\a b\\c.txt",
    ):
        assert without_paths(text, []) == text
    text = "/home/mary poppins/ComfyUI/models/vae/a.safetensors, /home/mary poppins/x, file:///home/mary poppins/y"
    roots = [("home", "/home/mary poppins"), ("models", "/home/mary poppins/ComfyUI/models"), ("root", "/")]
    assert without_paths(text, roots) == "<models>/vae/a.safetensors, <home>/x, file://<home>/y"
