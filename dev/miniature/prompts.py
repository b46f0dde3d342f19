"""The few words the miniature knows: their CLIP token ids, and prompts built from scenes as word rows."""

from __future__ import annotations

import torch

from .scenes import COLOURS, KINDS, Scenes

# Word -> id in the stock SD1 tokenizer. The row number in this table is the id used in training.
WORDS: tuple[tuple[str, int], ...] = (
    ("<start>", 49406),
    ("<end>", 49407),
    ("a", 320),
    ("and", 537),
    ("on", 525),
    ("background", 5994),
    (",", 267),
    ("shape", 6448),
    ("red", 736),
    ("green", 1901),
    ("blue", 1746),
    ("yellow", 4481),
    ("purple", 5496),
    ("pink", 3360),
    ("white", 1579),
    ("black", 1449),
    ("circle", 7117),
    ("square", 3999),
    ("triangle", 14615),
    ("star", 1565),
)
ROW = {word: row for row, (word, _) in enumerate(WORDS)}
TOKEN_IDS = tuple(token for _, token in WORDS)
LENGTH = 77
ABSENT = -1


def word_rows(scenes: Scenes) -> torch.Tensor:
    """Spell the full prompt of each scene, back to front, as rows of `WORDS`.

    Args:
        scenes: B scenes.

    Returns:
        (B, 16) long, `ABSENT` where a scene has no word: `, a C K` or `and a C K` per shape, then `on a C background`.
    """
    batch, slots = scenes.kind.shape
    device = scenes.kind.device
    rows = torch.full((batch, slots * 4 + 4), ABSENT, dtype=torch.long, device=device)
    for slot in range(slots):
        there = slot < scenes.count
        joint = torch.where(scenes.count == slot + 1, ROW["and"], ROW[","])
        words = (
            joint if slot else torch.full_like(scenes.count, ABSENT),
            torch.full_like(scenes.count, ROW["a"]),
            scenes.colour[:, slot] + ROW[COLOURS[0]],
            scenes.kind[:, slot] + ROW[KINDS[0]],
        )
        for place, word in enumerate(words):
            rows[:, slot * 4 + place] = torch.where(there, word, ABSENT)
    rows[:, -4] = ROW["on"]
    rows[:, -3] = ROW["a"]
    rows[:, -2] = scenes.background + ROW[COLOURS[0]]
    rows[:, -1] = ROW["background"]
    return rows


def without_colours(rows: torch.Tensor) -> torch.Tensor:
    """Remove the colour words from word rows (B, L); returns new rows of the same shape."""
    first = ROW[COLOURS[0]]
    return torch.where((rows >= first) & (rows < first + len(COLOURS)), ABSENT, rows)


def tokens(rows: torch.Tensor) -> torch.Tensor:
    """Pack word rows (B, L) as the tokenizer would: start, words, then end tokens up to length 77.

    Returns:
        (B, 77) long, rows of `WORDS` (not CLIP ids).
    """
    order = torch.argsort((rows == ABSENT).to(torch.uint8), dim=1, stable=True)
    packed = torch.gather(rows, 1, order)
    packed = torch.where(packed == ABSENT, ROW["<end>"], packed)
    out = torch.full((rows.shape[0], LENGTH), ROW["<end>"], dtype=torch.long, device=rows.device)
    out[:, 0] = ROW["<start>"]
    out[:, 1 : 1 + rows.shape[1]] = packed
    return out


def texts(rows: torch.Tensor) -> list[str]:
    """Write word rows (B, L) as B prompts, which the SD1 tokenizer turns back into the same words."""
    lines = (" ".join(WORDS[row][0] for row in line if row != ABSENT) for line in rows.tolist())
    return [line.replace(" ,", ",") for line in lines]


def drop_words(rows: torch.Tensor, draws: torch.Tensor, empty: float, colourless: float, partly: float) -> torch.Tensor:
    """Shorten prompts at random, so that the model also learns short, vague and empty ones.

    Args:
        rows: word rows (B, L).
        draws: uniform numbers (B, L + 2) in [0, 1).
        empty: share of prompts with no word left (what classifier-free guidance needs).
        colourless: share of prompts without their colour words.
        partly: chance of each single colour or kind to be dropped or made vague in the remaining prompts.

    Returns:
        Word rows (B, L).
    """
    mode, background = draws[:, :1], draws[:, 1:2]
    is_colour = (rows >= ROW[COLOURS[0]]) & (rows < ROW[KINDS[0]])
    is_kind = rows >= ROW[KINDS[0]]
    chosen = draws[:, 2:] < partly
    out = torch.where(is_kind & chosen, ROW["shape"], torch.where(is_colour & chosen, ABSENT, rows))
    out[:, -4:] = torch.where(background < partly, ABSENT, out[:, -4:])
    out = torch.where(mode < empty + colourless, without_colours(rows), out)
    return torch.where(mode < empty, ABSENT, out)
