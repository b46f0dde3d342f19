"""The parts of a server's /object_info that workflow files depend on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "COMFY_DYNAMICCOMBO_V3")
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
# Inputs with these names get a "control after generate" widget by default.
SEEDS = ("seed", "noise_seed")
UPLOADS = ("image_upload", "video_upload", "audio_upload")
OWN_WIDGET = "widgetType"


class UnknownNodeError(LookupError):
    """The server has no such node."""


# The value of a widget that a file has none for.
MISSING = object()


@dataclass(frozen=True)
class Input:
    """An input of a node.

    Attributes:
        name: Its id.
        type: Its socket type; COMBO for lists.
        options: Its other properties.
        choices: Entries of a combo.
        optional: Whether older workflows may lack it.
    """

    name: str
    type: str
    options: Mapping[str, Any]
    choices: Sequence[Any]
    optional: bool = False

    @property
    def is_widget(self) -> bool:
        """True if the page shows a widget for it, so that its value is in the file."""
        return self.type in WIDGET_TYPES and not self.options.get("forceInput", False)

    @property
    def has_control(self) -> bool:
        """True if a "control after generate" widget follows it, with its own value in the file."""
        return self.type == "INT" and bool(self.options.get("control_after_generate", self.name in SEEDS))

    @property
    def has_upload(self) -> bool:
        """True if the node ends with an upload button for it, with its own value in the file."""
        return OWN_WIDGET not in self.options and any(self.options.get(name) for name in UPLOADS)

    @property
    def default(self) -> Any:
        """Its value in a new node."""
        first = self.choices[0] if self.choices else ""
        return self.options.get("default", first)

    def inside(self, value: Any) -> list["Input"]:
        """Return the inputs that belong to a choice of a dynamic combo."""
        for option in self.options.get("options", ()) if self.type == DYNAMIC else ():
            if option["key"] == value:
                return [
                    Input(f"{self.name}.{one.name}", one.type, one.options, one.choices)
                    for one in read_inputs(option["inputs"])
                ]
        return []


@dataclass(frozen=True)
class Definition:
    """A node.

    Attributes:
        class_type: Its id.
        title: Its name on the page.
        module: The server's name of its module.
        inputs: Its inputs in order.
        outputs: Names and types of its outputs in order.
    """

    class_type: str
    title: str
    module: str
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[str, str], ...]

    @property
    def is_core(self) -> bool:
        """True if the node is one of ComfyUI's own."""
        return not self.module.startswith("custom_nodes")

    def input(self, name: str) -> Input:
        """Return an input by its name."""
        return next(one for one in self.inputs if one.name == name)


class Definitions:
    """All nodes of a server.

    Args:
        info: The answer of /object_info.
    """

    def __init__(self, info: Mapping[str, Any]) -> None:
        self.info = info

    def __getitem__(self, class_type: str) -> Definition:
        """Return a node.

        Raises:
            UnknownNodeError: The server has no such node.
        """
        if class_type not in self.info:
            raise UnknownNodeError(f"{class_type}: got no such node; expected one that the server has.")
        found = self.info[class_type]
        outputs = tuple(zip(found["output_name"], (plain_type(kind) for kind in found["output"]), strict=True))
        inputs = tuple(read_inputs(found["input"]))
        return Definition(class_type, found["display_name"], found["python_module"], inputs, outputs)


def boxes(definition: Definition, value_of: Callable[[Input], Any]) -> Iterator[tuple[Input, Any]]:
    """Yield a node's widgets in their order on the page, including those of a dynamic combo's choice.

    Args:
        definition: The node.
        value_of: Returns the value of each, or MISSING; called in this order. Optional ones then have their default.
    """
    waiting = [one for one in definition.inputs if one.is_widget]
    while waiting:
        one = waiting.pop(0)
        value = value_of(one)
        if value is MISSING and one.optional:
            value = one.default
        yield one, value
        waiting[:0] = [more for more in one.inside(value) if more.is_widget]


def read_inputs(groups: Mapping[str, Any]) -> Iterator[Input]:
    """Read the required and optional inputs as the server lists them."""
    for group in ("required", "optional"):
        for name, spec in groups.get(group, {}).items():
            options = spec[1] if len(spec) > 1 else {}
            choices = spec[0] if isinstance(spec[0], list) else options.get("options", ())
            if plain_type(spec[0]) == DYNAMIC:
                choices = [option["key"] for option in choices]
            yield Input(name, plain_type(spec[0]), options, choices, group == "optional")


def plain_type(kind: Any) -> str:
    """Return a socket's type; COMBO for the list syntax of older nodes."""
    return "COMBO" if isinstance(kind, list) else str(kind)
