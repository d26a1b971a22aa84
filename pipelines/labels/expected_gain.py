"""Whether multi-attribution learning may pay, from the label report alone, before any training."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pipelines.config.evaluation import GrowthConfig
from pipelines.core.text_table import Table

#: Growth of the positives from which a gain in AUC was measured within one attribution window of the training split
#: (docs/results.md: 4.6 on a market of long journeys, 9.3 on Criteo's log), and most positives of the primary target on a log
#: with such a gain (620 and 679). Later than a window no gain was found.
GAIN_FROM_GROWTH, GAIN_UP_TO_POSITIVES = 4.5, 700

#: Largest growth of the positives at which no gain was found (docs/results.md: 1.3 on KuaiRand, 1.75 on the simulated market).
NO_GAIN_UP_TO_GROWTH = 1.75

#: Whether multi-attribution learning may pay; `open` if no measurement says so, or an answer is impossible.
Verdict = Literal["possible", "open", "unlikely"]

#: Where docs and commands send the reader.
_MORE = "See docs/when.md."


class ExpectedGain(NamedTuple):
    """Facts of the training split on which the gain depends, and what measurements on other logs say of such facts.

    Attributes:
        primary: the primary target.
        wider: the mechanism that it is compared with.
        clicks: clicks of the training split.
        positives: positives under the primary target; None if the report does not count it.
        growth: positives under `wider`, divided by those under the primary target; None if either is not known or there are none.
        longer_journeys: share of the attributed conversions with two or more touches; None if there are none.
        verdict: the verdict.
        finding: the verdict and its reason, as sentences.
    """

    primary: str
    wider: str
    clicks: int
    positives: int | None
    growth: float | None
    longer_journeys: float | None
    verdict: Verdict
    finding: str


def expected_gain(report: Mapping[str, Any], primary: str, growth: GrowthConfig) -> ExpectedGain:
    """Returns what a label report says about the gain of learning other mechanisms beside the primary target.

    Args:
        report: the label report.
        primary: the primary target of the models.
        growth: `wider` is the mechanism that the primary target is compared with. The gain was measured on models of `narrower`.

    Example:
        >>> mechanisms = {"last": {"positives": 100}, "linear": {"positives": 460}}
        >>> splits = {"train": {"clicks": 5000, "mechanisms": mechanisms}}
        >>> report = {"splits": splits, "path_lengths": {"1": 30, "2": 50, "3": 20}}
        >>> found = expected_gain(report, "last", GrowthConfig())
        >>> found.growth, found.longer_journeys, found.verdict
        (4.6, 0.7, 'possible')
    """
    train, lengths = report["splits"]["train"], report.get("path_lengths") or {}
    counts = {name: mechanism["positives"] for name, mechanism in train["mechanisms"].items()}
    positives, wider, conversions = counts.get(primary), counts.get(growth.wider), sum(lengths.values())
    ratio = wider / positives if positives and wider is not None else None
    longer = 1 - lengths.get("1", 0) / conversions if conversions else None
    verdict: Verdict
    if ratio is None or not positives:
        verdict, finding = "open", _impossible(counts, primary, growth)
    else:
        verdict, finding = _judged(positives, ratio, primary, growth)
    return ExpectedGain(primary, growth.wider, train["clicks"], positives, ratio, longer, verdict, finding)


def _impossible(counts: Mapping[str, int], primary: str, growth: GrowthConfig) -> str:
    beginning = "Whether multi-attribution learning pays can't be said"
    for key, name in (("model.primary", primary), ("evaluation.growth.wider", growth.wider)):
        if name not in counts:
            return (
                f"{beginning}: the labels have no mechanism '{name}' ({key}), only {', '.join(counts)}; add it to "
                f"attribution.mechanisms, or name another in {key}."
            )
    return (
        f"{beginning}: no click of the training split is positive under the primary target {primary}; check that conversions "
        "find clicks (attribution.window_hours, match keys), or label more days."
    )


def _judged(positives: int, ratio: float, primary: str, growth: GrowthConfig) -> tuple[Verdict, str]:
    if primary == growth.wider:
        found = f"{primary} is the primary target itself, beside which others add few positives"
    else:
        found = f"{growth.wider} labels {ratio:.2f} times as many clicks positive as the primary target {primary}"
    found += f", which has {positives:,} positives"
    growing = round(ratio, 2)  # As it is shown.
    if growing <= NO_GAIN_UP_TO_GROWTH:
        seen = f"up to a growth of {NO_GAIN_UP_TO_GROWTH:g} no gain was found on other logs"
        return "unlikely", f"Multi-attribution learning is unlikely to pay: {found}; {seen}. {_MORE}"
    if primary == growth.narrower and growing >= GAIN_FROM_GROWTH and positives <= GAIN_UP_TO_POSITIVES:
        seen = (
            "such logs gained AUC in the first attribution window after the training split, but not later. Compare models on "
            "days after that window (labels.without_days): mal-tf benchmark"
        )
        return "possible", f"Multi-attribution learning may pay: {found}; {seen}. {_MORE}"
    seen = (
        f"gains were found for {growth.narrower} with a growth of {GAIN_FROM_GROWTH:g} or more and up to "
        f"{GAIN_UP_TO_POSITIVES:,} positives, and none up to a growth of {NO_GAIN_UP_TO_GROWTH:g}"
    )
    return "open", (
        f"Whether multi-attribution learning pays can't be said from the labels: {found}; {seen}. "
        f"Try: mal-tf benchmark (docs/results.md). {_MORE}"
    )


def table(gain: ExpectedGain) -> Table:
    """Returns the table of the facts, with the finding below it."""

    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    rows = [
        ["clicks", f"{gain.clicks:,}"],
        [f"positives, {gain.primary}", shown(gain.positives, ",")],
        [f"growth of the positives, {gain.wider} to {gain.primary}", shown(gain.growth, ".2f")],
        ["conversions after two or more clicks", shown(gain.longer_journeys, ".1%")],
    ]
    return Table("Does multi-attribution learning pay? (training split)", ["fact", "value"], rows, gain.finding)
