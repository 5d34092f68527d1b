"""The examples of clusters fit Ray's schema and KubeRay's resource, and keep Ray's usage statistics off."""

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "cluster"
CONTAINER = ("name", "image", "env", "resources")


def example(name):
    return yaml.safe_load((EXAMPLES / name).read_text("utf-8"))


def is_off(text):
    return "RAY_USAGE_STATS_ENABLED=0" in text and "RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9" in text


@pytest.fixture(scope="module")
def schema():
    ray = Path(importlib.util.find_spec("ray").origin).parent
    return json.loads((ray / "autoscaler" / "ray-schema.json").read_text("utf-8"))


def test_the_launchers_example_fits_rays_schema(schema):
    config = example("cluster.yaml")
    jsonschema.validate(config, schema)
    assert config["head_node_type"] in config["available_node_types"]
    starts = [command for where in ("head", "worker") for command in config[f"{where}_start_ray_commands"][1:]]
    assert len(starts) == 2 and all(is_off(command) and "COMFYUI_PATH=" in command for command in starts)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "max_workers": "many"}, schema)


def test_the_kuberay_example_has_the_fields_of_a_rayjob():
    job = example("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob") and job["metadata"]["name"]
    cluster = job["spec"]["rayClusterSpec"]
    assert job["spec"]["entrypoint"] and cluster["rayVersion"] == "2.60.0"
    (group,) = cluster["workerGroupSpecs"]
    assert {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams"} <= group.keys()
    for part in (cluster["headGroupSpec"], group):
        (container,) = part["template"]["spec"]["containers"]
        assert container.keys() >= set(CONTAINER)
        assert is_off(" ".join(f"{item['name']}={item['value']}" for item in container["env"]))
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
