"""Errors of the command name its options, not parameters of the libraries or inputs of nodes."""

from __future__ import annotations

import pytest
from t2i_adapter_pack.cli.messages import in_options
from t2i_adapter_pack.training.errors import TrainingError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            TrainingError("learning_rate", "nan", "a number above 0", "Change learning_rate.", says="It is wrong."),
            "It is wrong.\n--learning-rate: got nan; expected a number above 0. Change --learning-rate.",
        ),
        (
            TrainingError("run_name", "another run", "its own", "Choose another run_name.", says="The run differs."),
            "The run differs.\n--name: got another run; expected its own. Choose another --name.",
        ),
        (
            TrainingError("Train T2I-Adapter, model", "a flow model", "SD1.x", "Load another.", says="No."),
            "No.\n--checkpoint: got a flow model; expected SD1.x. Load another.",
        ),
        (
            TrainingError("data, my_data", "'save_every'", "a folder of steps", "Correct it.", says="No."),
            "No.\n--data, my_data: got 'save_every'; expected a folder of steps. Correct it.",
        ),
        (
            TrainingError("step 4", "a loss of nan", "a finite one", "Lower learning_rate.", says="It diverged."),
            "It diverged.\nstep 4: got a loss of nan; expected a finite one. Lower --learning-rate.",
        ),
    ],
    ids=["a setting", "the run", "a node", "a value", "a step"],
)
def test_errors_name_options(error: TrainingError, message: str) -> None:
    assert in_options(error) == message
