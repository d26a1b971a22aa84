"""Globs of a user's files. They mean the same on local disks and on object stores, whose listing knows no folders.

`*`, `?` and `[…]` are of one name, and `**` is any number of folders, none included. They match no hidden name, which begins
with `.` or `_` as in `_SUCCESS` and `.part-0.csv.crc`, unless the pattern spells its first character; `_day=1`, a folder that is
a column, is not hidden.
"""

import fnmatch
import itertools
import os
import re
from collections.abc import Collection, Iterator

#: What Spark, Hadoop and Hive hide, where a wildcard begins a name.
_HIDDEN = r"(?!\.|_[^/=]*(?:/|\Z))"

_TOKEN = re.compile(r"\*\*/|\*{2,}|\*|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)


def expression(pattern: str, hidden: bool = False) -> re.Pattern[str]:
    """Compiles a glob, for `fullmatch` of paths.

    Args:
        pattern: the glob.
        hidden: whether it matches hidden names, too.
    """
    shown = "" if hidden else _HIDDEN
    parts = []
    for token in _TOKEN.finditer(pattern):
        text, begins = token.group(), pattern[: token.start()][-1:] in ("", "/")
        guard = shown if begins else ""
        if text == "**/" and begins:
            parts.append(f"(?:{shown}[^/]+/)*")
        elif text.startswith("**"):
            parts.append(f"{guard}(?:[^/]|/{shown})*" + "/" * text.endswith("/"))
        elif text == "*":
            parts.append(f"{guard}[^/]*")
        elif text == "?":
            parts.append(f"{guard}[^/]")
        elif text.startswith("[") and len(text) > 2:
            one_of = fnmatch.translate(text).removesuffix(r"\Z")
            parts.append((guard if text.startswith("[!") else "") + f"(?!/){one_of}")
        else:
            parts.append(re.escape(text))
    return re.compile("".join(parts), re.DOTALL)


def plain_part(pattern: str) -> str:
    """The beginning of a pattern up to its first wildcard."""
    return "".join(itertools.takewhile(lambda letter: letter not in "*?[", pattern))


def matching(pattern: str, paths: Collection[str]) -> list[str]:
    """The paths that a pattern matches. If there is none, `[` may be of the names themselves beside a `*`."""
    found = (list(filter(expression(text).fullmatch, paths)) for text in _readings(pattern))
    return next(filter(None, found), [])


def below(folder: str, pattern: str) -> list[str]:
    """Lists the local files that a pattern matches, relative to a folder. Links to folders are followed, except by `**`.

    Raises:
        OSError: a folder can't be read.
    """
    found = (list(filter(expression(text).fullmatch, _walk(folder, text))) for text in _readings(pattern))
    return next(filter(None, found), [])


def _readings(pattern: str) -> tuple[str, str]:
    return pattern, pattern.replace("[", "[[]")


def _walk(folder: str, pattern: str) -> Iterator[str]:
    """The files that a pattern may match, by the depth and the names of their folders."""
    parts = pattern.split("/")
    deep = next((level for level, part in enumerate(parts) if "**" in part), len(parts))
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_fail):
        place = os.path.relpath(root, folder)
        level = 0 if place == os.curdir else place.count("/") + 1
        if level >= deep:
            folders[:] = [name for name in folders if not os.path.islink(os.path.join(root, name))]
        else:
            fits = expression(parts[level], hidden=True).fullmatch
            folders[:] = [name for name in folders if level + 1 < len(parts) and fits(name)]
        yield from names if level == 0 else (os.path.join(place, name) for name in names)


def _fail(error: OSError) -> None:
    raise error
