"""Clicks whose journeys have views, explained: every credit that the job wrote, and what is shown of the views."""

import io
import json

import pytest
from rich.console import Console

from pipelines.config.run import load
from pipelines.explain import chosen_journeys, show
from pipelines.explain.explain import explain
from tests.support.labels import read_labels
from tests.support.views import with_views

NAMES = ("last", "linear", "last_click", "last_1h", "mta")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    from tests.support.project import Project

    project = Project(tmp_path_factory.mktemp("views"))
    with_views(project, count=900)
    project.config["attribution"]["touchpoint"] = {"recency_hours": [2]}
    project.write()
    project.labels()
    return project


def test_credits_of_clicks_and_views_are_those_of_the_job(labelled):
    config, directory = load(str(labelled.folder / "config.yaml")), str(labelled.folder / "labels")
    written = read_labels(labelled.folder / "labels", NAMES)
    credited = [click for click in sorted(written) if 0 < written[click]["label_linear"] < 0.3]
    kinds, whole = set(), 0
    for click in [*credited[::20], *sorted(written)[::150]]:
        found = explain(config, directory, str(click))
        assert (found.differs, found.changed) == ([], False)
        for name in NAMES:
            sums = sum(conversion.credit[name][found.place] or 0 for conversion in found.journey.conversions)
            assert sums == pytest.approx(written[click][f"credit_{name}"], abs=1e-6)
        times = [touch.timestamp for touch in found.journey.context]
        assert times == sorted(times)
        kinds |= {touch.kind for touch in found.journey.context}
        for conversion in found.journey.conversions:
            linear = conversion.credit["linear"]
            if not any(linear) or linear[0] is not None or linear[-1] is not None:
                continue  # Clicks beyond those shown may take credit too.
            whole += 1
            for name in ("last", "linear"):
                both = [*conversion.credit[name], *conversion.context_credit.get(name, ())]
                assert sum(credit or 0 for credit in both) == pytest.approx(1)
            assert all(credit is None for credit in conversion.context_credit.get("last_click", ()))
    assert kinds == {"view"}
    assert whole


def test_views_are_shown_in_the_terminal_and_in_the_journeys_of_the_report(labelled):
    config, directory = load(str(labelled.folder / "config.yaml")), str(labelled.folder / "labels")
    written = read_labels(labelled.folder / "labels", NAMES)
    click = next(click for click in sorted(written) if 0 < written[click]["label_linear"] < 0.3)
    console = Console(file=io.StringIO(), width=80)
    show.show(console, explain(config, directory, str(click)))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for words in ("Journey: clicks, context touches and conversions", " c1 ", " view v", "path it is part of"):
        assert words in text
    assert chosen_journeys.write(config, directory, {}, str(labelled.folder))["journeys"] > 0
    chosen = json.loads((labelled.folder / "journeys.json").read_text())["journeys"]
    with_context = [journey for journey in chosen if "context" in journey]
    assert with_context
    for journey in with_context:
        assert {touch["kind"] for touch in journey["context"]} == {"view"}
        for conversion in journey["conversions"]:
            credit = conversion["credit"]["linear"] + conversion["context_credit"]["linear"]
            assert sum(credit) == pytest.approx(1)
