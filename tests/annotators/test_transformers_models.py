"""Networks of transformers: the published ones, filled from the files that transformers itself writes, without it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.networks import network_input, transformers_models
from t2i_adapter_pack.annotators.table import network_named

from . import published

ROOT = Path(__file__).absolute().parents[2]
# Millions of parameters that the published files hold (their size by four bytes).
PARAMETERS = {
    "dpt-hybrid": 122.4,
    "dpt-large": 343.0,
    "zoedepth-nk": 345.1,
    "depth-anything-v2-small": 24.8,
    "maskformer-coco-stuff": 41.3,
    "vitpose-base-simple": 85.9,
}
# One name of each published file whose layer transformers 5 calls otherwise, or the same where it does not.
NAMES = {
    "dpt-hybrid": "dpt.embeddings.backbone.bit.encoder.stages.2.layers.8.conv3.weight",
    "dpt-large": "dpt.encoder.layer.23.attention.attention.query.weight",
    "zoedepth-nk": "backbone.encoder.layer.23.attention.attention.relative_position_bias.relative_position_bias_table",
    "depth-anything-v2-small": "backbone.encoder.layer.11.attention.output.dense.weight",
    "maskformer-coco-stuff": "model.transformer_module.decoder.layers.5.encoder_attn.out_proj.weight",
    "vitpose-base-simple": "backbone.encoder.layer.11.attention.attention.value.bias",
}
OFFLINE = """
import importlib, socket, sys, types
package = types.ModuleType("pack"); package.__path__ = [sys.argv[1]]; sys.modules["pack"] = package
models = importlib.import_module("pack.annotators.networks.transformers_models")
for name in ("depth_networks", "label_networks", "pose_networks"):
    importlib.import_module(f"pack.annotators.networks.{name}")
assert "transformers" not in sys.modules
# What ComfyUI does not bring, and any way out.
sys.modules.update({name: None for name in ("timm", "accelerate", "cv2")})
def refuse(*_, **__): raise AssertionError("a connection")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import torch
for row in importlib.import_module("pack.annotators.table").NETWORK_ANNOTATORS:
    if not isinstance(row.load, models.FromTransformers):
        continue
    with models.SkipInit():
        network = models.build_network(row.load.model)
    assert all(each.is_meta for each in network.parameters())
    names = sorted(models.published_name(row.load.model, name) for name in network.state_dict())
    print(row.key, sum(each.numel() for each in network.parameters()) / 1e6, " ".join(names))
"""


@pytest.fixture(scope="module")
def built():
    """The published networks, as a process finds them that may not reach the internet: key -> millions, names."""
    # -I hides where compiled Python is kept; to compile all of transformers again takes as long as the test.
    kept = [] if sys.pycache_prefix is None else ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    command = [sys.executable, "-I", *kept, "-c", OFFLINE, str(ROOT)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == 0, answer.stderr[-2000:]
    lines = (line.split() for line in answer.stdout.splitlines())
    return {line[0]: (float(line[1]), line[2:]) for line in lines if line[0] in PARAMETERS}


@pytest.mark.slow
@pytest.mark.parametrize("key", PARAMETERS)
def test_the_configuration_is_the_published_one(built, key):
    millions, names = built[key]
    assert millions == pytest.approx(PARAMETERS[key], abs=0.06)
    assert NAMES[key] in names
    assert key == "maskformer-coco-stuff" or not [name for name in names if ".q_proj." in name or ".o_proj." in name]


def test_every_row_is_tested():
    assert {*published.KEYS} == {*PARAMETERS} == {*published.TINY}


@pytest.fixture(scope="module", params=PARAMETERS)
def file(request, tmp_path_factory):
    """A tiny model, transformers' network, and the file that transformers writes of it."""
    model = published.tiny_model(request.param)
    network = published.their_network(model)
    return model, network, published.saved(network, tmp_path_factory.mktemp(request.param))


def test_a_file_fills_the_network(file):
    model, network, tensors = file
    loaded = transformers_models.load_model(model, tensors)
    for name, parameter in network.named_parameters():
        assert torch.equal(loaded.network.get_parameter(name), parameter), name
    for name, buffer in network.named_buffers():
        if not name.endswith(("num_batches_tracked", "empty_weight")):
            assert torch.equal(loaded.network.get_buffer(name), buffer), name
    assert not loaded.network.training


def test_new_names_are_taken_as_well(file):
    model, network, _ = file
    loaded = transformers_models.load_model(model, network.state_dict())
    assert all(torch.equal(loaded.network.get_parameter(name), each) for name, each in network.named_parameters())


def test_what_changes_nothing_may_be_left_out(file):
    model, _, tensors = file
    fewer = {name: tensor for name, tensor in tensors.items() if not name.endswith(model.unused)}
    transformers_models.load_model(model, fewer)
    more = {**tensors, **{f"backbone.any{name}": torch.zeros(1, dtype=torch.int64) for name in model.unused}}
    transformers_models.load_model(model, more)


@pytest.mark.parametrize("kind", ["missing", "extra", "misshapen", "NaN"])
def test_wrong_weights_are_refused(file, kind):
    model, _, tensors = file
    damaged = dict(tensors)
    name = next(name for name in sorted(tensors) if tensors[name].ndim > 1)
    if kind == "missing":
        del damaged[name]
    elif kind == "extra":
        damaged["another.weight"] = torch.ones(1)
    else:
        damaged[name] = damaged[name][..., :1] if kind == "misshapen" else damaged[name] * float("nan")
    with pytest.raises(AnnotatorError) as caught:
        transformers_models.load_model(model, damaged, "my file")
    assert str(caught.value).splitlines()[1].startswith("my file: got ")
    assert kind != "extra" or "another.weight" in str(caught.value)


def test_a_file_of_another_network_is_refused(file):
    model, _, tensors = file
    for key in PARAMETERS:
        if published.tiny_model(key) != model:
            with pytest.raises(AnnotatorError):
                transformers_models.load_model(published.tiny_model(key), tensors)


def test_loading_changes_no_row(file):
    model, _, tensors = file
    before = repr(model)
    transformers_models.load_model(model, tensors)
    assert repr(model) == before


def test_an_unknown_key_is_refused():
    with pytest.raises(AnnotatorError, match="dpt-hybrid"):
        network_named("midas")


def test_an_old_transformers_is_named():
    model = replace(published.tiny_model("dpt-large"), network="NoSuchNetwork")
    with pytest.raises(AnnotatorError, match=r"transformers 4\.50"):
        transformers_models.load_model(model, {})


@pytest.mark.parametrize(
    ("key", "size", "expected"),
    [
        ("dpt-hybrid", (512, 768), (512, 768)),
        ("dpt-hybrid", (500, 20), (512, 32)),
        ("depth-anything-v2-small", (512, 512), (518, 518)),
        ("depth-anything-v2-small", (1024, 1536), (518, 784)),
        ("zoedepth-nk", (608, 608), (512, 512)),
        ("maskformer-coco-stuff", (512, 1024), (640, 1280)),
    ],
)
def test_the_size_that_a_network_sees(key, size, expected):
    assert network_input.input_size(network_named(key).load.model, size) == expected


def test_too_large_a_picture_is_refused():
    with pytest.raises(AnnotatorError, match="megapixels"):
        network_input.input_size(network_named("dpt-large").load.model, (2048, 4096))
