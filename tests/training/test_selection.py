"""The samples that are chosen from a data set: captions, sizes, number, and mirrored copies."""

from __future__ import annotations

import pytest
import torch
from t2i_adapter_pack.adapter_models.conditions import CONDITIONS
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.in_memory_dataset import Draw
from t2i_adapter_pack.training.samples import SampleError, list_folder
from t2i_adapter_pack.training.selection import Selection, check_mirrored, select, with_mirrored
from t2i_adapter_pack.training.shards import list_shard

from . import datasets
from .test_samples import named


def named_condition(name):
    return next(row for row in CONDITIONS if row.name == name)


def names(listing):
    return [sample.name for sample in listing.samples]


def test_one_caption_replaces_those_of_all_pictures(tmp_path):
    files = {"a.png": b"", "a.txt": b"own", "b.png": b""}
    listing = select(list_folder(datasets.folder(tmp_path, files)), Selection(caption="a photo"))
    assert [one.prompts() for one in listing.samples] == [("a photo",)] * 2


def test_names_are_captions_of_pictures_without_one(tmp_path):
    files = {"a.png": b"", "a.txt": b"own", "more/a_red-cat  2.png": b""}
    listing = select(list_folder(datasets.folder(tmp_path, files)), Selection(caption_from_name=True))
    assert [one.prompts() for one in listing.samples] == [("own",), ("a red cat 2",)]


@pytest.mark.parametrize("choice", [{"caption": "x"}, {"caption_from_name": True}])
def test_what_looks_like_a_map_gets_no_caption(tmp_path, choice):
    """Else a folder of maps that the command does not know would be trained on as pictures."""
    files = {"images/a.png": b"", "images/a.txt": b"c", "edges/a.png": b""}
    samples = select(list_folder(datasets.folder(tmp_path, files)), Selection(**choice)).samples
    with pytest.raises(SampleError, match="call its folder conditions"):
        samples[0].prompts()


@pytest.mark.parametrize("shard", [False, True])
def test_pictures_below_the_least_size_are_named_and_damaged_ones_stay_to_be_named_later(tmp_path, shard):
    files = {"a.png": datasets.png(300, 100), "b.png": datasets.png(100, 99), "c.png": b"rubbish"}
    whole = list_shard(datasets.shard(tmp_path / "s.tar", files)) if shard else list_folder(
        datasets.folder(tmp_path / "f", files)
    )  # fmt: skip
    listing = select(whole, Selection(min_size=100))
    prefix = "s/" if shard else ""
    assert names(listing) == [f"{prefix}a", f"{prefix}c"]
    assert named(listing) == {f"{prefix}b": "a picture of 100×99 pixels, of at least 100 asked for"}


def test_fewer_samples_are_some_of_more_and_not_the_first_ones(tmp_path):
    whole = list_folder(datasets.folder(tmp_path, {f"{number:03}.png": b"" for number in range(60)}))
    few, more = (names(select(whole, Selection(max_samples=count))) for count in (20, 30))
    assert (len(few), len(more)) == (20, 30)
    assert set(few) < set(more) < set(names(whole))
    assert few == sorted(few) != names(whole)[:20]
    assert names(select(whole, Selection(max_samples=100))) == names(whole)


def test_mirrored_copies_show_picture_and_map_mirrored(tmp_path):
    files = {"a.png": datasets.png(), "a.cond.png": datasets.png(seed=1), "a.txt": b"c"}
    whole = list_folder(datasets.folder(tmp_path / "f", files))
    both = datasets.cached(with_mirrored(whole), tmp_path / "c")
    assert len(both) == 2
    assert both.fingerprint() != datasets.cached(whole, tmp_path / "d").fingerprint()
    batch = both.batch(Draw(2), 0)
    assert torch.equal(batch.images[0], batch.images[1].flip(-1))
    assert not torch.equal(batch.images[0], batch.images[1])
    assert torch.allclose(batch.latents[0], batch.latents[1].flip(-1), atol=1e-6)


def test_mirrored_maps_of_poses_are_refused_unless_the_annotator_draws_them(tmp_path):
    files = {"a.png": b"", "a.txt": b"c"}
    drawn = with_mirrored(list_folder(datasets.folder(tmp_path, files)))
    check_mirrored(drawn, named_condition("openpose"))
    own = list_folder(datasets.folder(tmp_path, {**files, "a.cond.png": b""}))
    check_mirrored(own, named_condition("openpose"))
    mirrored = with_mirrored(own)
    check_mirrored(mirrored, named_condition("canny"))
    with pytest.raises(TrainingError, match=r"maps of openpose, such as a\.cond\.png"):
        check_mirrored(mirrored, named_condition("openpose"))
