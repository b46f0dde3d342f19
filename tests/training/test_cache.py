"""Examples on the disk: made once, whole or not at all, and the same from folders and shards."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from t2i_adapter_pack.training import cache, checkpoints, contents
from t2i_adapter_pack.training.cache import prepare_cache
from t2i_adapter_pack.training.distributed import ALONE, Processes
from t2i_adapter_pack.training.errors import CheckpointError, TrainingError
from t2i_adapter_pack.training.in_memory_dataset import Draw
from t2i_adapter_pack.training.samples import list_folder
from t2i_adapter_pack.training.shards import list_data, list_shard

from . import datasets

CPU = torch.device("cpu")
DRAW = Draw(2, seed=5, prompt_dropout=0.3, condition_dropout=0.3)


def equal(first, second):
    parts = ("latents", "images", "noise", "timesteps")
    same = all(torch.equal(getattr(first, part), getattr(second, part)) for part in parts)
    return same and all(torch.equal(rows, second.prompts[name]) for name, rows in first.prompts.items())


def entries(path):
    return sorted(path.rglob("*.safetensors"))


@pytest.fixture
def few(monkeypatch):
    """Two samples in memory together, so that small data sets have several parts."""
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
        batch = data.batch(plain, number).to(CPU)
        size = tuple(batch.images.shape[-2:])
        assert size in data.sizes
        assert tuple(side * 8 for side in batch.latents.shape[-2:]) == size
        # SDXL is told the size with the prompt, with the empty one too.
        assert batch.prompts["y"].tolist() == [[side / 8 for side in size]] * 2
        nothing = data.batch(Draw(2, seed=1, prompt_dropout=1.0), number).to(CPU)
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
    rows = {
        tuple(image.shape[-2:]): image for number in range(4) for image in data.batch(Draw(1), number).to(CPU).images
    }
    assert rows[64, 256].unique().tolist() == [1]
    assert len(rows[128, 128].unique()) > 200


def test_corrupt_samples_are_left_out_and_named(tmp_path, few):
    files = datasets.members(6, conditions=True)
    files["000.png"] = files["000.png"][:500]
    del files["001.txt"]
    files["002.cond.png"] = datasets.png(60, 60)
    files["003.cond.png"] = b"rubbish"
    files["004.txt"] = b"\xff\xfe\xff"
    listing = list_shard(datasets.shard(tmp_path / "s.tar", files))
    prepared = [prepare_cache(listing, datasets.recipe(), tmp_path / "c", ALONE) for _ in range(2)]
    assert prepared[0] == prepared[1]
    assert len(prepared[0].keys) == 1
    reasons = {one.name: one.reason for one in prepared[0].skipped}
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

    def __init__(self, stop_at=None, **changes):
        self.count, self.stop_at = 0, stop_at
        plain = datasets.recipe()

        def latents(pictures):
            for _ in pictures:
                self.count += 1
                if self.count == self.stop_at:
                    raise KeyboardInterrupt
            return plain.latents(pictures)

        self.recipe = datasets.recipe(latents=latents, **changes)


def test_an_interrupted_preparation_continues(tmp_path, few):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(7)))
    with pytest.raises(KeyboardInterrupt):
        datasets.cached(listing, tmp_path / "c", Counted(stop_at=6).recipe)
    assert len(entries(tmp_path / "c")) == 4
    rest = Counted()
    data = datasets.cached(listing, tmp_path / "c", rest.recipe)
    assert rest.count == 3
    whole = datasets.cached(listing, tmp_path / "d")
    assert data.fingerprint() == whole.fingerprint()
    assert all(equal(data.batch(DRAW, number), whole.batch(DRAW, number)) for number in range(6))


@pytest.mark.parametrize("change", ["caption", "picture in front", "copied folder", "annotator", "map"])
def test_only_what_is_new_is_made(tmp_path, few, change):
    folder = datasets.folder(tmp_path / "f", datasets.members(7))
    before = datasets.cached(list_folder(folder), tmp_path / "c")
    changes = {}
    if change == "caption":
        (folder / "003.txt").write_text("another caption")
    elif change == "picture in front":
        datasets.folder(folder, {"0.png": datasets.png(seed=50), "0.txt": b"first of all"})
    elif change == "copied folder":
        folder = folder.rename(tmp_path / "elsewhere")
        datasets.folder(folder, datasets.members(7))
    elif change == "annotator":
        changes = {"annotator": "canny"}
    else:
        datasets.folder(folder, {"002.cond.png": datasets.png(140, 140)})
    again = Counted(**changes)
    after = datasets.cached(list_folder(folder), tmp_path / "c", again.recipe)
    assert again.count == {"copied folder": 0, "annotator": 7}.get(change, 1)
    assert (after.fingerprint() == before.fingerprint()) == (change == "copied folder")
    assert len(after) == 7 + (change == "picture in front")


def test_contents_are_read_once(tmp_path, monkeypatch):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(3)))
    before = datasets.cached(listing, tmp_path / "c")
    monkeypatch.setattr(contents, "content_digest", lambda *_: pytest.fail("read again"))
    assert datasets.cached(listing, tmp_path / "c").fingerprint() == before.fingerprint()


def test_many_files_of_digests_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MANY", 3)
    folder, prints = tmp_path / "f", []
    for count in (1, 2, 3, 3):
        datasets.folder(folder, {name: data for name, data in datasets.members(count).items()
                                 if not (folder / name).exists()})  # fmt: skip
        prints.append(datasets.cached(list_folder(folder), tmp_path / "c").fingerprint())
    assert len(list((tmp_path / "c").glob("digests_*.bin"))) == 1
    assert prints[2] == prints[3]
    monkeypatch.setattr(contents, "content_digest", lambda *_: pytest.fail("forgot a digest"))
    assert datasets.cached(list_folder(folder), tmp_path / "c").fingerprint() == prints[2]


def test_equal_samples_are_one_entry_and_each_is_trained_on(tmp_path):
    files = {f"{name}.{kind}": data for name in "ab" for kind, data in (("png", datasets.png()), ("txt", b"same"))}
    assert len(datasets.cached(list_folder(datasets.folder(tmp_path / "f", files)), tmp_path / "c")) == 2
    assert len(entries(tmp_path / "c")) == 1


def test_a_damaged_picture_is_told_under_the_name_that_it_has_now(tmp_path):
    listing = list_folder(datasets.folder(tmp_path / "f", {"a.png": b"rubbish", "a.txt": b"x"}))
    prepare_cache(listing, datasets.recipe(), tmp_path / "c", ALONE)
    listing = list_folder(datasets.folder(tmp_path / "g", {"b.png": b"rubbish", "b.txt": b"x"}))
    (skipped,) = prepare_cache(listing, Counted(stop_at=1).recipe, tmp_path / "c", ALONE).skipped
    assert str(skipped).startswith("b: b.png is no picture")


def test_maps_are_kept_to_the_last_bit_and_prompts_in_half_precision(tmp_path):
    files = datasets.members(2, conditions=True)
    how = datasets.recipe(channels=3, prompt=lambda caption, latents: {"context": torch.full((1, 2, 3), 1 / 3),
                                                                       "large": torch.full((1, 2), 1e6)})  # fmt: skip
    data = datasets.cached(list_folder(datasets.folder(tmp_path / "f", files)), tmp_path / "c", how)
    for number in range(2):
        batch = data.batch(Draw(1), number)
        moved = batch.to(CPU)
        assert batch.images.dtype == torch.uint8
        assert torch.equal((moved.images * 255).round().byte(), batch.images)
        assert batch.prompts["context"].dtype == torch.float16
        assert moved.prompts["context"].dtype == torch.float32
        assert moved.prompts["large"].unique().tolist() == [1e6]


def test_touched_files_are_still_the_same_examples(tmp_path, few):
    folder = datasets.folder(tmp_path / "f", datasets.members(3))
    before = datasets.cached(list_folder(folder), tmp_path / "c")
    datasets.folder(folder, datasets.members(3))
    assert datasets.cached(list_folder(folder), tmp_path / "c").fingerprint() == before.fingerprint()


def test_another_recipe_is_another_data_set(tmp_path):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(3)))
    changes = ({}, {"info": {"checkpoint": "b"}}, {"bgr": True}, {"channels": 3}, {"annotator": "b"})
    prints = {datasets.cached(listing, tmp_path / "c", datasets.recipe(**one)).fingerprint() for one in changes}
    assert len(prints) == 5


def test_damaged_entries_are_made_again(tmp_path, few):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(4)))
    before = datasets.cached(listing, tmp_path / "c")
    cut, flipped = entries(tmp_path / "c")[:2]
    cut.write_bytes(cut.read_bytes()[:-100])
    flipped.write_bytes(bytes(flipped.stat().st_size))
    told = 0
    for number in range(4):
        try:
            before.batch(Draw(1), number)
        except CheckpointError as error:
            told += "a damaged or missing file" in str(error)
    assert told == 2
    again = Counted()
    assert datasets.cached(listing, tmp_path / "c", again.recipe).fingerprint() == before.fingerprint()
    assert again.count == 2


def test_a_full_disk_leaves_whole_entries_alone(tmp_path, few, monkeypatch):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(6)))
    replace, calls = checkpoints.Path.replace, []

    def full(self, target):
        calls.append(1)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(checkpoints.Path, "replace", full)
    with pytest.raises(CheckpointError, match="no space left on the disk"):
        datasets.cached(listing, tmp_path / "c")
    # The first file has the digests.
    assert len(entries(tmp_path / "c")) == 2
    assert not list((tmp_path / "c").rglob(".*"))
    monkeypatch.undo()
    again = Counted()
    assert len(datasets.cached(listing, tmp_path / "c", again.recipe)) == 6
    assert again.count == 4


def test_partial_files_of_a_killed_run_go_and_those_of_a_running_one_stay(tmp_path):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(1)))
    datasets.cached(listing, tmp_path / "c")
    place = entries(tmp_path / "c")[0].parent
    old, young = place / ".old.part", place / ".young.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    datasets.folder(tmp_path / "f", {"x.png": datasets.png(seed=7), "x.txt": b"new"})
    datasets.cached(list_folder(tmp_path / "f"), tmp_path / "c")
    assert [path.exists() for path in (old, young)] == [False, True]


def test_processes_share_the_work(tmp_path, few):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(7)))
    first, second = Counted(), Counted()
    done = []
    with pytest.raises(CheckpointError, match="Use a cache folder that all machines share"):
        prepare_cache(listing, second.recipe, tmp_path / "c", Processes(1, 2), done.append)
    prepared = prepare_cache(listing, first.recipe, tmp_path / "c", Processes(0, 2))
    assert first.count + second.count == 7
    assert min(first.count, second.count) > 0
    assert sum(done) == second.count
    assert prepared == prepare_cache(listing, datasets.recipe(), tmp_path / "c", ALONE)


def test_shares_of_a_batch_make_the_batch(tmp_path):
    data = datasets.cached(list_folder(datasets.folder(tmp_path / "f", datasets.members(8))), tmp_path / "c")
    values = {"seed": 2, "prompt_dropout": 0.5, "condition_dropout": 0.5}
    for number in range(6):
        whole = data.batch(Draw(4, **values), number)
        shares = [data.batch(Draw(4, **values, process=process, processes=2), number) for process in range(2)]
        for part in ("latents", "images", "noise", "timesteps"):
            assert torch.equal(torch.cat([getattr(share, part) for share in shares]), getattr(whole, part))
        assert torch.equal(torch.cat([share.prompts["context"] for share in shares]), whole.prompts["context"])


def test_a_refused_data_set_is_not_encoded(tmp_path, few):
    folder = datasets.folder(tmp_path / "f", datasets.members(5))
    prints = []
    prepared = prepare_cache(list_folder(folder), datasets.recipe(), tmp_path / "c", ALONE, accept=prints.append)
    assert prints == [prepared.fingerprint]
    (folder / "003.txt").write_text("another caption")

    def refuse(fingerprint):
        assert fingerprint != prints[0]
        raise CheckpointError("run_name", "other examples", "those that it began with")

    with pytest.raises(CheckpointError, match="other examples"):
        prepare_cache(list_folder(folder), Counted(stop_at=1).recipe, tmp_path / "c", ALONE, accept=refuse)
    assert len(entries(tmp_path / "c")) == 5


def test_annotators_work_before_anything_is_encoded(tmp_path):
    """So weights that turn out to be damaged cost no time."""

    def annotate(pictures):
        raise TrainingError("annotator_file", "damaged weights", "whole ones")

    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(5)))
    counted = Counted(annotate=annotate)
    with pytest.raises(TrainingError, match="damaged weights"):
        datasets.cached(listing, tmp_path / "c", counted.recipe)
    assert counted.count == 0
