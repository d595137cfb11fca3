"""`blockprop sanity`: curves of methods while a network forgets."""

import pytest

from blockprop.pictures.picture_files import read_picture
from tests.commands.running import PHOTO, Output, run_json

pytestmark = pytest.mark.usefixtures("network_and_photo")


def test_sanity_draws_a_curve_for_each_method(capsys: Output) -> None:
    found = run_json(capsys, "sanity", PHOTO, "-m", "gradient", "-m", "guided")
    assert found["layers"] == 3
    assert {method: len(values) for method, values in found["correlations"].items()} == {"gradient": 3, "guided": 3}
    assert min(read_picture("photo_sanity.png").shape[2:]) > 300
