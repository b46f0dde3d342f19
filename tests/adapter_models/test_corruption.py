"""Damaged files end in an AdapterError, or load exactly what the good file holds; never in anything else."""

import random
import sys
import warnings

import psutil
import pytest
from t2i_adapter_pack.adapter_models import loading
from t2i_adapter_pack.adapter_models.errors import AdapterError, CorruptFileError
from t2i_adapter_pack.common import files

from . import damage, samples

# 203 faults in files of weights, and some in the config.json of others.
FAULTS = {name: 20 if good.kind == "config" else 29 for name, good in damage.GOOD.items()}
MEGABYTES_AT_MOST = 200
GOOD = pytest.mark.parametrize("good", damage.GOOD.values(), ids=damage.GOOD)


def megabytes_at_peak():
    """The most memory that this process ever held."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def refused(good, path):
    """Load; return whether it was refused. What loads must be equal."""
    before = megabytes_at_peak()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network, _ = loading.load_adapter_file(good.target(path))
    except AdapterError as error:
        assert str(error).endswith(f"{error.where}: got {error.got}; expected {error.expected}. {error.fix}".rstrip())
        return True
    finally:
        assert megabytes_at_peak() - before < MEGABYTES_AT_MOST
    assert network.config == good.config
    assert samples.same_bits(network.state_dict(), good.tensors)
    return False


@GOOD
def test_the_good_file_loads(good, tmp_path):
    assert not refused(good, good.write(tmp_path))


@pytest.mark.parametrize("name", damage.GOOD)
def test_faults_in_the_structure_are_refused_or_harmless_and_most_are_found(name, tmp_path):
    good = damage.GOOD[name]
    path = good.write(tmp_path)
    content = path.read_bytes()
    found = 0
    for seed in range(FAULTS[name]):
        # Never write into a file that is mapped: what was loaded from it would change.
        path.unlink()
        path.write_bytes(good.damaged(content, random.Random(seed)))
        try:
            found += refused(good, path)
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {error!r}") from error
    # config.json alone is mostly of no matter.
    assert found >= FAULTS[name] * (0.5 if good.kind == "config" else 0.7)


@pytest.mark.parametrize("name", [name for name in damage.GOOD if "config" not in name])
def test_truncated_copies_are_refused(name, tmp_path):
    good = damage.GOOD[name]
    path = good.write(tmp_path)
    content = path.read_bytes()
    edges = [edge for span in damage.STRUCTURE[good.kind](content) for edge in span]
    rng = random.Random(0)
    ends = {0, 1, 7, 8, 9, 64, len(content) // 2, len(content) - 1, *(edge + rng.randint(-2, 2) for edge in edges)}
    ends |= {rng.randrange(len(content)) for _ in range(40)}
    for end in sorted(end for end in ends if 0 <= end < len(content)):
        path.unlink()
        path.write_bytes(content[:end])
        with pytest.raises(CorruptFileError):
            loading.load_adapter_file(path)


@pytest.mark.parametrize("container", ["safetensors", "pth", "legacy.pth"])
@pytest.mark.parametrize("layout", samples.LAYOUTS)
def test_a_truncated_copy_of_every_layout_is_refused(layout, container, tmp_path):
    config, naming = samples.LAYOUTS[layout]
    path = samples.save(tmp_path, samples.named(samples.weights(config), config, naming), container)
    content = path.read_bytes()
    for share in (0.02, 0.98):
        path.unlink()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(CorruptFileError):
            loading.load_adapter_file(path)


@pytest.mark.parametrize("name", ["config.json, full", "config.json, XL", "config.json, light"])
def test_a_truncated_config_json_is_refused(name, tmp_path):
    good = damage.GOOD[name]
    path = good.write(tmp_path)
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(CorruptFileError, match=r"config\.json"):
            loading.load_adapter_file(tmp_path)


@pytest.mark.parametrize("name", damage.GOOD)
def test_random_bytes_behind_the_end_are_refused_or_harmless(name, tmp_path):
    good = damage.GOOD[name]
    path = good.write(tmp_path)
    with path.open("ab") as file:
        file.write(random.Random(0).randbytes(100))
    refused(good, path)


@pytest.mark.parametrize("name", ["full 2 blocks", "XL 3 channels", "light 1 block"])
@pytest.mark.parametrize("naming", ["original", "diffusers"])
def test_a_file_that_lacks_any_one_tensor_is_refused(name, naming, tmp_path, monkeypatch):
    config = {**samples.COMMON, "full 2 blocks": samples.full(1)}[name]
    tensors = samples.named(samples.weights(config), config, naming)
    for lost in tensors:
        rest = {key: tensor for key, tensor in tensors.items() if key != lost}
        monkeypatch.setattr(
            loading, "read_weights", lambda path, _, pick, rest=rest: files.WeightsFile(path, pick(rest))
        )
        with pytest.raises(AdapterError):
            loading.load_adapter_file(tmp_path / lost)


def test_a_header_that_claims_an_enormous_size_allocates_nothing(tmp_path):
    good = damage.GOOD["safetensors, full"]
    path = good.write(tmp_path)
    content = path.read_bytes()
    for claim in (2**63, 2**64 - 1, 2**40, 2**31, 2**27, 0):
        path.unlink()
        path.write_bytes(claim.to_bytes(8, "little") + content[8:])
        assert refused(good, path)


def test_a_torch_file_that_claims_an_enormous_tensor_allocates_nothing(tmp_path):
    good = damage.GOOD["legacy, full"]
    path = good.write(tmp_path)
    content = path.read_bytes()
    size = b"M" + (576).to_bytes(2, "little")  # the pickled number of weights of body.0.block1
    assert size in content
    for claim in (b"J" + (2**31 - 1).to_bytes(4, "little"), b"\x8a\x06" + (2**42).to_bytes(6, "little")):
        path.unlink()
        path.write_bytes(content.replace(size, claim))
        assert refused(good, path)
