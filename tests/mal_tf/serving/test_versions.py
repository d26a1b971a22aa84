"""Versions in a model's directory."""

from mal_tf.serving.versions import numbered


def test_integers_name_versions_and_nothing_else(tmp_path):
    for name in ("2", "10", "007", ".11.partial", "²", "٣", "-1", "1.5", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("")
    assert sorted((number, path.name) for number, path in numbered(str(tmp_path))) == [
        (2, "2"),
        (7, "007"),
        (10, "10"),
        (12, "12"),
    ]
    assert list(numbered(str(tmp_path / "nowhere"))) == []
