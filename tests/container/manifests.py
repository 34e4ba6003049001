"""What the manifests in contrib/container say, as a container's run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

CONTAINER = Path(__file__).resolve().parents[2] / "contrib/container"


@dataclass
class Service:
    arguments: list[str]
    environment: dict[str, str]
    capabilities: set[str]  # all others are dropped
    mounts: dict[str, tuple[str, bool]]  # by where: what, and whether it is writable
    is_hosts: bool  # network and PID namespace are the host's
    is_read_only: bool
    may_gain_privileges: bool


def load(name: str) -> dict:
    return yaml.safe_load((CONTAINER / name).read_text())


def compose() -> Service:
    service = load("compose.yaml")["services"]["iptables_exporter"]
    volumes = [(*volume.split(":"), "rw")[:3] for volume in service["volumes"]]
    assert service["cap_drop"] == ["ALL"]
    return Service(
        service["command"], service["environment"], set(service["cap_add"]),
        {where: (what, options == "rw") for what, where, options in volumes},
        service["network_mode"] == service["pid"] == "host", service["read_only"],
        "no-new-privileges:true" not in service["security_opt"],
    )  # fmt: skip


def daemon_set() -> Service:
    pod = load("daemonset.yaml")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    security = container["securityContext"]
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
    assert security["capabilities"]["drop"] == ["ALL"] and security["runAsUser"] == 0
    return Service(
        container["args"], {one["name"]: one["value"] for one in container["env"]}, set(security["capabilities"]["add"]),
        {mount["mountPath"]: (paths[mount["name"]], not mount.get("readOnly")) for mount in container["volumeMounts"]},
        pod["hostNetwork"] and pod["hostPID"], security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"],
    )  # fmt: skip
