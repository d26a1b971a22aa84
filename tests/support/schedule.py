"""A schedule of daily retraining, and the spans that it has behind it."""

import datetime
import pathlib

from mal_tf.attribution.config import AttributionConfig
from pipelines.labels import fits
from pipelines.labels.sources import TablesSource
from pipelines.retrain import serving

RUN = {
    "name": "market",
    "sources": {
        "adapter": "tables",
        "time_unit": "s",
        "clicks": {
            "files": "clicks-{date}.parquet",
            "columns": {"click_id": "id", "user_id": "user", "timestamp": "time", "match_key": "shop"},
        },
        "conversions": {
            "files": "conversions-{date}.parquet",
            "columns": {"conversion_id": "id", "user_id": "user", "timestamp": "time", "match_key": "shop"},
        },
    },
    "features": [{"type": "categorical", "name": "shop"}],
    "attribution": {
        "window_hours": 60,
        "mechanisms": [{"name": "last", "type": "last"}, {"name": "first", "type": "first", "window_hours": 73}],
    },
    "labels": {"eval_from": "2000-01-01T00:00:00Z"},
    "model": {"name": "mal", "primary": "last"},
}


ATTRIBUTION = {
    "window_hours": 24,
    "mechanisms": [{"name": "last", "type": "last"}, {"name": "mta", "type": "shao_li"}],
}


CLICK_ROLES = RUN["sources"]["clicks"]["columns"] | {"touchpoint": "channel"}


SOURCES = RUN["sources"] | {"clicks": RUN["sources"]["clicks"] | {"columns": CLICK_ROLES}}


MADE_FOR = fits.made_for(
    config := AttributionConfig.model_validate(ATTRIBUTION),
    config.mechanisms[1],
    TablesSource.model_validate(SOURCES),
)


def day(number):
    return datetime.date(2024, 1, number)


def pushed(config, span, trained_until, fit_span, made_for=MADE_FOR, **more):
    """Has a model of a span serve, with `more` in its lineage."""
    model = f"{config.root}/spans/{span}/serving/mal/1"
    path = pathlib.Path(model)
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_text(str(span))
    labels = f"{config.root}/spans/{span}/labels"
    fits.write(labels, "mta", made_for, {})
    fits.write_types(labels, [])
    lineage = {"span": str(span), "model": model, "run": f"{config.root}/spans/{span}"}
    lineage |= {"trained_until": str(trained_until), "fit_span": str(fit_span)} | more
    return serving.push(model, f"{config.root}/serving", lineage)


def delayed(schedule):
    config, run = schedule
    return config.model_copy(update={"immature": "delayed_feedback"}), run
