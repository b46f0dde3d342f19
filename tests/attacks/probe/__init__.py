"""A custom node whose output goes into any input, as those of many packs do, with values that no node was made for."""

from __future__ import annotations

from typing import Any, ClassVar

from .malformed import all_values


class AnyType(str):
    """A type's name that ComfyUI finds equal to every other."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class AttackValue:
    """Gives one of the values."""

    RETURN_TYPES = (AnyType("*"),)
    FUNCTION = "give"
    CATEGORY = "attacks"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {"required": {"number": ("INT", {"default": 0})}}

    def give(self, number: int) -> tuple[Any]:
        """Return the value of a number."""
        return (all_values()[number].value,)


NODE_CLASS_MAPPINGS: ClassVar[dict[str, type]] = {"AttackValue": AttackValue}
