"""Write requirements with hashes of what `pip install --dry-run --report FILE` chose: `lock.py FILE > locked.txt`."""

import json
import re
import sys
from pathlib import Path

HEADER = """\
# What CI installs, for Python {python_version} on {sys_platform} {platform_machine} alone: the versions of
# constraints.txt, with torch's own packages and what builds this project, each file checked against its SHA-256.
# `make locked` installs it; `make lock` renews it, after constraints.txt or pyproject.toml has changed."""

report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
print(HEADER.format(**report["environment"]))
chosen = {re.sub(r"[-_.]+", "-", each["metadata"]["name"]).lower(): each for each in report["install"]}
for name, each in sorted(chosen.items()):
    if "dir_info" not in each["download_info"]:  # that is this project itself
        digest = each["download_info"]["archive_info"]["hashes"]["sha256"]
        print(f"{name}=={each['metadata']['version']} --hash=sha256:{digest}")
