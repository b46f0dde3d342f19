"""One of several processes that train the toy together: `python share.py FILE`; the first writes its losses there.

With a second word, `freeze`, the second process stops computing after two steps, and the others give up after seconds.
"""

import datetime
import importlib
import json
import os
import signal
import sys
import time
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

    if sys.argv[2:] == ["freeze"]:
        lose_one(importlib.import_module("suite.training.test_session"))
        return
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


def lose_one(sessions: types.ModuleType) -> None:
    from t2i_adapter_pack.training.distributed import join
    from t2i_adapter_pack.training.errors import LostProcessError

    patience = 4
    processes = join(cpu=True, patience=datetime.timedelta(seconds=patience))
    # A preparation may take longer.
    time.sleep(0 if processes.first else patience + 1)
    processes.wait()

    def freeze(step: int, loss: float) -> None:
        if step == 2 and not processes.first:
            os.kill(os.getpid(), signal.SIGSTOP)

    with sessions.session(Path(sys.argv[1]), processes, {"save_every": 1}, batch_size=2) as one:
        sessions.start(one)
        try:
            one.run(freeze)
        except LostProcessError as error:
            sys.exit(str(error))
        finally:
            processes.leave()


if __name__ == "__main__":
    main()
