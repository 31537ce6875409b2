"""What `cluster/` says to other systems, as far as it can be checked without them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

FOLDER = Path(__file__).parents[2] / "cluster"
YAMLS = sorted(FOLDER.rglob("*.yaml"))


def load(path: Path) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(path.read_text()))


def ray_schema() -> Any:
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    return json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text())


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_the_launchers_files_meet_rays_schema(name: str) -> None:
    (config,) = load(FOLDER / "cloud" / f"{name}.yaml")
    jsonschema.validate(config, ray_schema())
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    spot = [node for kind, node in types.items() if kind.startswith("spot")]
    assert spot
    assert all("spot" in json.dumps(node["node_config"]).lower() for node in spot)
    assert "spot" not in json.dumps(types[config["head_node_type"]]).lower(), "the head holds the study"


def test_the_schema_refuses_what_is_wrong() -> None:
    (config,) = load(FOLDER / "cloud" / "aws.yaml")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "max_wrokers": 3}, ray_schema())


CONTAINER = {
    "type": "object",
    "required": ["name", "image", "resources"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string", "pattern": "^lab:(cpu|cuda)$"},
        "resources": {
            "type": "object",
            "required": ["requests", "limits"],
            "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "volumeMounts": {"type": "array", "items": {"type": "object", "required": ["name", "mountPath"]}},
    },
}
POD = {
    "type": "object",
    "required": ["spec"],
    "additionalProperties": False,
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers", "securityContext", "terminationGracePeriodSeconds"],
            "additionalProperties": False,
            "properties": {
                "containers": {"type": "array", "minItems": 1, "items": CONTAINER},
                "securityContext": {"type": "object"},
                "terminationGracePeriodSeconds": {"type": "integer", "minimum": 30},
                "tolerations": {"type": "array"},
                "volumes": {"type": "array", "items": {"type": "object", "required": ["name"]}},
            },
        }
    },
}
PARAMS = {"type": "object", "additionalProperties": {"type": "string"}}
CLUSTER = {
    "type": "object",
    "required": ["rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"],
    "additionalProperties": False,
    "properties": {
        "rayVersion": {"type": "string"},
        "authOptions": {"const": {"mode": "token"}},
        "enableInTreeAutoscaling": {"type": "boolean"},
        "autoscalerOptions": {"type": "object"},
        "headGroupSpec": {
            "type": "object",
            "required": ["template", "rayStartParams"],
            "additionalProperties": False,
            "properties": {"rayStartParams": PARAMS, "template": POD},
        },
        "workerGroupSpecs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                "additionalProperties": False,
                "properties": {
                    "groupName": {"type": "string"},
                    "replicas": {"type": "integer", "minimum": 0},
                    "minReplicas": {"type": "integer", "minimum": 0},
                    "maxReplicas": {"type": "integer", "minimum": 1},
                    "rayStartParams": PARAMS,
                    "template": POD,
                },
            },
        },
    },
}
JOB = {
    "type": "object",
    "required": ["entrypoint", "rayClusterSpec"],
    "additionalProperties": False,
    "properties": {
        "entrypoint": {"type": "string"},
        "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        "backoffLimit": {"type": "integer"},
        "shutdownAfterJobFinishes": {"type": "boolean"},
        "ttlSecondsAfterFinished": {"type": "integer"},
        "rayClusterSpec": CLUSTER,
    },
}
"""The part of KubeRay's definitions that is used here."""


@pytest.mark.parametrize(("name", "kind", "schema"), [("raycluster", "RayCluster", CLUSTER), ("rayjob", "RayJob", JOB)])
def test_kuberays_files_have_the_shape_of_its_definitions(name: str, kind: str, schema: Any) -> None:
    document = load(FOLDER / "kuberay" / f"{name}.yaml")[0]
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", kind)
    jsonschema.validate(document["spec"], schema)


def test_claims_and_volumes_of_kuberay_fit_together() -> None:
    cluster, claim = load(FOLDER / "kuberay" / "raycluster.yaml")
    (job,) = load(FOLDER / "kuberay" / "rayjob.yaml")
    for spec in (cluster["spec"], job["spec"]["rayClusterSpec"]):
        pod = spec["headGroupSpec"]["template"]["spec"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert pod["containers"][0]["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]
        for group in spec["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_compose_asks_for_a_token_and_opens_loopback_only() -> None:
    (compose,) = load(FOLDER / "compose" / "compose.yaml")
    services = compose["services"]
    assert set(services) == {"head", "worker1", "worker2"}
    for service in services.values():
        assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert (FOLDER / "compose" / service["build"]["context"] / service["build"]["dockerfile"]).resolve().is_file()
        assert {v.split(":")[0] for v in service.get("volumes", [])} <= set(compose["volumes"])


def test_docker_takes_the_compose_file_and_asks_for_a_token() -> None:
    plugin = ["docker", "compose"]
    if shutil.which("docker") is None or subprocess.run([*plugin, "version"], capture_output=True).returncode:
        plugin = ["docker-compose"]  # as Debian has it; to read a file neither needs a daemon
    if shutil.which(plugin[0]) is None:
        pytest.skip("docker compose is not installed")
    command = [*plugin, "-f", str(FOLDER / "compose" / "compose.yaml"), "--profile", "all", "config"]
    done = subprocess.run(command, capture_output=True, text=True, env={"RAY_AUTH_TOKEN": "x", "PATH": "/usr/bin"})
    assert done.returncode == 0, done.stderr
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin"})
    assert done.returncode != 0
    assert "set RAY_AUTH_TOKEN" in done.stderr


def test_the_image_is_built_as_images_should_be() -> None:
    text = (FOLDER / "docker" / "Dockerfile").read_text()
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line and not line.startswith("#")]
    (base,) = [line for line in lines if line.startswith("FROM ")]
    assert re.fullmatch(r"FROM [\w./-]+:[\w.-]*\d[\w.-]*", base), "a pinned base"
    assert not [line for line in lines if line.startswith("ADD ")]
    for line in lines:
        if "apt-get install" in line:
            assert "--no-install-recommends" in line
            assert "rm -rf /var/lib/apt/lists" in line
        if "pip install" in line:
            assert line.count("pip install") == line.count("--no-cache-dir")
    user = [line for line in lines if line.startswith("USER ")]
    assert user == ["USER lab"]
    assert lines.index("USER lab") > max(i for i, line in enumerate(lines) if line.startswith(("RUN", "COPY")))
    for source in re.findall(r"^COPY (.+) \S+$", text, re.M):
        assert all((FOLDER.parent / name).exists() for name in source.split())


def test_no_secret_stands_in_any_file() -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file():
            secrets = re.findall(r"(?i)(?:token|password|secret)\S*\s*[:=]\s*[\"']?([0-9a-f]{16,})", path.read_text())
            assert not secrets, path


@pytest.mark.parametrize("folder", [path for path in sorted(FOLDER.iterdir()) if path.is_dir()], ids=lambda p: p.name)
def test_each_folder_says_in_a_few_lines_how_digits_runs_there(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert "studies/digits.yaml" in text
    assert len(text.splitlines()) <= 18
    for name in re.findall(r"cluster/[\w./-]+\.(?:yaml|sbatch)", text):
        assert (FOLDER.parent / name).is_file()
