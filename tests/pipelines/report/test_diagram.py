from pipelines.report import diagram
from tests.pipelines.report.runs import BLOCKS


def test_rows_stand_on_what_they_read_and_the_served_head_is_named():
    rows = diagram.boxes(BLOCKS)
    assert [[box.lines[0] for box in row] for row in rows] == [
        ["Expert 8"],
        ["MLP 8→4"] * 3,
        ["loss", "CVR of last", "loss"],
    ]
    assert [[box.served for box in row] for row in rows] == [[True], [False, True, False], [False, True, False]]


def test_many_blocks_of_a_kind_become_one_box():
    more = [
        {"name": f"m{n}_head", "title": "Dense 1", "reads": ["bottom"], "served": False, "target": f"m{n}"}
        | {"primary": False}
        for n in range(12)
    ]
    rows = diagram.boxes([*BLOCKS, *more])
    assert [box.lines[0] for box in rows[1]] == ["2 × MLP 8→4", "MLP 8→4", "12 × loss"]
    assert rows[1][2].lines[1] == ", ".join(f"m{n}" for n in range(12))
    drawn = diagram.draw([*BLOCKS, *more], ["2 features"])
    assert "12 × loss" in drawn and "CVR of last" in drawn
    assert "Expert 8: bottom; 2 × MLP 8→4: first_tower, linear_tower" in diagram.words([*BLOCKS, *more])
