"""Models by name; a new one is a module and a line here."""

#: Module of each model; its function `build` makes the network.
MODELS = {
    "base": "mal_tf.models.base",
    "shared_bottom": "mal_tf.models.shared_bottom",
    "mmoe": "mal_tf.models.mmoe",
    "ple": "mal_tf.models.ple",
    "home": "mal_tf.models.home",
    "mal": "mal_tf.models.mal",
    "natal": "mal_tf.models.natal",
    "moae": "mal_tf.models.moae",
}
