"""Tiled Diffusion (its three methods, including SpotDiffusion): each tile follows its part of the image.

The double does what that pack does with a CONTROL_NET: ComfyUI's own call is answered with the control itself; a
wrapper of the model cuts the latent into tiles, sets ``cond_hint`` to those of the image, and calls the control for
each batch of tiles. Rows come tile by tile, then prompt by prompt.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import oracle, tiny
from ..host.conftest import inside_comfyui  # noqa: F401 - a fixture

pytestmark = pytest.mark.host
SIZE, PIXELS, TILE = (16, 32), (128, 256), (16, 16)
LEFT, MIDDLE, RIGHT = 0, 8, 16  # where tiles begin


class Tiler:
    """The parts of Tiled Diffusion that use a control.

    Args:
        batches: The columns where tiles begin, batch by batch.
        shifts: Columns by which each step rolls the latent and the image; SpotDiffusion draws them.
    """

    def __init__(self, batches: tuple[tuple[int, ...], ...], shifts: tuple[int, ...] = (0,)) -> None:
        self.batches, self.shifts = batches, shifts
        self.now: tuple[int, ...] = ()
        self.step = -1
        self.kept: dict[Any, torch.Tensor] = {}

    def on(self, model: Any, prompts: dict[str, Any]) -> Any:
        """Return a MODEL that is sampled in tiles, and answer for its prompts' controls."""
        for control in {prompt[1]["control"] for side in prompts.values() for prompt in side if "control" in prompt[1]}:
            control.get_control_orig = control.get_control
            control.get_control = lambda *_, control=control: control
        clone = model.clone()
        clone.set_model_unet_function_wrapper(self)
        return clone

    def shift(self) -> int:
        return self.shifts[self.step % len(self.shifts)]

    def __call__(self, apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        self.step += 1
        x, t, c = args["input"].roll(self.shift(), -1), args["timestep"], args["c"]
        total, counts = torch.zeros_like(x), torch.zeros_like(x)
        for number, batch in enumerate(self.batches):
            self.now = batch
            tiles = torch.cat([x[..., start : start + TILE[1]] for start in self.now])
            inside = {
                key: value.repeat(len(self.now), *[1] * (value.ndim - 1)) if isinstance(value, torch.Tensor) else value
                for key, value in c.items()
            }
            if "control" in c:
                self._cut(c["control"], x.shape[0], number)
                inside["control"] = c["control"].get_control_orig(
                    tiles, t.repeat(len(self.now)), inside, len(args["cond_or_uncond"]), c["transformer_options"]
                )
            made = apply_model(tiles, t.repeat(len(self.now)), **inside).chunk(len(self.now))
            for start, tile in zip(self.now, made, strict=True):
                total[..., start : start + TILE[1]] += tile
                counts[..., start : start + TILE[1]] += 1
        return (total / counts).roll(-self.shift(), -1)

    def _cut(self, control: Any, rows: int, number: int) -> None:
        import comfy.utils

        while control is not None:
            key = (id(control), number)
            if key not in self.kept or len(self.shifts) > 1:
                height, width = (side * control.compression_ratio for side in SIZE)
                size = control.scale_image_to(width, height)
                whole = comfy.utils.common_upscale(
                    control.cond_hint_original, *size, control.upscale_algorithm, "center"
                ).float()
                whole = comfy.utils.repeat_to_batch_size(whole, rows).roll(8 * self.shift(), -1)
                cut = [whole[..., 8 * start : 8 * (start + TILE[1])] for start in self.now]
                self.kept[key] = torch.cat(cut).to(control.device)
            control.cond_hint = self.kept[key]
            control = control.previous_controlnet


def prompts(adapter: Any, image: torch.Tensor, weights: Any = None, **values: Any) -> dict[str, Any]:
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    net = T2IAdapterToControlNet.execute(adapter, weights)[0]
    first, second = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), net, image, **values)
    return {"positive": first, "negative": second}


def run(model: Any, tiler: Tiler, given: dict[str, Any], pictures: int = 1, steps: int = 2) -> torch.Tensor:
    return tiny.sample(tiler.on(model, given), tiny.latent(*SIZE, pictures), steps=steps, **given)


def expected(model: Any, kind: str, config: Any, image: torch.Tensor, tiler: Tiler, pictures: int = 1,
             side: tuple[float, float] = (1.0, 1.0)) -> torch.Tensor:  # fmt: skip
    """Oracle: features of manually cropped images, added by plain patches."""
    weights = tiny.adapter_weights(config)
    made: dict[tuple[int, int], list[torch.Tensor]] = {}

    def levels(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        rows = []
        for start in tiler.now:
            key = (start, tiler.shift())
            if key not in made:
                cut = image.roll(8 * tiler.shift(), 2)[:, :, 8 * start : 8 * (start + TILE[1])]
                made[key] = oracle.reference_features(kind, weights, cut)
            feature = made[key][level]
            feature = feature[[row % len(image) for row in range(pictures)]]
            rows += [feature * side[number] for number in options["cond_or_uncond"]]
        return torch.cat(rows)

    return run(oracle.inject(model, kind, levels), tiler, {}, pictures)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize(
    ("batches", "hints", "pictures"),
    [(((LEFT,), (MIDDLE,), (RIGHT,)), 1, 1), (((LEFT, MIDDLE, RIGHT),), 2, 2), (((LEFT, MIDDLE), (RIGHT,)), 1, 2)],
    ids=["one at a time", "all at once, a hint for each", "two and one"],
)
def test_each_tile_follows_its_part_of_the_image(kind, batches, hints, pictures):
    config, image, model = tiny.adapter_config(kind), tiny.hint(*PIXELS, hints), tiny.model(kind)
    adapter = tiny.adapter(config)
    seen: list[int] = []
    adapter.network.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    result = run(model, Tiler(batches), prompts(adapter, image), pictures)
    torch.testing.assert_close(result, expected(model, kind, config, image, Tiler(batches), pictures), **tiny.CLOSE)
    assert sum(seen) == 3 * hints  # once per crop, for two steps and both prompts
    whole = run(model, Tiler(batches), {}, pictures)
    assert (result - whole).abs().max() > 1


def test_what_lies_left_changes_nothing_at_the_right():
    config, model, both = tiny.adapter_config(), tiny.model(), ((LEFT, RIGHT),)
    adapter, image = tiny.adapter(config), torch.zeros(1, *PIXELS, 3)
    black = run(model, Tiler(both), prompts(adapter, image))
    image[:, :, :40] = tiny.hint(128, 40)
    changed = (run(model, Tiler(both), prompts(adapter, image)) - black).abs().amax((0, 1, 2))
    assert changed[:5].min() > 1
    assert changed[16:].max() == 0


def test_equal_tiles_are_computed_once_wherever_they_lie():
    adapter, half = tiny.adapter(tiny.adapter_config()), tiny.hint(128, 128)
    seen: list[int] = []
    adapter.network.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    run(tiny.model(), Tiler(((LEFT,), (RIGHT,))), prompts(adapter, torch.cat([half, half], 2)))
    assert seen == [1]


def test_tiles_that_move_at_each_step_are_followed():
    config, image, model, shifts = tiny.adapter_config(), tiny.hint(*PIXELS), tiny.model(), (3, 11)
    batches = ((LEFT,), (RIGHT,))
    result = run(model, Tiler(batches, shifts), prompts(tiny.adapter(config), image))
    wanted = expected(model, "SD", config, image, Tiler(batches, shifts))
    torch.testing.assert_close(result, wanted, **tiny.CLOSE)


def test_sides_and_strength_act_under_tiles():
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    config, image, model, batches = tiny.adapter_config(), tiny.hint(*PIXELS), tiny.model(), ((LEFT, RIGHT),)
    weights = T2IAdapterWeights.execute(positive=0.5, negative=1.5)[0]
    given = prompts(tiny.adapter(config), image, weights, strength=0.8)
    wanted = expected(model, "SD", config, image, Tiler(batches), side=(0.4, 1.2))
    torch.testing.assert_close(run(model, Tiler(batches), given), wanted, **tiny.CLOSE)


def test_the_image_of_a_gray_adapter_is_cut_too():
    """The pack reads a gray T2IAdapter's image before it exists; ours never reports being gray."""
    config, model, batches = tiny.adapter_config(image_channels=1), tiny.model(), ((LEFT, RIGHT),)
    image = tiny.hint(*PIXELS, channels=1)
    given = prompts(tiny.adapter(config), image.expand(-1, -1, -1, 3).contiguous())
    wanted = expected(model, "SD", config, image, Tiler(batches))
    torch.testing.assert_close(run(model, Tiler(batches), given), wanted, **tiny.CLOSE)


def test_a_control_of_cores_before_ours_is_cut_as_well():
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    config, image, model, batches = tiny.adapter_config(), tiny.hint(*PIXELS), tiny.model(), ((LEFT, RIGHT),)
    core, net = tiny.core_control(config), T2IAdapterToControlNet.execute(tiny.adapter(config))[0]
    first, second = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), core, image, strength=0.6)
    first, second = tiny.apply_core(first, second, net, image, strength=0.4)
    given = {"positive": first, "negative": second}
    wanted = expected(model, "SD", config, image, Tiler(batches))
    torch.testing.assert_close(run(model, Tiler(batches), given), wanted, **tiny.CLOSE)


def test_nothing_of_a_tiled_run_is_left():
    adapter, image, model = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS), tiny.model()
    given = prompts(adapter, image)
    run(model, Tiler(((LEFT,), (RIGHT,))), given)
    control = given["positive"][0][1]["control"]
    assert control.cond_hint is None
    assert tiny.left_of_runs() == []
    del control.get_control
    whole = tiny.sample(model, tiny.latent(*SIZE), steps=2, **given)
    direct = tiny.sample(tiny.apply(model, adapter, image), tiny.latent(*SIZE), steps=2)
    assert torch.equal(whole, direct)
