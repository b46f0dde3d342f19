"""A person in a simple pose: OpenPose's 18 joints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .dice import Dice

POSES = ("standing", "waving", "walking", "arms raised")
# Of each pose: elbow and wrist of the right, then of the left arm; after them, of each pose, knee and ankle alike,
# as steps from the joint before, for a person of height 1, x to the right and y upwards. The person faces us, so that
# the right side is at the left of the picture.
_LIMBS = (
    *(
        ((-0.05, -0.15), (-0.01, -0.14), (0.05, -0.15), (0.01, -0.14)),
        ((-0.05, -0.15), (-0.01, -0.14), (0.12, 0.06), (0.03, 0.15)),
        ((-0.09, -0.13), (-0.02, -0.13), (0.08, -0.12), (0.07, -0.11)),
        ((-0.11, 0.08), (-0.05, 0.14), (0.11, 0.08), (0.05, 0.14)),
    ),
    *(
        ((-0.01, -0.23), (0.0, -0.23), (0.01, -0.23), (0.0, -0.23)),
        ((-0.02, -0.23), (0.0, -0.23), (0.02, -0.23), (0.0, -0.23)),
        ((-0.08, -0.22), (-0.05, -0.21), (0.08, -0.22), (0.03, -0.22)),
        ((-0.04, -0.23), (-0.02, -0.23), (0.04, -0.23), (0.02, -0.23)),
    ),
)
HIP, SHOULDER, NECK, HEAD = 0.47, 0.78, 0.80, 0.90
JOINTS = 18


@dataclass(frozen=True)
class Figure:
    """People (B,): there, x, base, size in shares of the picture, pose, clothes; joints (B, 18, 2), x right and y up
    from the feet, for a height of 1."""

    there: Tensor
    x: Tensor
    base: Tensor
    size: Tensor
    pose: Tensor
    colour: Tensor
    joints: Tensor

    def standing_at(self, base: Tensor) -> Figure:
        """Return the people with their feet at a height (B,)."""
        return replace(self, base=base)

    def pixels(self, size: int) -> Tensor:
        """Return the joints (B, 18, 2) as x and y in pixels of a picture of a size."""
        right, up = self.joints.unbind(-1)
        x = self.x[:, None] + right * self.size[:, None]
        y = self.base[:, None] - up * self.size[:, None]
        return torch.stack((x, y), dim=-1) * size


def draw_figure(dice: Dice) -> Figure:
    """Draw people; their base follows from the ground."""
    there, x, size = dice.chance(0.28), dice.one(0.22, 0.78), dice.one(0.46, 0.62)
    pose = dice.choice((0.3, 0.25, 0.25, 0.2))[:, 0]
    colour = dice.choice((0.4, 0.12, 0.22, 0.18, 0.08))[:, 0]
    table = size.new_tensor(_LIMBS)
    steps = torch.cat((table[pose], table[pose + len(POSES)]), dim=1) + dice.uniform(16, -0.018, 0.018).view(-1, 8, 2)
    mirrored = dice.chance(0.5)
    joints = _joints(steps)
    turned = joints[:, [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]] * size.new_tensor((-1.0, 1.0))
    joints = torch.where(mirrored[:, None, None], turned, joints)
    return Figure(there, x, torch.zeros_like(x), size, pose, colour, joints)


def _joints(steps: Tensor) -> Tensor:
    """Follow the limbs; steps (B, 8, 2) -> joints (B, 18, 2) in OpenPose's order."""

    def at(x: float, y: float) -> Tensor:
        return steps.new_tensor((x, y)).expand(len(steps), 2)

    chains = []
    for first, start in enumerate((at(-0.095, 0.775), at(0.095, 0.775), at(-0.055, HIP), at(0.055, HIP))):
        bend = start + steps[:, 2 * first]
        chains.append((start, bend, bend + steps[:, 2 * first + 1]))
    head = (at(0.0, HEAD), at(0.0, NECK))
    face = (at(-0.022, HEAD + 0.018), at(0.022, HEAD + 0.018), at(-0.05, HEAD + 0.01), at(0.05, HEAD + 0.01))
    return torch.stack((*head, *(joint for chain in chains for joint in chain), *face), dim=1)
