"""What the manifests in contrib/container say, as a container's run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

CONTAINER = Path(__file__).resolve().parents[2] / "contrib/container"
LOCK = "/run/xtables.lock"


@dataclass
class Mount:
    source: str
    is_writable: bool
    made: str  # what the runtime makes of a source that is not there: directory, file, or nothing


@dataclass
class Service:
    arguments: list[str]
    environment: dict[str, str]
    capabilities: set[str]  # all others are dropped
    mounts: dict[str, Mount]  # by where
    is_in_hosts_network: bool
    sees_hosts_processes: bool
    is_read_only: bool
    may_gain_privileges: bool


def text_of(name: str, with_lock: bool = False) -> str:
    """`with_lock`: with the lines that are comments, as who wants the lock file mounted has them."""
    text = (CONTAINER / name).read_text()
    if with_lock:
        text, count = re.subn(r"(?m)^( +)#(pid|hostPID|- \{)", r"\1\2", text)
        assert count >= 2, name
    return text


def load(name: str, with_lock: bool = False) -> dict:
    return yaml.safe_load(text_of(name, with_lock))


def mount_of_compose(volume: str | dict) -> tuple[str, Mount]:
    if isinstance(volume, str):
        source, target, options = (*volume.split(":"), "rw")[:3]
        return target, Mount(source, options == "rw", "directory")
    is_made = volume.get("bind", {}).get("create_host_path", True)
    return volume["target"], Mount(volume["source"], not volume["read_only"], "directory" if is_made else "")


def compose(with_lock: bool = False) -> Service:
    service = load("compose.yaml", with_lock)["services"]["iptables_exporter"]
    assert service["cap_drop"] == ["ALL"]
    return Service(
        service["command"], service["environment"], set(service["cap_add"]),
        dict(map(mount_of_compose, service["volumes"])),
        service["network_mode"] == "host", service.get("pid") == "host", service["read_only"],
        "no-new-privileges:true" not in service["security_opt"],
    )  # fmt: skip


def daemon_set(with_lock: bool = False) -> Service:
    pod = load("daemonset.yaml", with_lock)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    security = container["securityContext"]
    sources = {volume["name"]: volume["hostPath"] for volume in pod["volumes"]}
    made = {"DirectoryOrCreate": "directory", "FileOrCreate": "file", "Directory": "", "File": ""}
    assert security["capabilities"]["drop"] == ["ALL"] and security["runAsUser"] == 0
    return Service(
        container["args"], {one["name"]: one["value"] for one in container["env"]}, set(security["capabilities"]["add"]),
        {
            mount["mountPath"]: Mount(source["path"], not mount.get("readOnly"), made[source["type"]])
            for mount in container["volumeMounts"]
            for source in [sources[mount["name"]]]
        },
        pod["hostNetwork"], pod.get("hostPID", False),
        security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"],
    )  # fmt: skip
