"""What files say of the documentation is there."""

import re

from tests.support.source_tree import FLOORS, ROOT

KINDS = {".py", ".yaml", ".md", ".toml"}
ROOMS = (*FLOORS, "benchmarks", "deploy", "docs", "examples", "tests")


def test_pages_that_files_name_exist():
    paths = [*ROOT.iterdir(), *(path for room in ROOMS for path in (ROOT / room).rglob("*"))]
    missing = {
        f"{path.relative_to(ROOT)}: {page}"
        for path in paths
        if path.suffix in KINDS and path.name != "CHANGELOG.md"
        for page in re.findall(r"(?<![\w/.])docs/\w+\.md", path.read_text(encoding="utf-8"))
        if not (ROOT / page).exists()
    }
    assert missing == set()
