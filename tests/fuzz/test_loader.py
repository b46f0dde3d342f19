"""Any file gives an adapter, or a clear error."""

from __future__ import annotations

import io
import json
import pickletools
import tempfile
import warnings
import zipfile
from pathlib import Path

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors
from t2i_adapter_pack.adapter_models import loading
from t2i_adapter_pack.adapter_models.errors import AdapterError
from t2i_adapter_pack.common.containers import SAFETENSORS_SUFFIXES

from ..adapter_models import damage, samples
from .engine import SHORT

SUFFIXES = (".pth", ".bin", ".ckpt", ".pt", *SAFETENSORS_SUFFIXES, ".txt", "")
LEAST = samples.full(1, channels=(2, 2, 4, 4))
suffixes = st.sampled_from(SUFFIXES)


def load(path: Path) -> None:
    """Load; an AdapterError of the usual form is fine, and so is an adapter that gives numbers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network, info = loading.load_adapter_file(path)
    except AdapterError as error:
        assert str(error).startswith(f"{error.says}\n{error.where}: got {error.got}; expected {error.expected}.")
        assert error.says
        return
    assert info.parameters == sum(weight.numel() for weight in network.state_dict().values())
    assert all(torch.isfinite(weight.float()).all() for weight in network.state_dict().values())


def load_bytes(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{suffix}")
        path.write_bytes(content)
        load(path)


# --- bytes ------------------------------------------------------------------------------------------------------------


@SHORT
@given(st.binary(max_size=256), suffixes)
@example(b"\x80\x02.", ".pth")
@example(b"\xff" * 8, ".safetensors")
@example(b"PK\x05\x06" + bytes(18), ".pth")
def test_any_bytes_are_refused(content, suffix):
    load_bytes(content, suffix)


@st.composite
def pickles(draw):
    """Instructions of a pickle in any order, of every kind that Python knows."""
    content = b"\x80\x02"
    for code in draw(st.lists(st.sampled_from(pickletools.opcodes), max_size=12)):
        content += code.code.encode("latin-1")
        if code.arg is not None:
            names = (
                b"os\nsystem\n",
                b"torch._utils\n_rebuild_tensor_v2\n",
                b"collections\nOrderedDict\n",
                b"1\n",
                b"I1\n",
            )
            content += draw(st.one_of(st.sampled_from(names), st.binary(max_size=10)))
    return content + b"."


def zipped(content: bytes) -> bytes:
    """A pickle as torch.save packs it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in (("data.pkl", content), ("byteorder", b"little"), ("version", b"3\n"), ("data/0", bytes(64))):
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


@SHORT
@given(pickles(), st.booleans())
def test_any_pickle_is_refused(content, packed):
    load_bytes(zipped(content) if packed else content, ".pth")


dtypes = st.sampled_from(("F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "F99", ""))
entries = st.fixed_dictionaries(
    {
        "dtype": st.one_of(dtypes, st.integers(), st.none()),
        "shape": st.one_of(st.lists(st.integers(-1, 2**65), max_size=5), st.integers(0, 8)),
        "data_offsets": st.one_of(
            st.tuples(st.integers(0, 64), st.integers(0, 64)), st.lists(st.integers(), max_size=3)
        ),
    }
)
names = st.one_of(st.sampled_from(sorted(samples.shapes_of(LEAST))), st.text(max_size=12))
headers = st.dictionaries(st.one_of(names, st.just("__metadata__")), st.one_of(entries, st.integers()), max_size=4)


@SHORT
@given(headers, st.binary(max_size=64), st.integers(-2, 2))
def test_any_header_of_safetensors_is_refused_or_read(header, data, shift):
    text = json.dumps(header).encode()
    load_bytes(max(len(text) + shift, 0).to_bytes(8, "little") + text + data, ".safetensors")


@SHORT
@given(
    st.sampled_from(sorted(damage.GOOD)),
    st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=4), st.integers(0, 8)), min_size=1, max_size=4),
)
def test_any_change_of_a_good_file_is_refused_or_harmless(name, changes):
    good = damage.GOOD[name]
    with tempfile.TemporaryDirectory() as folder:
        path = good.write(Path(folder))
        content = bytearray(path.read_bytes())
        for place, new, removed in changes:
            at = place % (len(content) + 1)
            content[at : at + removed] = new
        path.unlink()
        path.write_bytes(content)
        load(good.target(path))


# --- what is in a whole file ------------------------------------------------------------------------------------------

shapes = st.lists(st.integers(0, 5), max_size=4)
kinds = st.sampled_from((torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.float8_e4m3fn))
PREFIXES = ("", "module.", "adapter.", "adapters.sketch.", "model.adapters.a.", "body.0.", "body.00001.resnets.")


@st.composite
def state_dicts(draw):
    """The smallest adapter with tensors removed, renamed, reshaped or added, perhaps with a prefix."""
    config, naming = draw(st.sampled_from(((LEAST, "original"), (LEAST, "diffusers"), (samples.light(1), "original"))))
    tensors = samples.named(samples.weights(config), config, naming)
    for name in draw(st.lists(st.sampled_from(sorted(tensors)), max_size=4)):
        change = draw(st.sampled_from(("drop", "shape", "type", "rename")))
        tensor = tensors.pop(name, None)
        if change == "shape":
            tensors[name] = torch.zeros(draw(shapes))
        elif change == "type" and tensor is not None:
            tensors[name] = tensor.to(draw(kinds))
        elif change == "rename":
            number = draw(st.one_of(st.integers(0, 12), st.just(10**30)))
            tensors[f"body.{number}.{name.rpartition('.')[0][-6:]}.weight"] = torch.zeros(draw(shapes))
    for name in draw(st.lists(st.text(max_size=8), max_size=2)):
        tensors[name] = torch.zeros(draw(shapes))
    prefix = draw(st.sampled_from(PREFIXES))
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@SHORT
@given(state_dicts())
def test_any_state_dict_is_an_adapter_or_refused(tensors):
    load_bytes(save_safetensors(tensors), ".safetensors")


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6))
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=6)
KEYS = ("adapter_type", "in_channels", "downscale_factor", "channels", "num_res_blocks", "_name_or_path", "_class_name")
configs = st.one_of(
    st.dictionaries(
        st.sampled_from(KEYS), st.one_of(values, st.sampled_from(("full_adapter", "full_adapter_xl", 3, 8)))
    ),
    values,
)


@SHORT
@given(configs, st.sampled_from(("full", "XL", "light")))
def test_any_config_is_taken_or_refused(config, kind):
    good = damage.GOOD[f"config.json, {kind}"]
    with tempfile.TemporaryDirectory() as folder:
        path = good.write(Path(folder))
        path.write_text(json.dumps(config))
        load(Path(folder))
