"""Examples on the disk: made once, whole or not at all, and the same from folders and shards."""

from __future__ import annotations

import errno

import pytest
import torch
from t2i_adapter_pack.training import cache, checkpoints
from t2i_adapter_pack.training.cache import open_file, prepare_cache
from t2i_adapter_pack.training.cached_dataset import CachedSet
from t2i_adapter_pack.training.distributed import ALONE, Processes
from t2i_adapter_pack.training.errors import CheckpointError, TrainingError
from t2i_adapter_pack.training.in_memory_dataset import Draw
from t2i_adapter_pack.training.samples import list_folder
from t2i_adapter_pack.training.shards import list_data, list_shard

from . import datasets

DRAW = Draw(2, seed=5, prompt_dropout=0.3, condition_dropout=0.3)


def equal(first, second):
    parts = ("latents", "images", "noise", "timesteps")
    same = all(torch.equal(getattr(first, part), getattr(second, part)) for part in parts)
    return same and all(torch.equal(rows, second.prompts[name]) for name, rows in first.prompts.items())


def skipped(path):
    return {one.name: one.reason for file in sorted(path.iterdir()) for one in open_file(file).skipped}


@pytest.fixture
def few(monkeypatch):
    """Two samples in a file, so that small data sets have several."""
    monkeypatch.setattr(cache, "SAMPLES", 2)


@pytest.mark.parametrize("conditions", [False, True])
def test_shards_and_folders_give_equal_examples(tmp_path, few, conditions):
    files = datasets.members(7, conditions=conditions)
    whole = datasets.cached(list_folder(datasets.folder(tmp_path / "f", files)), tmp_path / "a")
    names = list(files)
    cut = names.index("004.cond.png" if conditions else "004.png")
    for number, part in enumerate((names[:cut], names[cut:])):
        datasets.shard(tmp_path / f"{number}.tar", {name: files[name] for name in part})
    shards = datasets.cached(list_data([str(tmp_path / "{0..1}.tar")]), tmp_path / "b")
    assert len(whole) == len(shards) == 7
    assert all(equal(whole.batch(DRAW, number), shards.batch(DRAW, number)) for number in range(12))


def test_batches_have_one_size_and_what_belongs_together(tmp_path, few):
    files = datasets.members(8)
    data = datasets.cached(list_folder(datasets.folder(tmp_path / "f", files)), tmp_path / "c")
    assert data.sizes == {(256, 64): 2, (128, 128): 4, (64, 256): 2}
    plain = Draw(2, seed=1)
    for number in range(16):
        batch = data.batch(plain, number)
        size = tuple(batch.images.shape[-2:])
        assert size in data.sizes
        assert tuple(side * 8 for side in batch.latents.shape[-2:]) == size
        # SDXL is told the size with the prompt, with the empty one too.
        assert batch.prompts["y"].tolist() == [[side / 8 for side in size]] * 2
        nothing = data.batch(Draw(2, seed=1, prompt_dropout=1.0), number)
        assert nothing.prompts["y"].tolist() == batch.prompts["y"].tolist()
        assert nothing.prompts["context"].unique().tolist() == [0]


def test_maps_are_used_and_else_the_annotator(tmp_path):
    files = datasets.members(2, conditions=True)
    del files["001.cond.png"]
    asked = []

    def annotate(picture):
        asked.append(picture.shape)
        return torch.ones_like(picture)

    listing = list_folder(datasets.folder(tmp_path / "f", files))
    data = datasets.cached(listing, tmp_path / "c", datasets.recipe(annotate=annotate))
    assert asked == [(1, 3, 64, 256)]
    rows = {tuple(image.shape[-2:]): image for number in range(4) for image in data.batch(Draw(1), number).images}
    assert rows[64, 256].unique().tolist() == [1]
    assert len(rows[128, 128].unique()) > 200


def test_corrupt_samples_are_left_out_and_named(tmp_path, few):
    files = datasets.members(6, conditions=True)
    files["000.png"] = files["000.png"][:500]
    del files["001.txt"]
    files["002.cond.png"] = datasets.png(60, 60)
    files["003.cond.png"] = b"rubbish"
    files["004.txt"] = b"\xff\xfe\xff"
    data = datasets.cached(list_shard(datasets.shard(tmp_path / "s.tar", files)), tmp_path / "c")
    assert len(data) == 1
    reasons = skipped(tmp_path / "c")
    assert sorted(reasons) == ["s/000", "s/001", "s/002", "s/003", "s/004"]
    for name, reason in (
        ("s/000", "000.png is no picture"),
        ("s/001", "no caption"),
        ("s/002", "002.cond.png has 60×60 pixels, its picture 140×140"),
        ("s/003", "003.cond.png is no picture"),
        ("s/004", "004.txt is not UTF-8"),
    ):
        assert reason in reasons[name]


def test_latents_of_nan_are_left_out(tmp_path):
    how = datasets.recipe(latents=lambda picture: torch.full((1, 4, 16, 16), torch.nan))
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(1)))
    with pytest.raises(TrainingError, match="000: NaN in its latents"):
        datasets.cached(listing, tmp_path / "c", how)


def test_nothing_to_learn_from_is_told(tmp_path):
    listing = list_folder(datasets.folder(tmp_path / "f", {"a.png": b"", "a.txt": b""}))
    with pytest.raises(TrainingError, match=r"data: got no sample that can be used .*a: a\.png is no picture"):
        datasets.cached(listing, tmp_path / "c")


def test_long_captions_and_short_ones_are_in_one_batch(tmp_path):
    files = {**datasets.members(1), "x.png": datasets.png(), "x.txt": b"a caption with many words"}
    data = datasets.cached(list_folder(datasets.folder(tmp_path / "f", files)), tmp_path / "c")
    assert data.batch(Draw(2), 0).prompts["context"].shape == (2, 10, 3)
    assert data.batch(Draw(2, prompt_dropout=1.0), 0).prompts["context"].shape == (2, 10, 3)


class Counted:
    """A recipe whose encoder counts the pictures that it sees, and may be interrupted."""

    def __init__(self, stop_at=None):
        self.count, self.stop_at = 0, stop_at
        plain = datasets.recipe()

        def latents(picture):
            self.count += 1
            if self.count == self.stop_at:
                raise KeyboardInterrupt
            return plain.latents(picture)

        self.recipe = datasets.recipe(latents=latents)


def test_an_interrupted_preparation_goes_on(tmp_path, few):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(7)))
    with pytest.raises(KeyboardInterrupt):
        datasets.cached(listing, tmp_path / "c", Counted(stop_at=6).recipe)
    assert len(list((tmp_path / "c").iterdir())) == 2
    rest = Counted()
    data = datasets.cached(listing, tmp_path / "c", rest.recipe)
    assert rest.count == 3
    whole = datasets.cached(listing, tmp_path / "d")
    assert data.fingerprint() == whole.fingerprint()
    assert all(equal(data.batch(DRAW, number), whole.batch(DRAW, number)) for number in range(6))


def test_only_what_has_changed_is_made_again(tmp_path, few):
    folder = datasets.folder(tmp_path / "f", datasets.members(7))
    before = datasets.cached(list_folder(folder), tmp_path / "c")
    (folder / "003.txt").write_text("another caption")
    again = Counted()
    after = datasets.cached(list_folder(folder), tmp_path / "c", again.recipe)
    assert again.count == 2
    assert after.fingerprint() != before.fingerprint()


def test_touched_files_are_still_the_same_examples(tmp_path, few):
    folder = datasets.folder(tmp_path / "f", datasets.members(3))
    before = datasets.cached(list_folder(folder), tmp_path / "c")
    datasets.folder(folder, datasets.members(3))
    assert datasets.cached(list_folder(folder), tmp_path / "c").fingerprint() == before.fingerprint()


def test_another_recipe_is_another_data_set(tmp_path):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(3)))
    changes = ({}, {"info": {"checkpoint": "b"}}, {"bgr": True}, {"channels": 3})
    prints = {datasets.cached(listing, tmp_path / "c", datasets.recipe(**one)).fingerprint() for one in changes}
    assert len(prints) == 4


def test_files_of_a_larger_data_set_go(tmp_path, few):
    folder = datasets.folder(tmp_path / "f", datasets.members(5))
    datasets.cached(list_folder(folder), tmp_path / "c")
    (folder / "004.png").unlink()
    (folder / "004.txt").unlink()
    assert len(datasets.cached(list_folder(folder), tmp_path / "c")) == 4
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_damaged_files_are_made_again(tmp_path, few):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(4)))
    before = datasets.cached(listing, tmp_path / "c")
    path = sorted((tmp_path / "c").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="a damaged or missing file"):
        [before.batch(Draw(1), number) for number in range(4)]
    again = Counted()
    assert datasets.cached(listing, tmp_path / "c", again.recipe).fingerprint() == before.fingerprint()
    assert again.count == 2


def test_a_full_disk_leaves_whole_files_alone(tmp_path, few, monkeypatch):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(6)))
    replace, calls = checkpoints.Path.replace, []

    def full(self, target):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(checkpoints.Path, "replace", full)
    with pytest.raises(CheckpointError, match="no space left on the disk"):
        datasets.cached(listing, tmp_path / "c")
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["examples_000000.safetensors"]


def test_processes_share_the_work(tmp_path, few):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(7)))
    first, second = Counted(), Counted()
    done = []
    with pytest.raises(CheckpointError, match="Use an output folder that all machines share"):
        prepare_cache(listing, second.recipe, tmp_path / "c", Processes(1, 2), done.append)
    files = prepare_cache(listing, first.recipe, tmp_path / "c", Processes(0, 2))
    assert (first.count, second.count, done) == (4, 3, [2, 1])
    how = datasets.recipe()
    assert (
        CachedSet(files, how).fingerprint()
        == CachedSet(prepare_cache(listing, how, tmp_path / "d", ALONE), how).fingerprint()
    )


def test_shares_of_a_batch_make_the_batch(tmp_path):
    data = datasets.cached(list_folder(datasets.folder(tmp_path / "f", datasets.members(8))), tmp_path / "c")
    values = {"seed": 2, "prompt_dropout": 0.5, "condition_dropout": 0.5}
    for number in range(6):
        whole = data.batch(Draw(4, **values), number)
        shares = [data.batch(Draw(4, **values, process=process, processes=2), number) for process in range(2)]
        for part in ("latents", "images", "noise", "timesteps"):
            assert torch.equal(torch.cat([getattr(share, part) for share in shares]), getattr(whole, part))
        assert torch.equal(torch.cat([share.prompts["context"] for share in shares]), whole.prompts["context"])


def test_a_refused_data_set_leaves_the_cache_as_it_was_and_an_accepted_one_replaces_it(tmp_path, few):
    folder = datasets.folder(tmp_path / "f", datasets.members(5))
    how = datasets.recipe()
    prepare_cache(list_folder(folder), how, tmp_path / "c", ALONE)
    before = {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()}
    (folder / "003.txt").write_text("another caption")
    (folder / "004.png").unlink()

    def refuse(fingerprint):
        raise CheckpointError("run_name", "other examples", "those that it began with")

    with pytest.raises(CheckpointError, match="other examples"):
        prepare_cache(list_folder(folder), how, tmp_path / "c", ALONE, accept=refuse)
    assert {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()} == before
    prints = []
    files = prepare_cache(list_folder(folder), how, tmp_path / "c", ALONE, accept=prints.append)
    assert prints == [CachedSet(files, how).fingerprint()]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted(before)[:2]
    assert open_file(files[1].path).content == files[1].content
