"""What a glob matches, letter by letter; `test_files` has globs on disks and object stores."""

import pytest

from pipelines.core import globs


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("a*", ["a", "ab", "a_", "a.b", "a\\b", "a\nb"], ["ba", "a/b"]),
        ("?a", ["xa", "\\a"], ["/a", "_a", ".a", "a"]),
        ("x?", ["x_", "x."], ["x/"]),
        ("[!x]a", ["ya", "\\a"], ["xa", "_a", "/a"]),
        ("[._a]b", ["_b", ".b", "ab"], ["xb"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("x[!^]", ["xa"], ["x^", "x/"]),
        ("[a-c]", ["b"], ["d", "-"]),
        ("a[]x]", ["a]", "ax"], ["a[]x]"]),
        ("a[\\]b", ["a\\b"], ["ab"]),
        ("a[b", ["a[b"], ["ab"]),
        ("[]", ["[]"], [""]),
        ("[!]", ["[!]"], ["!", "a"]),
        ("[c-a]x", [], ["ax", "bx", "x", "[c-a]x"]),
        ("[+--]", ["+", ",", "-"], ["a"]),
        ("[a--b]", ["b"], ["-", "a"]),
        ("[a&&b]", ["&"], ["x"]),
        ("a[[]b", ["a[b"], ["a[[]b"]),
        ("a.b", ["a.b"], ["axb"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/_x/b", "a/x/.y/b", "ab", "xa/b"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "a/_b", "a/b/_c"]),
        ("a**/b", ["a/b", "ax/b", "ax/y/b"], ["b", "ax/_y/b"]),
        ("**/_x/**/*", ["_x/a", "a/_x/b/c"], ["x/a", "_x/_a"]),
        ("gs://b/_tmp/*", ["gs://b/_tmp/a"], ["gs://b/_tmp/_a"]),
    ],
)
def test_a_glob_matches_names_letter_by_letter(pattern, matched, others):
    fits = globs.expression(pattern).fullmatch
    assert [text for text in [*matched, *others] if fits(text)] == matched
