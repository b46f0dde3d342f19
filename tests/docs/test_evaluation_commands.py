"""The commands of docs/training.md that evaluate adapters, followed on the miniature."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from ..cli.conftest import miniature  # noqa: F401 - a fixture
from ..cli.held_out import scenes_folder, weights

pytestmark = pytest.mark.host
PAGE = Path(__file__).absolute().parents[2] / "docs" / "training.md"


def commands() -> list[list[str]]:
    """The words after `cli evaluate` of each command in the section."""
    section = PAGE.read_text(encoding="utf-8").partition("## Is it any good?")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\n(python .*?)```", section, re.DOTALL)
    return [shlex.split(block.replace("\\\n", " "))[3:] for block in blocks]


def test_there_are_a_first_command_and_that_of_the_paper():
    assert [words[words.index("--samples") + 1] for words in commands()] == ["500", "5000"]


@pytest.mark.parametrize("number", [0, 1])
def test_every_option_of_a_command_exists(number):
    from t2i_adapter_pack.cli.evaluation.options import parse_evaluation

    words = commands()[number]
    options = parse_evaluation(words)
    assert options.resolution == 512
    assert (options.sampler, options.scheduler, options.steps, options.cfg) == ("ddim", "ddim_uniform", 50, 7.5)


@pytest.mark.slow
def test_the_first_command_makes_a_report(miniature, tmp_path, comfyui_path):  # noqa: F811
    from t2i_adapter_pack.cli.main import main

    data = scenes_folder(tmp_path / "held_out", "sketch", 2)
    # Only files, sizes and the place of the results are other ones.
    own = {"--checkpoint": miniature, "--adapter": weights("sketch"), "--data": data, "--samples": 2}
    words = [str(own.get(before, word)) for before, word in zip(["", *commands()[0]], commands()[0], strict=False)]
    more = ["--resolution", "128", "--steps", "4", "--output", str(tmp_path), "--comfyui", str(comfyui_path)]
    assert main(["evaluate", *words, *more]) == 0
    folder = tmp_path / weights("sketch").stem
    rows = json.loads((folder / "report.json").read_text())["rows"]
    assert rows["real pictures"]["F1"]["value"] > rows["no adapter"]["F1"]["value"]
    assert (folder / "report.md").read_text().startswith(f"# {weights('sketch').stem}\n")
