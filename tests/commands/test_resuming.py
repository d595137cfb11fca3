"""A training run that is not the one in the checkpoint is refused in the words of the command line."""

from pathlib import Path

import pytest

from tests.commands.running import Output, run_json, sentence

TRAIN = ["train", "digits", "-n", "mlp:4", "-q"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([], ["--rate", "0.2"], "the --rate of the --optimizer in the file is 0.05, here it is 0.2"),
        (["--optimizer", "adam"], ["--rate", "0.2"], "the --rate of the --optimizer in the file is 0.001, here it is"),
        ([], ["--optimizer", "adam"], "the --optimizer in the file is descent, here it is adam"),
        ([], ["--momentum", "0.5"], "the --momentum of the --optimizer in the file is"),
        ([], ["--batch-size", "5"], "the --batch-size in the file is 64, here it is 5"),
        ([], ["--accumulate", "2"], "the --accumulate in the file is 1, here it is 2"),
        ([], ["--clip", "1"], "the --clip in the file is not given, here it is 1.0"),
        ([], ["--seed", "1"], "the --seed in the file is 0, here it is 1"),
        ([], ["--patience", "3"], "this one stops early (--patience …), the file's run does not"),
        ([], ["--schedule", "cosine"], "the --schedule in the file is constant, here it is cosine; it cannot"),
        ([], ["--schedule", "linear"], "the --schedule in the file is constant, here it is linear; it cannot"),
        ([], ["--schedule", "one_cycle"], "the --schedule in the file is constant, here it is one_cycle; it cannot"),
        ([], ["--optimizer", "nadam"], "the --optimizer in the file is descent, here it is nadam"),
        ([], ["--average", "0.9"], "the --average in the file is not given, here it is 0.9"),
        ([], ["--freeze", "fc1"], "the --freeze in the file is not given, here it is fc1"),
        (["--schedule", "cosine"], ["--epochs", "2"], "give the same --schedule … and --epochs …"),
        (["--schedule", "one_cycle"], ["--epochs", "2"], "give the same --schedule … and --epochs …"),
        (["--schedule", "linear"], ["--epochs", "2"], "give the same --schedule … and --epochs …"),
        ([], ["--label-smoothing", "0.1"], "give the same --loss, --label-smoothing, --class-weights"),
        ([], ["--augment", "flip"], "changes its pictures in another way (--augment …)"),
        ([], ["--validation-fraction", "0"], "give the same DATA, --test-fraction, --validation-fraction"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_another_run_is_refused_by_the_options_that_differ(
    before: list[str], after: list[str], said: str, capsys: Output
) -> None:
    run_json(capsys, *TRAIN, *before, "--epochs", "1")
    epochs = [] if "--epochs" in after else ["--epochs", "1"]
    assert said in sentence(capsys, *TRAIN, *before, *after, *epochs, "--resume")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "too few to split off 0.2 of them; --test-fraction 0 splits off none"),
        (["--test-fraction", "0"], "too few to split off 0.1 of them; --validation-fraction 0 splits off none"),
        (["--test-fraction", "0", "--validation-fraction", "2"], "to split off, got --validation-fraction 2.0"),
        (["--test-fraction", "-1"], "got --test-fraction -1.0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parts_that_cannot_be_split_off(options: list[str], said: str, capsys: Output) -> None:
    Path("few.csv").write_text("a,b\n1,2.5\n2,3.5\n")
    assert said in sentence(capsys, "train", "few.csv", *options)
