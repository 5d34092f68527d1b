"""Doctor and VRAM Check in the page's language: every sentence in Chinese on the node, the socket in English."""

import re
from dataclasses import replace

import pytest

from steadydancer_pack.doctor import memory_check, model_check, opencv_check, package_check, pose_check, trial
from steadydancer_pack.doctor.findings import report
from steadydancer_pack.media.byte_size import GB
from steadydancer_pack.nodes.common import page_words
from steadydancer_pack.nodes.common.page_words import in_page_language
from steadydancer_pack.nodes.doctor import Doctor
from steadydancer_pack.steadydancer_core.memory.vram_report import Facts, describe

ENGLISH = re.compile(r"\b(?:is|are|the|with|and|not|for|of|from|into)\b (?!pip|install|opencv)")
FITTING = Facts("cuda:0", 33 * GB, 32 * GB, 40, 0, GB, 2 * GB, 3, 80 * GB, 80 * GB, GB)
FACTS = [
    FITTING,
    replace(FITTING, free=24 * GB, total=24 * GB),
    replace(FITTING, free=24 * GB, swap=30, decode=30 * GB, clip=GB),
    replace(FITTING, free=24 * GB, swap=1, decode=GB),
    replace(FITTING, free=2 * GB),
    replace(FITTING, free=GB, streams=False),
    replace(FITTING, streams=False),
]


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setattr(page_words, "page_language", lambda: "zh")


@pytest.mark.parametrize("facts", FACTS)
def test_every_line_of_a_vram_check_is_chinese(chinese, facts):
    told = in_page_language(describe(facts)).splitlines()
    assert [line for line in told if ENGLISH.search(line.replace("VAE Decode (Tiled)", ""))] == []
    assert set(re.findall(r"\d+", "".join(told))) == set(re.findall(r"\d+", describe(facts)))


MACHINE = memory_check.Machine("cuda:0", total=24 * GB, free=22 * GB, reserve=GB, ram=64 * GB)
FINDINGS = [
    package_check.check_version("ComfyUI", "0.30.0", "0.30.0"),
    package_check.check_version("Python", "3.9.1", "3.10"),
    *(package_check.check_evaluate(name, version) for name in package_check.EVALUATE_USES for version in ("1.2", None)),
    *model_check.check_models([], reads_gguf=False, supports_fp8=True),
    memory_check.check_device(MACHINE, "NVIDIA GeForce RTX 4090"),
    memory_check.check_device(MACHINE, None),
    opencv_check.check_opencv(opencv_check.OpenCV({}, "4.13.0")),
    opencv_check.check_opencv(opencv_check.OpenCV({}, None)),
    opencv_check.check_opencv(opencv_check.OpenCV({"opencv-python": "4.13.0"}, "4.13.0")),
    opencv_check.check_opencv(opencv_check.OpenCV({"opencv-python": "4.13.0"}, None)),
    opencv_check.check_opencv(opencv_check.OpenCV({"opencv-python": "4.13.0", "opencv-contrib-python": "4.1"}, "4.1")),
    *pose_check.check_runtime(pose_check.Runtime(("onnxruntime-gpu",), "onnxruntime-gpu", provider="CUDA")),
    *pose_check.check_runtime(pose_check.Runtime(("onnxruntime",), "onnxruntime-gpu", gpu="RTX 4090", provider="CPU")),
    *pose_check.check_telemetry(True, "SWITCH"),
    *pose_check.check_detector_files([pose_check.DetectorFile("a.onnx", 5, 5)], "models/dwpose", "https://a.b"),
    *pose_check.check_detector_files([pose_check.DetectorFile("a.onnx", 5, None)], "models/dwpose", "https://a.b"),
    *pose_check.check_detector_files([pose_check.DetectorFile("a.onnx", 5, 4)], "models/dwpose", "https://a.b"),
    *(trial.check_trial(trial.Trial(2.5, *found), "cuda:0") for found in ((True, 0.2), (False, 0.0), (True, 0.0))),
]


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.what[:40])
def test_every_finding_is_chinese(chinese, finding):
    told = in_page_language(report([finding], {}, []))
    assert "[" + finding.level not in told and not ENGLISH.search(told), told
    assert set(re.findall(r"\d+", told)) >= set(re.findall(r"\d+", finding.line()))


def test_each_template_gives_its_words_back(chinese):
    for english, words in page_words.page_words("reports").items():
        values = {number: f"v{number}" for number in re.findall(r"\{(\d)\}", english)}
        assert set(values) == set(re.findall(r"\{(\d)\}", words)), english
        filled = english, words
        for number, value in values.items():
            filled = tuple(text.replace("{" + number + "}", value) for text in filled)
        assert not ENGLISH.search(in_page_language(filled[0])) and filled[0] != in_page_language(filled[0]), english


def test_traditional_chinese_has_all_that_simplified_has(monkeypatch):
    """And its own script, the words of Taiwan among it."""

    def words(language):
        monkeypatch.setattr(page_words, "page_language", lambda: language)
        return page_words.page_words("reports")

    assert words("zh").keys() == words("zh-TW").keys()
    text = "".join(words("zh-TW").values())
    assert "\u5f71\u7247" in text and not set("\u89c6\u9891\u663e") & set(text)


def test_the_node_shows_chinese_and_hands_on_english(chinese):
    output = Doctor.execute(False)
    (shown,) = output.ui.as_dict()["text"]
    assert shown.startswith("SteadyDancer \u73af\u5883\u8bca\u65ad") and output.result[0].startswith(
        "SteadyDancer doctor"
    )


def test_english_stays_as_it_is():
    assert in_page_language(describe(FITTING)) == describe(FITTING)
