"""The catalogue of published files: consistent, and its entries lead back to their rows."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from t2i_adapter_pack.annotators import catalogue

ANNOTATORS = {"sketch", "soft edge", "lineart", "depth", "segmentation", "pose"}


@pytest.mark.parametrize("row", catalogue.PUBLISHED, ids=lambda row: row.key)
def test_a_row_is_complete(row):
    assert row.annotator in ANNOTATORS
    assert PurePosixPath(row.file).name == PureWindowsPath(row.file).name == row.file
    assert row.sha256 is None or re.fullmatch("[0-9a-f]{64}", row.sha256)
    assert row.addresses
    assert all(address.startswith("https://") for address in row.addresses)
    assert row.size > 1_000_000
    assert row.licence
    assert row.instead


def test_keys_files_and_hashes_are_unique():
    for values in (
        [row.key for row in catalogue.PUBLISHED],
        [row.file for row in catalogue.PUBLISHED],
        [row.sha256 for row in catalogue.PUBLISHED if row.sha256],
        [address for row in catalogue.PUBLISHED for address in row.addresses],
    ):
        assert len(set(values)) == len(values)


def test_every_annotator_has_a_recommended_file():
    recommended = {name: catalogue.published_for(name)[0].file for name in ANNOTATORS}
    assert recommended == {
        "sketch": "table5_pidinet.pth",
        "soft edge": "ControlNetHED.pth",
        "lineart": "sk_model.pth",
        "depth": "dpt-hybrid-midas.safetensors",
        "segmentation": "maskformer-resnet50-coco-stuff.bin",
        "pose": "vitpose-base-simple.safetensors",
    }


@pytest.mark.parametrize("row", catalogue.PUBLISHED, ids=lambda row: row.key)
def test_an_entry_leads_back_to_its_row(row):
    assert catalogue.chosen_for_download(row.entry) is row
    # As saved workflows have it.
    old = f"download: {row.file} ({catalogue.megabytes(row.size)})"
    assert catalogue.chosen_for_download(old) is row
    assert row.entry == (old if row.sha256 else f"{old[:-1]}, no published hash)")
    assert catalogue.chosen_for_download(f"download: {row.file} (1 byte)") is row
    assert catalogue.chosen_for_download(row.file) is None
    assert catalogue.published_as(row.file) is row
    assert catalogue.published_as(f"some\\folder/{row.file}") is row
    assert catalogue.published_as(f"my_{row.file}") is None


def test_where_the_hub_keeps_a_file():
    by_key = {row.key: row.on_hub for row in catalogue.PUBLISHED}
    assert by_key["pidinet"] == (
        ("lllyasviel/Annotators", "table5_pidinet.pth"),
        ("TencentARC/T2I-Adapter", "third-party-models/table5_pidinet.pth"),
    )
    assert by_key["dpt-hybrid"] == (("Intel/dpt-hybrid-midas", "model.safetensors"),)
    assert all(by_key.values())


def test_what_to_do_without_a_file_is_said():
    row = catalogue.PUBLISHED[0]
    said = catalogue.how_to_get(row, Path("models") / "annotators")
    for part in (row.entry, row.licence, row.file, "2.9 MB", row.sha256, row.addresses[0], "annotators", row.instead):
        assert part in said
    assert row.entry not in catalogue.how_to_get(row, Path("models"), by_choice=False)


@pytest.mark.parametrize(
    ("size", "text"),
    [(2_871_148, "2.9 MB"), (17_173_511, "17 MB"), (490_000_000, "490 MB"), (1_370_000_000, "1.4 GB")],
)
def test_sizes_read_well(size, text):
    assert catalogue.megabytes(size) == text
