"""One of two processes that prepare, add to, resume and train a data set: `python large.py FOLDER COUNT`.

The first process makes the pictures, adds some between two runs, and writes what happened to `told.json`.
"""

import importlib
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace

TESTS = Path(__file__).absolute().parents[1]
ADDED = 10


def main() -> None:
    import torch

    # The tests' own way to reach the pack.
    suite = sys.modules["suite"] = types.ModuleType("suite")
    suite.__path__ = [str(TESTS)]
    importlib.import_module("suite.conftest")
    datasets, samples, sessions = (
        importlib.import_module(f"suite.training.{name}") for name in ("datasets", "samples", "test_session")
    )
    from t2i_adapter_pack.training.distributed import join
    from t2i_adapter_pack.training.samples import list_folder

    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    processes, device = join(cpu=True), torch.device("cpu")
    torch.set_num_threads(1)
    encoded = torch.zeros(())
    plain = datasets.recipe(64)

    def latents(pictures: torch.Tensor) -> torch.Tensor:
        encoded.add_(len(pictures))
        return plain.latents(pictures)

    def run(steps: int, first: int, last: int, **plan: object) -> dict[str, object]:
        if processes.first:
            datasets.folder(folder / "pictures", tiny(datasets, range(first, last)))
        processes.wait()
        encoded.zero_()
        how = datasets.recipe(64, latents=latents)
        data = datasets.cached(list_folder(folder / "pictures"), folder / "cache", how, processes)
        settings = {"steps": steps, "batch_size": 4, "prompt_dropout": 0.3}
        with sessions.session(folder, processes, plan, **settings) as one:
            one.start(SimpleNamespace(network=samples.adapter()), data, samples.denoiser(), device)
            began = one.trainer.step
            one.run()
        made = processes.count * processes.mean([encoded.clone()])[0].item()
        return {"examples": len(data), "encoded": made, "began": began, "losses": one.trainer.losses,
                "changes": [change["step"] for change in one.trainer.data_changes]}  # fmt: skip

    told = [run(3, 0, count), run(5, count, count + ADDED, allow_new_data=True), run(7, 0, 0)]
    if processes.first:
        (folder / "told.json").write_text(json.dumps({"processes": processes.count, "runs": told}))
    processes.wait()
    processes.leave()


def tiny(datasets: types.ModuleType, numbers: range) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for number in numbers:
        files |= {f"{number:06}.png": datasets.png(64, 64, seed=number), f"{number:06}.txt": b"a picture"}
    return files


if __name__ == "__main__":
    main()
