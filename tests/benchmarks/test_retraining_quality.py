import datetime

from benchmarks import retraining_quality as quality


def span(auc):
    return {"auc": auc, "log_loss": 0.1, "pcoc": 1.0}


FOUND = {
    "daily": [span(0.9), span(0.6), span(0.8)],
    "once": [span(0.9), span(0.5), span(0.5)],
    "from scratch": [span(0.9), span(0.6), span(0.6)],
}


def test_the_first_span_which_is_the_same_for_all_does_not_count():
    daily, once, scratch = quality.results_table(FOUND).rows
    assert daily[:3] == ["daily", "0.7000", ""]
    # Differences −.1 and −.3: mean −.2, standard deviation .1414, over √2.
    assert once[1:3] == ["0.5000", "-0.2000 ± 0.1000"]
    assert scratch[1:3] == ["0.6000", "-0.1000 ± 0.1000"]


def test_figure_is_a_picture(tmp_path):
    days = [datetime.date(2024, 1, number) for number in (1, 2, 3)]
    quality.figure(days, FOUND, tmp_path / "quality.png")
    assert (tmp_path / "quality.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
