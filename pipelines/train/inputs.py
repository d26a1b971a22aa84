"""What a training's result depends on."""

from pipelines.config.run import RunConfig


def trained_from(config: RunConfig) -> dict:
    """The part of the config that a training's result depends on, besides the model's own."""
    included, without = {"seed", "features", "vocabulary", "training"}, {"training": {"checkpoint", "corrupt_records"}}
    held_out = {"held_out": config.calibration.segments} if config.calibration else {}
    return config.model_dump(mode="json", include=included, exclude=without) | held_out
