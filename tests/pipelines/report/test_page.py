import collections
import html.parser
import json
import pathlib
import re

import pytest

from features.errors import MalTfError
from pipelines.report import page
from pipelines.report.run_files import RunFiles
from pipelines.report.sections import comparison
from tests.pipelines.report import runs


class Parsed(html.parser.HTMLParser):
    """Tags with their attributes, in order, and the text outside of `<style>`."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if not self.tags or self.tags[-1][0] != "style":
            self.text.append(data)

    def all(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


def rendered(*directories: str) -> str:
    return page.render([RunFiles(directory) for directory in directories], directories[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runs.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def text(run):
    return rendered(run)


def test_all_sections_of_a_run_have_what_they_are_about(text):
    found = re.findall(r'<h2 id="(\w+)-title">', text)
    expected = "verdict metrics slices growth calibration labels journeys data training model made"
    assert found == expected.split()
    assert 'class="part missing"' not in text
    assert "mal against base: better in AUC and log-loss; no difference shown in GAUC." in text
    assert "AUC +0.0200 (+0.0100 … +0.0300)" in text


def test_the_same_files_give_the_same_bytes(run, text):
    assert rendered(run) == text


def test_nothing_is_fetched_and_links_lead_to_files_of_the_run(run, text):
    parsed = Parsed(text)
    links = [a[key] for _, a in parsed.tags for key in ("src", "href", "srcset", "action", "data") if a.get(key)]
    ids = {a["id"] for _, a in parsed.tags if "id" in a}
    for link in set(links):
        if link.startswith("#"):
            assert link[1:] in ids
        elif link != "data:,":
            assert pathlib.Path(run, link).is_file()
    assert pathlib.Path("evaluate/metrics.json") in map(pathlib.Path, links)
    assert not re.search(r"url\((?!#)|@import|<script|<iframe|<object", text)
    assert all(target in ids for target in re.findall(r"url\(#([^)]+)\)", text))


def test_every_picture_and_table_can_be_traced(text):
    for figure in re.findall(r"<figure.*?</figure>", text, re.DOTALL):
        assert re.search(r'class="source">From \S', figure), figure[:200]
    sources = set(re.findall(r'class="source">From (?:<a href="[^"]*">)?([\w./*-]+)', text))
    assert {"evaluate/metrics.json", "labels/label_report.json", "journeys/journeys.json"} <= sources


def test_structure_that_assistive_technology_needs(text):
    parsed = Parsed(text)
    counts = collections.Counter(tag for tag, _ in parsed.tags)
    assert parsed.all("html")[0]["lang"] == "en"
    assert counts["h1"] == counts["main"] == counts["title"] == counts["header"] == counts["footer"] == 1
    assert parsed.all("nav")[0]["aria-label"]
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h\d", tag)]
    assert all(below - above <= 1 for above, below in zip(levels, levels[1:], strict=False))
    assert counts["svg"] >= 10
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 10 for svg in parsed.all("svg"))
    assert counts["table"] == counts["caption"]
    assert {th["scope"] for th in parsed.all("th")} == {"col", "row"}
    assert all(
        a.get("tabindex") == "0" and a["aria-label"] for a in parsed.all("div", "pre") if "scroll" in a.get("class", "")
    )
    assert not re.search(r"<th[^>]*></th>", text)


def test_pictures_have_the_pages_colours_and_no_others(text):
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--series-01)" in drawn and "var(--ink)" in drawn
    assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r"&#\d+;|#i\d+-\w+", "", drawn))
    css = text[: text.index("</style>")]
    assert set(re.findall(r"var\((--[\w-]+)\)", drawn)) <= set(re.findall(r"(--[\w-]+):", css))


HOSTILE = "</pre><script>alert('x')</script>$\\frac{$&amp;"


def test_names_and_values_are_text_whatever_they_hold(tmp_path):
    config = runs.CONFIG | {"name": HOSTILE}
    directory = pathlib.Path(runs.write(tmp_path, config))
    evaluated = runs.evaluation()
    evaluated["slices"][0]["name"] = evaluated["slices"][3]["by"] = HOSTILE
    (directory / "evaluate/metrics.json").write_text(json.dumps(evaluated))
    text = rendered(str(directory))
    assert "<script" not in text
    assert "".join(Parsed(text).text).count(HOSTILE) >= 4


def test_several_runs_stand_side_by_side_and_ids_stay_unique(run, text, tmp_path):
    other = runs.write(tmp_path / "other")
    both = rendered(run, other)
    parsed = Parsed(both)
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert len(parsed.all("svg")) == 2 * len(Parsed(text).all("svg"))
    assert "small (other)" in both and "Runs side by side" in both
    assert "evaluate/metrics.json" in both


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("evaluate/manifest.json", "The models were not evaluated."),
        ("labels/manifest.json", "The label job did not finish."),
        ("validate/manifest.json", "The data was not validated."),
        ("train/mal/tensorboard/events.out.tfevents.1.host", "mal: its event files hold no curve"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, path, says):
    directory = pathlib.Path(runs.write(tmp_path))
    (directory / path).unlink()
    assert says in rendered(str(directory))


@pytest.mark.parametrize("path", ["statistics/FeatureStats.pb", "evaluate/metrics.json"])
def test_a_damaged_file_costs_its_section_alone(tmp_path, path):
    directory = pathlib.Path(runs.write(tmp_path / "damaged"))
    (directory / path).write_bytes(b"{\xff\xfe")
    other = runs.write(tmp_path / "other")
    for text in (rendered(str(directory)), rendered(str(directory), other)):
        assert "A file is not as expected" in text and "What was run" in text


@pytest.mark.parametrize(("path", "content"), [("config.yaml", "a: [1"), ("config.yaml", ""), ("plan.json", "{")])
def test_a_run_whose_name_can_t_be_read_is_an_error_that_says_where(tmp_path, path, content):
    directory = pathlib.Path(runs.write(tmp_path))
    (directory / path).write_text(content)
    with pytest.raises(MalTfError, match=str(directory)):
        rendered(str(directory))


def test_a_run_that_ended_with_an_error_says_so_first(tmp_path):
    directory = pathlib.Path(runs.write(tmp_path))
    (directory / "failed.txt").write_text("clicks.parquet can't be read\n")
    text = rendered(str(directory))
    said = [
        text.index(words) for words in ("stages below may be of an earlier config", "clicks.parquet can", "mal against")
    ]
    assert said == sorted(said)


def test_a_verdict_says_where_users_are_too_few(tmp_path):
    directory, found = pathlib.Path(runs.write(tmp_path)), runs.evaluation()
    found["differences"]["base"]["gauc"] |= dict.fromkeys(("low", "high", "p", "adjusted_p"))
    (directory / "evaluate/metrics.json").write_text(json.dumps(found))
    said = "mal against base: better in AUC and log-loss; too few users to tell in GAUC."
    assert said in rendered(str(directory))
    for metric in ("auc", "log_loss"):
        found["differences"]["base"][metric] |= {"low": -1, "high": 1}
    (directory / "evaluate/metrics.json").write_text(json.dumps(found))
    said = "mal against base: no difference shown in AUC and log-loss; too few users to tell in GAUC."
    assert said in rendered(str(directory))


def test_a_verdict_without_a_difference_says_how_much_data_would_show_one(tmp_path):
    directory, found = pathlib.Path(runs.write(tmp_path)), runs.evaluation()
    for metric in ("auc", "log_loss", "gauc"):
        found["differences"]["base"][metric] |= {"low": -0.01, "high": 0.018}  # SE .0071, of which 2.80 are .0200.
    (directory / "evaluate/metrics.json").write_text(json.dumps(found))
    said = "difference in GAUC of 0.0200 is shown in four of five cases; one of 0.005 takes about 16 times as many."
    assert said in rendered(str(directory))
    found["differences"]["base"]["gauc"] |= {"low": -0.001, "high": 0.001}
    (directory / "evaluate/metrics.json").write_text(json.dumps(found))
    assert "difference in GAUC of 0.0014 is shown in four of five cases." in rendered(str(directory))
    found["differences"]["base"]["gauc"] |= {"low": 0.01, "high": 0.02, "adjusted_p": 0.01}
    (directory / "evaluate/metrics.json").write_text(json.dumps(found))
    assert "in four of five cases" not in rendered(str(directory))


def test_metrics_have_their_intervals_and_other_labels_their_curves(text):
    said = " ".join("".join(Parsed(text).text).split())
    assert said.count("0.6912 … 0.7512") == 1 + len(runs.MECHANISMS)  # In the verdict too.
    assert said.count("Under the labels of the other mechanisms") == 1
    assert "Calibration of mal, label_linear" in said


def test_the_verdict_of_a_comparison_is_corrected_for_all_its_rows(tmp_path):
    """Of twenty rows one has p = .01, which one in five such comparisons has by chance alone."""

    def row(number, p):
        of = {
            metric: {"value": 0.7, "difference": 0.1, "low": 0.05, "high": 0.15, "p": p} for metric in ("gauc", "auc")
        }
        return {"row": f"m{number}", "primary": "last", "differences": {"all": {"all": of}}}

    rows = [{"row": "base", "primary": "last", "differences": {}}, row(1, 0.01), *(row(n, 0.9) for n in range(2, 21))]
    directory = pathlib.Path(runs.write(tmp_path))
    comparisons = [{"name": "Models", "against": "base", "rows": rows}]
    result = {"seeds": [1], "bootstrap_samples": 2000, "comparisons": comparisons}
    (directory / "benchmark.json").write_text(json.dumps({"name": "small"}))

    def verdict_of(**settings):
        (directory / "results.json").write_text(json.dumps(result | settings))
        (verdict,) = comparison.verdicts(RunFiles(str(directory)))
        return verdict

    verdict = verdict_of()
    assert (
        "p corrected for 20 comparisons: no difference shown: m1, m2" in verdict.sentence and verdict.reading == "open"
    )
    rows[1] = row(1, 2 / 2001)
    assert "better: m1; no difference shown: m2" in verdict_of().sentence
    rows[1] = row(1, 2 / 201)
    assert (
        "200 resamples are too few to show any (bootstrap_samples: 800 are enough)"
        in verdict_of(bootstrap_samples=200).sentence
    )
    rows[1] = row(1, 2 / 801)
    said = verdict_of(bootstrap_samples=800).sentence
    assert "too few" not in said and "better: m1" in said
    alone = [{"name": "Models", "against": "base", "rows": rows[:2]}]
    assert "GAUC against base: better: m1." in verdict_of(comparisons=alone).sentence
    rows[1]["differences"]["all"]["all"]["gauc"] |= dict.fromkeys(("low", "high", "p"))
    assert verdict_of(comparisons=alone).sentence.endswith("GAUC against base: too few users to tell: m1.")
    rows[1] = row(1, None)
    assert "not corrected for how many there are, as an earlier version" in verdict_of().sentence


def test_an_earlier_versions_files_are_shown_as_far_as_they_go(tmp_path):
    directory = pathlib.Path(runs.write(tmp_path))
    new = runs.evaluation()
    old = {key: new[key] for key in ("target", "models")}
    old["differences"] = {"base": {"auc": {"difference": 0.02, "low": 0.01, "high": 0.03}}}
    (directory / "evaluate/metrics.json").write_text(json.dumps(old))
    text = rendered(str(directory))
    assert "mal against base: better in AUC." in text
    assert text.count("earlier version of mal-tf") == 2  # Labels and slices.
    (directory / "evaluate/metrics.json").write_text(json.dumps({"models": []}))
    assert "A file is not as expected" in rendered(str(directory))


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(MalTfError, match="expected the directory of a run, with run.json and config.yaml in it"):
        RunFiles(str(tmp_path))


def test_a_span_says_what_became_of_it(tmp_path):
    pushed = rendered(runs.span(tmp_path / "a", pushed=4))
    assert "Span 2024-01-14 was pushed, as version 4." in pushed
    assert "AUC 0.7000 (what serves: 0.7200)" in pushed
    refused = rendered(runs.span(tmp_path / "b", reasons=("auc 0.7 is below 0.99",)))
    assert "was refused: the candidate is not blessed" in refused and "auc 0.7 is below 0.99" in refused
    spoilt = rendered(runs.span(tmp_path / "c", anomalies=("train split, feature &lt;x>: drift",)))
    assert "was refused: anomalies in the data" in spoilt and "feature &amp;lt;x&gt;: drift" in spoilt
    sections = re.findall(r'<h2 id="(\w+)-title">', pushed)
    assert sections[:2] == ["verdict", "gates"] and "metrics" not in sections


def test_anomalies_of_a_run_are_told_by_feature(tmp_path):
    directory = pathlib.Path(runs.write(tmp_path))
    (directory / "validate/manifest.json").unlink()
    (directory / "validate/Split-eval").mkdir()
    (directory / "validate/Split-eval/SchemaDiff.pb").write_bytes(runs.anomaly("'side' is not known"))
    text = rendered(str(directory))
    assert "Anomalies in the data: 1." in text
    assert "eval split, feature &#39;place&#39;: Unexpected values: &#39;side&#39; is not known" in text
