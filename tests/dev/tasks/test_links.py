"""Links to folders and files; removing one never removes its target."""

import pytest
from t2i_adapter_pack.dev.tasks import links


@pytest.fixture(params=["symbolic links", "none allowed"])
def system(request, monkeypatch):
    if request.param == "none allowed":

        def refuse(*_args, **_kwargs):
            raise OSError("a required privilege is not held")

        monkeypatch.setattr("pathlib.Path.symlink_to", refuse)


@pytest.mark.usefixtures("system")
def test_a_folder_and_a_file_appear(tmp_path):
    folder = tmp_path / "my pack"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    links.link(folder, tmp_path / "custom_nodes" / "pack")
    links.link(folder / "a.txt", tmp_path / "models" / "b.txt")
    assert (tmp_path / "custom_nodes" / "pack" / "a.txt").read_text() == "a"
    assert (tmp_path / "models" / "b.txt").read_text() == "a"


@pytest.mark.usefixtures("system")
def test_linking_again_follows_a_move_and_keeps_the_old_source(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    place = tmp_path / "place"
    links.link(old, place)
    links.link(new, place)
    links.link(new, place)
    assert (place / "name").read_text() == "new"
    assert (old / "name").read_text() == "old"


def test_a_link_whose_source_is_gone_is_replaced(tmp_path):
    (tmp_path / "place").symlink_to(tmp_path / "gone")
    (tmp_path / "source").mkdir()
    links.link(tmp_path / "source", tmp_path / "place")
    assert (tmp_path / "place").is_dir()
