"""Where annotators look for weights, what the combos offer, and what the error says if there are none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host


def put(*parts: Any) -> Path:
    path = Path(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def weights(annotator: str) -> Any:
    from t2i_adapter_pack.annotators.catalogue import published_for
    from t2i_adapter_pack.nodes.annotation.weight_files import WeightsChoice

    return WeightsChoice(published_for(annotator))


def found(offer: Any, entry: str) -> tuple[str, Path]:
    def no_download(*_: int) -> None:
        raise AssertionError("a download began")

    return offer.find(entry, no_download)


def refused(offer: Any, entry: str) -> str:
    from t2i_adapter_pack.annotators.errors import AnnotatorError

    with pytest.raises(AnnotatorError) as caught:
        found(offer, entry)
    message = str(caught.value)
    assert offer.check(entry) == message
    sentence = message.partition("\n")[0]
    assert sentence.endswith((" found on this computer.", " which this annotator cannot use."))
    return message


# --- the folder -------------------------------------------------------------------------------------------------------


def test_loading_the_pack_registers_the_folder(inside_comfyui):
    import folder_paths
    from t2i_adapter_pack.nodes import host

    paths, suffixes = folder_paths.folder_names_and_paths["annotators"]
    assert str(inside_comfyui.base / "models" / "annotators") in paths
    assert suffixes == folder_paths.supported_pt_extensions
    assert suffixes is not folder_paths.supported_pt_extensions
    assert host.annotator_folders() == [Path(path) for path in paths]


def test_the_users_own_paths_stay_first(places):
    import folder_paths
    from t2i_adapter_pack.nodes import host

    # As extra_model_paths.yaml leaves it: with an empty set of suffixes, which means every file.
    folder_paths.folder_names_and_paths["annotators"] = ([str(places / "mine"), str(places / "shared")], set())
    host.register_annotators()
    host.register_annotators()
    assert host.annotator_folders() == [places / "mine", places / "shared", places / "models" / "annotators"]
    put(places, "mine", "readme.txt")
    put(places, "mine", "lines.pth")
    put(places, "models", "annotators", "more.safetensors")
    assert host.annotator_names() == ["lines.pth", "more.safetensors"]


def test_suffixes_that_another_pack_asked_for_stay(places):
    import folder_paths
    from t2i_adapter_pack.nodes import host

    folder_paths.folder_names_and_paths["annotators"] = ([], {".onnx"})
    host.register_annotators()
    assert {".onnx", ".pth", ".safetensors"} <= folder_paths.folder_names_and_paths["annotators"][1]


# --- the combo --------------------------------------------------------------------------------------------------------


def test_with_nothing_there_the_combo_offers_downloads(places):
    assert weights("lineart").options() == ["auto", "download: sk_model.pth (17 MB)", "download: sk_model2.pth (17 MB)"]
    assert weights("sketch").options() == ["auto", "download: table5_pidinet.pth (2.9 MB)"]


def test_what_is_there_is_offered_and_not_for_download(places):
    put(places, "models", "annotators", "sk_model2.pth")
    put(places, "models", "annotators", "mine", "my_lines.safetensors")
    put(places, "models", "annotators", "table5_pidinet.pth")
    put(places, "models", "annotators", "sk_model.pth.part")
    own = os.path.join("mine", "my_lines.safetensors")  # noqa: PTH118 - as ComfyUI names it
    assert weights("lineart").options() == ["auto", own, "sk_model2.pth", "download: sk_model.pth (17 MB)"]
    assert weights("sketch").options() == ["auto", own, "table5_pidinet.pth"]


@pytest.mark.parametrize(
    "where",
    [
        "models/annotators/lines/table5_pidinet.pth",
        "custom_nodes/comfyui_controlnet_aux/ckpts/lllyasviel/Annotators/table5_pidinet.pth",
        "custom_nodes/comfyui_controlnet_aux/ckpts/models--lllyasviel--Annotators/snapshots/0/table5_pidinet.pth",
        "custom_nodes/comfyui_controlnet_aux/ckpts/TencentARC/T2I-Adapter/third-party-models/table5_pidinet.pth",
        "custom_nodes/comfyui_controlnet_aux/ckpts/by hand/table5_pidinet.pth",
        "aux [shared]/lllyasviel/Annotators/table5_pidinet.pth",
        "models/annotator/downloads/pidinet/table5_pidinet.pth",
        "models/ControlNetPreprocessor/pidinet/table5_pidinet.pth",
        "hub home/hub/models--lllyasviel--Annotators/snapshots/982e7ed/table5_pidinet.pth",
    ],
)
def test_files_of_other_packs_are_used_in_place(places, monkeypatch, where):
    monkeypatch.setenv("AUX_ANNOTATOR_CKPTS_PATH", str(places / "aux [shared]"))
    path = put(places, where)
    offer = weights("sketch")
    assert len(offer.options()) == 2
    assert found(offer, "auto")[1] == path
    for entry in ("table5_pidinet.pth", "anywhere/table5_pidinet.pth", "download: table5_pidinet.pth (2.9 MB)"):
        assert offer.check(entry) is True
        assert found(offer, entry)[1] == path
    assert offer.fingerprint("auto")[0] == str(path)
    assert [path for path in places.rglob("*") if path.is_file()] == [path]


def test_a_file_in_the_hubs_cache_is_found_by_its_repository(places):
    snapshots = places / "hub home" / "hub" / "models--Intel--zoedepth-nyu-kitti" / "snapshots"
    path = put(snapshots, "abc", "model.safetensors")
    offer = weights("depth")
    assert found(offer, "auto") == ("zoedepth-nyu-kitti.safetensors", path)
    assert not any(option.startswith("download: zoedepth-nyu-kitti") for option in offer.options())


def test_our_folder_comes_before_those_of_other_packs(places):
    put(places, "custom_nodes/comfyui_controlnet_aux/ckpts/lllyasviel/Annotators/table5_pidinet.pth")
    own = put(places, "models", "annotators", "table5_pidinet.pth")
    assert found(weights("sketch"), "auto") == ("table5_pidinet.pth", own)


def test_auto_uses_the_first_row_found_anywhere(places):
    from t2i_adapter_pack.nodes.annotation.weight_files import WeightsChoice

    large = put(places, "models", "annotators", "dpt-large.safetensors")
    hybrid = put(places, "models", "annotators", "depth", "dpt-hybrid-midas.safetensors")
    put(places, "models", "annotators", "aaa.safetensors")
    offer = weights("depth")
    assert found(offer, "auto")[1] == hybrid
    assert found(WeightsChoice(offer.rows[1:]), "auto")[1] == large
    assert found(WeightsChoice((offer.rows[3], *offer.rows)), "auto")[1] == hybrid
    assert found(offer, "aaa.safetensors")[0] == "aaa.safetensors"


def test_a_replaced_file_changes_the_fingerprint(places):
    offer = weights("sketch")
    assert offer.fingerprint("auto") is None
    path = put(places, "models", "annotators", "table5_pidinet.pth")
    before = offer.fingerprint("auto")
    assert before == offer.fingerprint("table5_pidinet.pth") == offer.fingerprint("download: table5_pidinet.pth (x)")
    path.write_bytes(b"other weights")
    second = offer.fingerprint("auto")
    assert second != before
    path.write_bytes(b"weights other")
    os.utime(path, ns=(0, 0))
    assert offer.fingerprint("auto") != second
    assert offer.fingerprint(None) == offer.fingerprint("auto")


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["auto", "table5_pidinet.pth", "my_own.pth"])
def test_a_missing_file_is_reported_and_not_downloaded(places, entry):
    message = refused(weights("sketch"), entry)
    for part in (
        entry,
        "download: table5_pidinet.pth (2.9 MB)",
        "80860ac267258b5f27486e0ef152a211d0b08120f62aeb185a050acc30da486c",
        "https://huggingface.co/lllyasviel/Annotators/resolve/main/table5_pidinet.pth",
        str(places / "models" / "annotators"),
        "T2I Clean Sketch and T2I Canny Edges",
    ):
        assert part in message


def test_the_error_explains_the_requested_file(places):
    assert "Choose 'download: sk_model2.pth (17 MB)'" in refused(weights("lineart"), "sk_model2.pth")


def test_weights_of_another_annotator_are_refused(places):
    put(places, "models", "annotators", "ControlNetHED.pth")
    assert "got weights for soft edge; expected table5_pidinet.pth" in refused(
        weights("sketch"), "download: ControlNetHED.pth (29 MB)"
    )
    assert "got no such file" in refused(weights("sketch"), "ControlNetHED.pth")


@pytest.mark.parametrize(
    "name", ["../secret.pth", "{root}/secret.pth", "..", ".", "", "/", "download: ../secret.pth ("]
)
def test_names_outside_of_the_folders_are_refused(places, name):
    put(places, "models", "secret.pth")
    put(places, "secret.pth")
    (places / "models" / "annotators").mkdir()
    refused(weights("sketch"), name.format(root=places))


def test_a_linked_entry_is_checked_at_run_time(places):
    assert weights("sketch").check(None) is True


def test_a_download_entry_passes_the_check(places):
    assert weights("sketch").check("download: table5_pidinet.pth (2.9 MB)") is True


# --- downloads by choice ----------------------------------------------------------------------------------------------


def test_a_chosen_download_runs_once_and_stays_a_valid_entry(places, monkeypatch):
    from dataclasses import replace

    from t2i_adapter_pack.annotators.catalogue import published_for
    from t2i_adapter_pack.nodes.annotation.weight_files import WeightsChoice

    from .file_server import Site, serve, sha256

    monkeypatch.setenv("no_proxy", "*")
    content = b"weights" * 1000
    with serve(Site(content)) as site:
        row = replace(
            published_for("sketch")[0], size=len(content), sha256=sha256(content), addresses=(f"{site.url}/a.pth",)
        )
        offer = WeightsChoice((row,), catalogue=(row,))
        target = places / "models" / "annotators" / row.file
        assert offer.find(row.entry, lambda *_: None) == (row.file, target)
        assert target.read_bytes() == content
        assert len(site.asked) == 1
        assert row.entry not in offer.options()
        for entry in (row.entry, "download: table5_pidinet.pth (2.9 MB)", row.file, "auto"):
            assert offer.check(entry) is True
            assert found(offer, entry)[1] == target
        assert len(site.asked) == 1
