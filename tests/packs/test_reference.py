"""Reference attention (Advanced-ControlNet's Reference): the UNet also runs on a reference picture.

The pack wraps the UNet's forward, and takes ``control`` away in the pass of the reference, unless told otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import oracle, tiny

pytestmark = pytest.mark.host
LATENT, PIXELS = (8, 16), (64, 128)
CONTROL = 3  # its place among the arguments after x


def referenced(model: Any, *, with_control: bool = False, late: bool = True) -> Any:
    """Run the UNet on a reference first; its result changes the result for the picture.

    Args:
        model: A MODEL.
        with_control: Leave the control of the reference's pass alone.
        late: Put the wrapper in when sampling begins, as the pack does, and not in the node.
    """
    from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

    reference = torch.randn(1, 4, *LATENT, generator=torch.Generator().manual_seed(9))

    def unet(executor: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        taken = args if with_control else (*args[:CONTROL], None, *args[CONTROL + 1 :])
        first = executor(reference.to(x).expand_as(x), *taken, **kwargs)
        return executor(x, *args, **kwargs) + 0.3 * first

    def begin(executor: Any, guider: Any, sigmas: Any, extra_args: Any, *args: Any, **kwargs: Any) -> Any:
        options = extra_args["model_options"]["transformer_options"]
        add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "reference", unet, options)
        return executor(guider, sigmas, extra_args, *args, **kwargs)

    clone = model.clone()
    if late:
        clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "reference", begin)
    else:
        clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "reference", unet)
    return clone


def by_core(kind: str, image: torch.Tensor) -> dict[str, Any]:
    control = tiny.core_control(tiny.adapter_config(kind))
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, image)
    return {"positive": positive, "negative": negative}


def run(model: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(*LATENT), steps=3, **values)


@pytest.mark.parametrize("late", [True, False], ids=["while sampling", "in the node"])
@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_a_reference_without_control_is_without_adapter(models, kind, late):
    image, adapter = tiny.hint(*PIXELS), tiny.adapter(tiny.adapter_config(kind))
    expected = run(referenced(models[kind], late=late), **by_core(kind, image))
    result = run(referenced(tiny.apply(models[kind], adapter, image), late=late))
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_a_reference_with_control_is_with_adapter(models, kind):
    """The first pass consumes core's control, so core is not an oracle here."""
    config, image = tiny.adapter_config(kind), tiny.hint(*PIXELS)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    expected = run(referenced(oracle.inject_features(models[kind], kind, features), with_control=True))
    patched = tiny.apply(models[kind], tiny.adapter(config), image)
    torch.testing.assert_close(run(referenced(patched, with_control=True)), expected, **tiny.CLOSE)
    assert (run(referenced(patched)) - expected).abs().max() > 0.1


def test_another_control_is_not_lost(sd):
    """Whether both passes have a control is decided by core, as before."""
    image, other = tiny.hint(*PIXELS), tiny.hint(*PIXELS, seed=4)
    adapters = [tiny.adapter(tiny.adapter_config()) for _ in range(2)]
    expected = run(referenced(tiny.apply(tiny.apply(sd, adapters[0], image), adapters[1], other)))
    result = run(referenced(tiny.apply(sd, adapters[0], image)), **by_core("SD", other))
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


# --- guiders that set a prompt's control to None -----------------------------------------------------------


class Without:
    """A guider's extra pass: the positive prompt once more, with its control set to None."""

    def __call__(self, args: dict[str, Any]) -> torch.Tensor:
        import comfy.samplers

        prompts = [{**cond, "control": None} for cond in args["cond"]]
        (alone,) = comfy.samplers.calc_cond_batch(
            args["model"], [prompts], args["input"], args["sigma"], args["model_options"]
        )
        return args["denoised"] + 0.5 * (args["cond_denoised"] - alone)


def guided(model: Any) -> Any:
    clone = model.clone()
    clone.set_model_sampler_post_cfg_function(Without())
    return clone


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_a_prompt_whose_control_a_guider_sets_to_none_has_no_adapter(models, kind):
    image, adapter = tiny.hint(*PIXELS), tiny.adapter(tiny.adapter_config(kind))
    expected = run(guided(models[kind]), **by_core(kind, image))
    patched = tiny.apply(models[kind], adapter, image)
    torch.testing.assert_close(run(guided(patched)), expected, **tiny.CLOSE)
    assert (run(patched) - expected).abs().max() > 0.1


def test_only_that_prompt_of_several_in_one_call(sd):
    """Both prompts share a call; the adapter acts only on the rows of one."""
    patched = tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS))
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    weights = T2IAdapterWeights.execute({"preset": "uniform"}, positive=1.0, negative=0.0)[0]
    expected = run(tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS), weights=weights))
    clone = patched.clone()

    def take(executor: Any, model: Any, conds: Any, *args: Any) -> Any:
        return executor(model, [conds[0], [{**cond, "control": None} for cond in conds[1]]], *args)

    from comfy.patcher_extension import WrappersMP

    clone.wrappers.setdefault(WrappersMP.CALC_COND_BATCH, {})
    clone.wrappers[WrappersMP.CALC_COND_BATCH] = {"take": [take], **clone.wrappers[WrappersMP.CALC_COND_BATCH]}
    torch.testing.assert_close(run(clone), expected, **tiny.CLOSE)
