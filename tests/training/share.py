"""One of several processes that train the toy together: `python share.py FILE`; the first writes its losses there."""

import importlib
import json
import sys
import types
from pathlib import Path

TESTS = Path(__file__).absolute().parents[1]


def main() -> None:
    import torch

    # The tests' own way to reach the pack.
    suite = sys.modules["suite"] = types.ModuleType("suite")
    suite.__path__ = [str(TESTS)]
    importlib.import_module("suite.conftest")
    samples = importlib.import_module("suite.training.samples")
    from t2i_adapter_pack.training.distributed import join
    from t2i_adapter_pack.training.loop import Trainer, fit

    processes = join(cpu=True)
    settings = samples.settings(batch_size=2 * processes.count, prompt_dropout=0.3, gradient_accumulation=2)
    device = torch.device("cpu")
    trainer = Trainer(samples.adapter(), samples.examples(6), samples.denoiser(), settings, device, processes)
    fit(trainer, lambda: None)
    # Asked for by one alone.
    assert processes.any(processes.index == 1, device)
    processes.wait()
    if processes.first:
        Path(sys.argv[1]).write_text(json.dumps({"count": processes.count, "losses": trainer.losses}))
    processes.leave()


if __name__ == "__main__":
    main()
