import logging

from tests.mal_tf.training import small


def test_a_training_of_few_steps_says_what_to_turn(tmp_path, caplog):
    split, of_steps = small.write(tmp_path), []
    with caplog.at_level(logging.WARNING, "mal_tf.train"):
        for batch_size in (16, 2):
            small.train(split, tmp_path / str(batch_size), "base", {"batch_size": batch_size})
            of_steps.append(caplog.text)
    assert "base: 309 clicks are 20 steps of training.batch_size 16, too few to learn much; lower it" in of_steps[0]
    assert of_steps[0] == of_steps[1]  # 155 steps are said nothing of.
