from benchmarks import end_to_end
from benchmarks.tables import markdown


def test_goals():
    table = end_to_end.goals_table({"base": {"training": 21_300, "inference": 11_900}}, 4096)
    training, inference = table.rows
    assert training == ("BASE, training", "21,300", "7,100", "3.00", "3 ×", "met")
    assert inference == ("BASE, inference", "11,900", "11,900", "1.00", "4 ×", "not met")
    assert "| BASE, training | 21,300 |" in markdown(table)
