"""Captions in plain words, of which some are left out at random, and the words' ids in the stock SD1 tokenizer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import torch

from .figures import POSES
from .light import COLOURS, HOURS, SEASONS
from .scene import HOUSE, LAKE, PINE, ROUND
from .truth import Facts

# Word -> id in the stock SD1 tokenizer. The row number in this table is the id used in training.
WORDS: tuple[tuple[str, int], ...] = (
    *(("<start>", 49406), ("<end>", 49407), (",", 267), ("a", 320), ("an", 550), ("and", 537), ("in", 530)),
    *(("at", 536), ("on", 525), ("by", 638), ("with", 593), ("two", 1237), ("three", 2097)),
    *(("house", 1212), ("houses", 7791), ("cottage", 12155), ("cottages", 34405), ("pine", 7374), ("fir", 16233)),
    *(("tree", 2677), ("trees", 4682), ("round", 2522), ("pointed", 20703), ("boat", 4440), ("person", 2533)),
    *(("standing", 2862), ("waving", 26545), ("walking", 3941), ("arms", 5706), ("raised", 6027)),
    *(("mountains", 5873), ("peaks", 14067), ("snowy", 14191), ("hills", 5289), ("forest", 4167), ("woods", 6267)),
    *(("meadow", 17195), ("path", 5035), ("road", 1759), ("flowers", 4023), ("moon", 3293), ("sun", 2176)),
    *(("stars", 2895), ("clouds", 6244), ("sky", 2390), ("clear", 3143), ("snow", 2583), ("landscape", 5727)),
    *(("spring", 2420), ("summer", 1673), ("autumn", 6110), ("winter", 2541)),
    *(("dawn", 7689), ("morning", 1119), ("sunrise", 5610), ("day", 575), ("noon", 2347)),
    *(("sunset", 3424), ("evening", 2285), ("night", 930), ("lake", 2553), ("sea", 2102), ("the", 518)),
    *(("red", 736), ("white", 1579), ("yellow", 4481), ("blue", 1746), ("brown", 2866)),
    *(("pink", 3360), ("green", 1901), ("orange", 4287), ("golden", 3878), ("blossom", 14472)),
)
ROW = {word: row for row, (word, _) in enumerate(WORDS)}
TOKEN_IDS = tuple(token for _, token in WORDS)
LENGTH = 77
NUMBERS = ("", "a", "two", "three")
CROWNS = (("pink", "blossom", "green"), ("green", "green", "green"), ("red", "orange", "golden"), ("snowy",) * 3)
SAILS = ("white", "red", "yellow")
TIMES = (
    ("at dawn", "at sunrise", "in the morning"),
    ("", "at noon", "by day"),
    ("at sunset", "in the evening"),
    ("at night", "by night"),
)
MOMENTS = (("dawn", "morning"), ("day",), ("sunset", "evening"), ("night",))


class Drop:
    """How often what is left out: one thing, the season, the hour, and everything (for guidance)."""

    def __init__(self, thing: float = 0.15, light: float = 0.10, everything: float = 0.10) -> None:
        self.thing, self.light, self.everything = thing, light, everything


NOTHING_DROPPED = Drop(0.0, 0.0, 0.0)


def captions(facts: Facts, chooser: random.Random | None = None, drop: Drop = NOTHING_DROPPED) -> list[str]:
    """Describe B scenes.

    Args:
        facts: What can be seen in them.
        chooser: Chooses words and their order, and what is left out; None for the plainest words and nothing left out.
        drop: What is left out how often.

    Returns:
        B captions.
    """
    columns = {name: values.tolist() for name, values in vars(facts).items()}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return [_caption(row, chooser, drop) for row in rows]


Row = dict[str, int | list[int]]


def _caption(row: Row, chooser: random.Random | None, drop: Drop) -> str:
    def pick(choices: Sequence[str]) -> str:
        return chooser.choice(choices) if chooser else choices[0]

    def keep(share: float) -> bool:
        return chooser is None or chooser.random() >= share

    if not keep(drop.everything):
        return ""
    things = [phrase for phrase in (*_objects(row, pick), *_moving(row, pick)) if keep(drop.thing)]
    behind = [phrase for phrase in _behind(row, pick) if keep(drop.thing)]
    if chooser:
        chooser.shuffle(things)
        chooser.shuffle(behind)
    where = (
        ("by a lake" if row["water"] == LAKE else "by the sea")
        if row["water"]
        else pick(("on a meadow", "in the hills"))
    )
    where = where if keep(drop.thing) else ""
    when = _when(row, pick, (keep(drop.light), keep(drop.light)))
    scene = " ".join(part for part in (_joined(things) or "a landscape", where, when) if part)
    return ", ".join((scene, *behind))


def _objects(row: Row, pick: object) -> list[str]:
    """Name houses and trees, those of one kind and colour together."""
    groups: Counter[tuple[str, str]] = Counter()
    house, pine = pick(("house", "cottage")), pick(("pine", "fir", "pointed"))
    for kind, colour in zip(row["kind"], row["colour"], strict=True):
        if kind == HOUSE:
            groups[f"{COLOURS[colour]} {house}", f"{COLOURS[colour]} {house}s"] += 1
        elif kind == PINE:
            groups[f"{pine} tree", f"{pine} trees"] += 1
        elif kind == ROUND:
            crown = CROWNS[row["season"]][colour % 3]
            groups[f"{crown} round tree", f"{crown} round trees"] += 1
    short = pick(("", "round "))
    out = []
    for (one, many), count in groups.items():
        name = one if count == 1 else many
        name = name.replace("round ", short) if "round" in name else name
        number = NUMBERS[min(count, 3)]
        out.append(f"{'an' if number == 'a' and name[0] == 'o' else number} {name}")
    return out


def _moving(row: Row, pick: object) -> list[str]:
    out = []
    if row["boat"]:
        sail = SAILS[row["boat"] - 1]
        out.append(pick(("a boat", f"a {sail} boat")))
    if row["person"]:
        coat = COLOURS[row["person"] - 1]
        pose = POSES[row["pose"]].replace("arms", "with arms")
        out.append(
            pick(
                (
                    f"a person in {coat} {pose}",
                    f"a person in {coat}",
                    f"a {pose} person" if "arms" not in pose else "a person",
                )
            )
        )
    return out


def _behind(row: Row, pick: object) -> list[str]:
    out = []
    if row["mountains"]:
        name = pick(("mountains", "peaks"))
        out.append(f"snowy {name}" if row["mountains"] == 2 else name)
    if row["forest"]:
        out.append(pick(("a forest", "woods")))
    if SEASONS[row["season"]] == "winter" and pick(("snow", "")):
        out.append("snow")
    if row["road"]:
        out.append(pick(("a road", "a path")))
    if row["flowers"]:
        out.append("flowers")
    if row["clouds"]:
        out.append("clouds")
    elif pick(("", "clear")):
        out.append("a clear sky")
    if row["orb"]:
        out.append("the moon" if row["hour"] == len(HOURS) - 1 else "the sun")
    if row["stars"]:
        out.append("stars")
    return out


def _when(row: Row, pick: object, kept: tuple[bool, bool]) -> str:
    season, hour = SEASONS[row["season"]], row["hour"]
    if all(kept):
        joint = f"on {'an' if season[0] == 'a' else 'a'} {season} {pick(MOMENTS[hour])}"
        apart = f"{pick(TIMES[hour])} in {season}".strip()
        return pick((apart, joint))
    return f"in {season}" if kept[0] else pick(TIMES[hour]) if kept[1] else ""


def _joined(phrases: list[str]) -> str:
    return " and ".join(", ".join(phrases).rsplit(", ", 1))


def rows_of(texts: Sequence[str]) -> torch.Tensor:
    """Turn captions into what the tokenizer would give, as rows of `WORDS`, ends up to length 77; (B, 77) long."""
    out = torch.full((len(texts), LENGTH), ROW["<end>"], dtype=torch.long)
    for number, text in enumerate(texts):
        words = [ROW["<start>"], *(ROW[word] for word in text.replace(",", " ,").split())]
        out[number, : len(words)] = torch.tensor(words)
    return out
