"""readme_test.py README PROGRAM: what the README shows is what its commands print today.

In a block in fences, a line `$ COMMAND` is run in the repository's root, and what follows must be its
output.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def main() -> None:
    readme, program = Path(sys.argv[1]), Path(sys.argv[2])
    blocks = re.findall(r"^```\n\$ (.+)\n((?:.*\n)*?)```$", readme.read_text(), re.MULTILINE)
    if not blocks:
        sys.exit(f"{readme} shows no command")
    os.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    for command, shown in blocks:
        printed = subprocess.run(["sh", "-c", command], cwd=readme.parent, capture_output=True, text=True)
        if printed.stderr or printed.stdout != shown:
            sys.exit(f"$ {command}\nprints\n{printed.stdout}{printed.stderr}and not\n{shown}")


main()
