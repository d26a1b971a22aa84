"""What files say of the documentation is there."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[1]


def test_pages_that_files_name_exist():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    names = [name for name in listed if name.endswith((".py", ".yaml", ".md", "Makefile", ".toml")) and name != "CHANGELOG.md"]
    missing = {
        f"{name}: {page}"
        for name in names
        for page in re.findall(r"(?<![\w/.])docs/\w+\.md", (ROOT / name).read_text(encoding="utf-8"))
        if not (ROOT / page).exists()
    }
    assert missing == set()
