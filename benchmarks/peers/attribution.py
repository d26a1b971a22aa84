"""Channel totals of other attribution packages for given journeys: `python attribution.py JOURNEYS.json OUTPUT.json`.

Runs in an environment of its own (`requirements-attribution.txt`); `benchmarks.attribution_peers` calls it. Each package gets the
journeys in the form that it reads, with its defaults unless said otherwise. What a package can't do within a minute or at all is
in the output with the reason.
"""

import collections
import contextlib
import functools
import importlib.metadata
import io
import json
import logging
import pathlib
import sys
import time
import warnings

import definitions
import pandas as pd

#: Most channels for packages that go through every set of all channels of the log.
MOST_CHANNELS = 12

#: Most converting journeys for packages that take seconds per thousand of them.
MOST_JOURNEYS = 1200

#: Half-life of time decay in hours, where a package has one.
HALF_LIFE = 24.0


class Skipped(Exception):
    """A package's mechanism was not run; the message says why."""


class Log:
    """Journeys of a log in the forms that packages read."""

    def __init__(self, converting: list, other: list):
        self.converting, self.other = converting, other
        self.paths = [journey["path"] for journey in (*converting, *other)]
        self.hours = [journey["hours"] for journey in (*converting, *other)]
        self.converted = [1] * len(converting) + [0] * len(other)
        self.channels = sorted({channel for path in self.paths for channel in path})

    def texts(self) -> list[str]:
        """Each path as a text of channels in order."""
        return [" > ".join(path) for path in self.paths]

    def grouped(self) -> pd.DataFrame:
        """A row for each distinct path, with the numbers of converting and other journeys."""
        counts = collections.defaultdict(lambda: [0, 0])
        for text, converted in zip(self.texts(), self.converted, strict=True):
            counts[text][1 - converted] += 1
        rows = [(path, plus, minus) for path, (plus, minus) in sorted(counts.items())]
        return pd.DataFrame(rows, columns=["path", "total_conversions", "total_null"])

    def few_channels(self) -> None:
        """Raise `Skipped` if there are too many channels to go through all sets of them."""
        if len(self.channels) > MOST_CHANNELS:
            raise Skipped(f"goes through all sets of {len(self.channels)} channels")

    def few_journeys(self) -> None:
        """Raise `Skipped` if there are too many journeys for a package that loops over them in Python."""
        if len(self.converting) > MOST_JOURNEYS:
            raise Skipped(f"takes more than a minute for {len(self.converting):,} journeys")


def channelattribution(log: Log) -> dict:
    """ChannelAttribution: heuristics, and Markov chains of orders 1 and 2, simulated with seed 1."""
    import ChannelAttribution

    data = log.grouped()
    columns = {"var_path": "path", "var_conv": "total_conversions", "flg_pro": False}

    def rules(name):
        table = ChannelAttribution.heuristic_models(data, **columns).set_index("channel_name")
        return table[f"{name}_touch"].to_dict()

    @functools.cache
    def chain(order):
        return ChannelAttribution.markov_model(
            data, **columns, var_null="total_null", order=order, out_more=True, seed=1, verbose=False
        )

    def markov(order, what):
        return chain(order)[what].set_index("channel_name").iloc[:, 0].to_dict()

    return {
        "first": lambda: rules("first"),
        "last": lambda: rules("last"),
        "linear": lambda: rules("linear"),
        "markov, removal effect": lambda: markov(1, "removal_effects"),
        "markov, total": lambda: markov(1, "result"),
        "markov of order 2, removal effect": lambda: markov(2, "removal_effects"),
    }


def mta(log: Log) -> dict:
    """Package mta. Rules with `allow_loops`, as it otherwise drops consecutive repeats; the others with its defaults."""
    from mta.mta import MTA

    def run(method, result, loops=False, **parameters):
        model = MTA(log.grouped(), allow_loops=loops, normalize_by_default=False)
        getattr(model, method)(**parameters)
        return dict(model.attribution[result])

    def shapley():
        log.few_channels()
        return run("shapley", "shapley")

    return {
        "first": lambda: run("first_touch", "first_touch", loops=True),
        "last": lambda: run("last_touch", "last_touch", loops=True),
        "linear": lambda: run("linear", "linear", loops=True, share="proportional"),
        "linear over distinct types": lambda: run("linear", "linear"),
        "position": lambda: run("position_based", "pos_based", loops=True),
        "time_decay": lambda: run("time_decay", "time_decay", loops=True),
        "shao_li": lambda: run("shao", "shao"),
        "shapley": shapley,
        "markov, removal effect": lambda: run("markov", "markov"),
    }


def mam(log: Log) -> dict:
    """marketing-attribution-models, format `journey`."""
    from mam import MAM

    rows = pd.DataFrame(
        {
            "journey_id": [f"j{i}" for i in range(len(log.paths))],
            "channels": log.texts(),
            "hours": [" > ".join(map(repr, hours)) for hours in log.hours],
            "converted": [bool(c) for c in log.converted],
        }
    )
    model = MAM(rows, "journey", "channels", "converted", user_id_colname="journey_id", time_till_conv_colname="hours")

    def total(result):
        found = result.to_dict()
        return dict(zip(found["channels"], found["attribution"], strict=True))

    def markov_effect():
        result = model.run_markov()
        return result.metadata["removal_effect"]["removal_effect"].to_dict()

    return {
        "first": lambda: total(model.run_first_click()),
        "last": lambda: total(model.run_last_click()),
        "linear": lambda: total(model.run_linear()),
        "position": lambda: total(model.run_position_based()),
        "time_decay": lambda: total(model.run_time_decay(half_life_hours=HALF_LIFE)),
        "shapley": lambda: total(model.run_shapley()),
        "shapley, all channels": lambda: total(model.run_shapley(max_size=None)),
        "markov, removal effect": markov_effect,
        "markov": lambda: total(model.run_markov()),
    }


def pyattrscore(log: Log) -> dict:
    """Package pyattrscore, each converting journey as a user; the last touch is marked as the conversion."""
    logging.disable(logging.CRITICAL)
    import pyattrscore as package

    rows = [
        {
            "user_id": f"j{i}",
            "touchpoint_id": f"j{i}-{n}",
            "channel": channel,
            "timestamp": pd.Timestamp("2024-06-01") - pd.Timedelta(hours=hours),
            "conversion": n == len(journey["path"]) - 1,
            "conversion_value": 1.0,
        }
        for i, journey in enumerate(log.converting)
        for n, (channel, hours) in enumerate(zip(journey["path"], journey["hours"], strict=True))
    ]

    def run(name, **parameters):
        log.few_journeys()
        model = getattr(package, name)(package.AttributionConfig(**parameters))
        found = model.calculate_attribution(pd.DataFrame(rows))
        return found.groupby("channel")["attribution_score"].sum().to_dict()

    window = {"attribution_window_days": 90}
    return {
        "first": lambda: run("FirstTouchAttribution", **window),
        "last": lambda: run("LastTouchAttribution", **window),
        "linear": lambda: run("LinearAttribution", **window),
        "position": lambda: run("UShapedAttribution", **window),
        "time_decay": lambda: run("ExponentialDecayAttribution", **window),
    }


def do_attribution(log: Log) -> dict:
    """Package do-attribution: its default removal, and `redirect_to_null`."""
    import do_attribution as package

    def markov(what, **parameters):
        return package.MarkovAttribution(**parameters).fit(log.texts(), log.converted)[what]

    def shapley():
        log.few_channels()
        found = package.ShapleyAttribution().fit(log.texts(), log.converted)
        if found["attribution"] is None:
            raise Skipped(f"gives none: {found['normalization_reason']}")
        return {channel: share * sum(log.converted) for channel, share in found["attribution"].items()}

    null = {"removal_strategy": "redirect_to_null"}
    return {
        "markov, removal effect": lambda: markov("removal_effects", **null),
        "markov of order 2, removal effect": lambda: markov("removal_effects", order=2, **null),
        "markov, removal effect by default": lambda: markov("removal_effects"),
        "shapley": shapley,
    }


def shapley_attribution(log: Log) -> dict:
    """Package shapley-attribution."""
    import shapley_attribution as package

    def run(name, **parameters):
        return getattr(package, name)(**parameters).fit(log.paths, y=log.converted).get_attribution()

    def ordered():
        log.few_channels()
        log.few_journeys()
        return run("OrderedShapleyAttribution")

    return {
        "first": lambda: run("FirstTouchAttribution"),
        "last": lambda: run("LastTouchAttribution"),
        "linear": lambda: run("LinearAttribution"),
        "linear over distinct types": lambda: run("SimplifiedShapleyAttribution"),
        "position": lambda: run("PositionBasedAttribution"),
        "time_decay": lambda: run("TimeDecayAttribution"),
        "shapley": lambda: run("MonteCarloShapleyAttribution", n_iter=200, random_state=1),
        "shapley, ordered": ordered,
    }


def markovattribution(log: Log) -> dict:
    """Package markovattribution: a column for each touch, and the outcome `conv` or `null`."""
    from markovattribution.Markov import MarkovAttribution

    def run(what):
        most = max(map(len, log.paths))
        columns = {f"T_{n}": [path[n] if n < len(path) else float("nan") for path in log.paths] for n in range(most)}
        columns = {name: pd.Series(values, dtype=object) for name, values in columns.items()}
        columns["conv_flag"] = ["conv" if c else "null" for c in log.converted]
        model = MarkovAttribution()
        found = model.fit(pd.DataFrame(columns))
        return {str(k): float(v) for k, v in found[what].items()}

    return {"markov, removal effect": lambda: run("Removal Effects"), "markov, total": lambda: run("Markov Values")}


def pychattr(log: Log) -> dict:
    """Package pychattr: rules, and a Markov chain, simulated with seed 1."""
    from pychattr.channel_attribution import HeuristicModel, MarkovModel

    columns = {"path_feature": "path", "conversion_feature": "total_conversions", "separator": ">"}

    def rules(name):
        model = HeuristicModel(**columns, ensemble_results=False)
        table = model.fit(log.grouped().query("total_conversions > 0").reset_index(drop=True)).attribution_model_
        return table.set_index("channel")[f"{name}_touch_conversions"].to_dict()

    def markov(what, **parameters):
        model = MarkovModel(**columns, null_feature="total_null", random_state=1, **parameters)
        return getattr(model.fit(log.grouped()), what).set_index("channel_name").iloc[:, 0].to_dict()

    return {
        "first": lambda: rules("first"),
        "last": lambda: rules("last"),
        "linear": lambda: rules("linear"),
        "markov, removal effect": lambda: markov("removal_effects_", loops=False),
    }


PACKAGES = {
    "ChannelAttribution": (channelattribution, "channelattribution"),
    "mta": (mta, "mta"),
    "marketing-attribution-models": (mam, "marketing-attribution-models"),
    "pyattrscore": (pyattrscore, "pyattrscore"),
    "do-attribution": (do_attribution, "do-attribution"),
    "shapley-attribution": (shapley_attribution, "shapley-attribution"),
    "markovattribution": (markovattribution, "markovattribution"),
    "pychattr": (pychattr, "pychattr"),
}

#: Tools that can't be installed here, of which a rule was written anew from its definition.
DEFINITIONS = {
    "fractribution": "abcce92",
    "Snowplow dbt attribution": "0.5.1",
    "GA4": "2026",
    "W3C Attribution Level 1": "0d55053",
}


def totals(log: Log) -> list[dict]:
    """Run every mechanism of every package: rows with package, version, mechanism, seconds and totals or reason."""
    rules = definitions.mechanisms(log.converting, log.other)
    tools = [
        *((name, importlib.metadata.version(where), make(log)) for name, (make, where) in PACKAGES.items()),
        *((name, f"definition of {version}", rules[name]) for name, version in DEFINITIONS.items()),
    ]
    rows = []
    for package, version, mechanisms in tools:
        for name, run in mechanisms.items():
            row = {"package": package, "version": version, "mechanism": name}
            begin = time.perf_counter()
            try:
                with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    row["totals"] = {str(k): float(v) for k, v in run().items()}
            except Exception as error:
                text = str(error) if isinstance(error, Skipped) else f"{type(error).__name__}: {error}"
                row["reason"] = " ".join(text.split())[:200]
            rows.append(row | {"seconds": round(time.perf_counter() - begin, 2)})
            print(row["package"], row["mechanism"], row.get("reason", ""), rows[-1]["seconds"], file=sys.stderr)
    return rows


def main() -> None:
    """Read journeys, run the packages, write their totals."""
    source, output = map(pathlib.Path, sys.argv[1:])
    rows = totals(Log(**json.loads(source.read_text())))
    output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
