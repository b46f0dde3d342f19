"""A custom node with malformed values, whose output connects to any input, as in many packs."""

from __future__ import annotations

from typing import Any, ClassVar

from .malformed import all_values


class AnyType(str):
    """A type name that compares equal to every other."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class AttackValue:
    """Outputs one of the values."""

    RETURN_TYPES = (AnyType("*"),)
    FUNCTION = "give"
    CATEGORY = "attacks"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {"required": {"number": ("INT", {"default": 0})}}

    def give(self, number: int) -> tuple[Any]:
        """Return the value at an index."""
        return (all_values()[number].value,)


NODE_CLASS_MAPPINGS: ClassVar[dict[str, type]] = {"AttackValue": AttackValue}
