"""The texts in four languages: complete, the English ones equal to the nodes' own, and served by ComfyUI."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from t2i_adapter_pack.dev.tasks import locales

pytestmark = pytest.mark.host
# Letters that a text in the language must have, and those that no text in it may have.
HAN, KANA, HANGUL = "\u4e00-\u9fff", "\u3041-\u30ff", "\uac00-\ud7a3"
LETTERS = {"zh": (HAN, KANA + HANGUL), "ja": (KANA + HAN, HANGUL), "ko": (HANGUL, KANA + HAN)}
NUMBER = re.compile(r"\d+(?:\.\d+)?")
# The page reads these as instructions.
SYNTAX = re.compile(r"[@{}|]")


@pytest.fixture(scope="module")
def nodes(inside_comfyui) -> tuple[Any, ...]:
    from t2i_adapter_pack.nodes import NODES

    return NODES


@pytest.fixture(scope="module")
def english(nodes) -> dict[str, Any]:
    return locales.english(nodes)


@pytest.fixture(params=locales.TRANSLATED)
def language(request) -> str:
    return request.param


def pairs(language: str, *kinds: str) -> list[tuple[str, str, str]]:
    """(path, English text, its translation) of the kinds of texts asked for."""
    ours, theirs = (locales.leaves(locales.load(one)) for one in (locales.ENGLISH, language))
    return [(path, text, theirs[path]) for path, text in ours.items() if path.rsplit("/", 1)[-1] in kinds]


def test_the_english_texts_are_the_nodes_own(english):
    command = "python dev/tasks/launch.py dev.tasks.locales"
    assert locales.load(locales.ENGLISH) == english, f"write them again: {command}"


def test_every_text_is_there(english, nodes):
    texts = locales.leaves(english)
    # Levels come with a choice of a dynamic combo; the page asks for them under this key.
    assert texts[f"{locales.NODES_FILE}/T2IAdapterWeights/inputs/preset_level_1/name"] == "level_1"
    assert all(texts.values())
    assert set(english[locales.NODES_FILE]) == {node.GET_SCHEMA().node_id for node in nodes}
    parts = {part for node in nodes for part in node.GET_SCHEMA().category.split("/")}
    assert set(english[locales.MAIN_FILE]["nodeCategories"]) | set(locales.KNOWN_CATEGORIES) == parts


def test_a_language_has_all_texts_and_no_others(english, language):
    assert locales.differences(english, locales.load(language)) == []


def test_what_is_missing_or_left_over_is_found():
    wanted = {"a.json": {"node": {"name": "x", "tooltip": "y"}}}
    got = {"a.json": {"node": {"name": "x", "old": "z"}}}
    assert locales.differences(wanted, got) == ["a.json/node/tooltip: missing", "a.json/node/old: left over"]


@pytest.mark.parametrize("language", (locales.ENGLISH, *locales.TRANSLATED))
def test_nothing_is_syntax_of_the_page(language):
    wrong = [path for path, text in locales.leaves(locales.load(language)).items() if SYNTAX.search(text)]
    assert wrong == []


def test_nothing_is_left_in_english_or_in_another_language(language):
    needed, foreign = (re.compile(f"[{letters}]") for letters in LETTERS[language])
    for path, _, text in pairs(language, "name", "tooltip", "display_name", "description"):
        # A name alone is the same in every language.
        assert needed.search(text) or (path.endswith("/name") and text == "ControlNet"), path
        assert not foreign.search(text), path


def test_numbers_are_those_of_the_english_text(language):
    for path, text, translated in pairs(language, "tooltip", "description"):
        assert set(NUMBER.findall(text)) <= set(NUMBER.findall(translated)), path


def test_choices_are_called_as_they_are(language, nodes):
    """Their values are not translated by the page."""
    texts = locales.load(language)[locales.NODES_FILE]
    seen = 0
    for schema in (node.GET_SCHEMA() for node in nodes):
        for one in schema.inputs:
            options = [getattr(option, "key", option) for option in getattr(one, "options", None) or ()]
            told = [option for option in options if re.search(rf"(?<!\w){re.escape(option)}(?!\w)", one.tooltip)]
            seen += len(told)
            translated = texts[schema.node_id]["inputs"][one.id]["tooltip"]
            assert [option for option in told if option not in translated] == [], (schema.node_id, one.id)
    assert seen > 40


def test_nodes_are_called_by_their_translated_names(language):
    names = {text: translated for _, text, translated in pairs(language, "display_name")}
    seen = 0
    for path, text, translated in pairs(language, "tooltip", "description"):
        for english, name in names.items():
            if english in text:
                seen += 1
                assert name in translated, path
    assert seen > 30


def test_names_of_nodes_differ_from_each_other(language):
    names = [translated for _, _, translated in pairs(language, "display_name")]
    assert len(set(names)) == len(names)


def test_the_command_says_what_must_follow(comfyui, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui.path))
    monkeypatch.setattr(locales, "FOLDER", tmp_path)
    for language in (locales.ENGLISH, *locales.TRANSLATED):
        (tmp_path / language).mkdir()
    assert locales.main([]) == 1
    assert "zh/nodeDefs.json/LoadT2IAdapter/display_name: missing" in capsys.readouterr().out
    written = tmp_path / locales.ENGLISH / locales.NODES_FILE
    for language in locales.TRANSLATED:
        for name in (locales.NODES_FILE, locales.MAIN_FILE):
            (tmp_path / language / name).write_bytes((tmp_path / locales.ENGLISH / name).read_bytes())
    assert locales.main([]) == 0
    texts = json.loads(written.read_text(encoding="utf-8"))
    texts["ApplyT2IAdapter"]["inputs"]["mask"]["tooltip"] = "As it was."
    written.write_text(json.dumps(texts), encoding="utf-8")
    capsys.readouterr()
    assert locales.main([]) == 1
    assert capsys.readouterr().out == (
        "translate again: nodeDefs.json/ApplyT2IAdapter/inputs/mask/tooltip: was 'As it was.'\n"
    )
    assert locales.main([]) == 0


def test_the_server_serves_all_languages(comfy_server):
    served = comfy_server.get("/i18n")
    for language in (locales.ENGLISH, *locales.TRANSLATED):
        files = locales.load(language)
        assert files[locales.NODES_FILE].items() <= served[language]["nodeDefs"].items()
        categories = files[locales.MAIN_FILE]["nodeCategories"]
        assert categories.items() <= served[language]["nodeCategories"].items()
