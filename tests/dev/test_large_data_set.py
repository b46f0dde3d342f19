"""A data set of 20 000 pictures, from preparation to a resumed run."""

from __future__ import annotations

import pytest

from ..training.test_processes import prepare_and_train

pytestmark = [pytest.mark.slow, pytest.mark.workshop, pytest.mark.timeout(1800)]


def test_twenty_thousand_pictures_are_prepared_added_to_resumed_and_trained_by_two_processes(tmp_path):
    prepare_and_train(tmp_path, 20_000, 1700)
