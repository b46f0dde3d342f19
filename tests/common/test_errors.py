"""One form of errors for every package, and each library's own classes for what goes wrong with a file."""

import pytest
from t2i_adapter_pack.adapter_models import errors as adapters
from t2i_adapter_pack.annotators import errors as annotators
from t2i_adapter_pack.common.errors import PackError
from t2i_adapter_pack.common.files import read_weights, tensor_names
from t2i_adapter_pack.training import errors as training

BASES = (adapters.AdapterError, annotators.AnnotatorError, training.TrainingError, training.CheckpointError)


@pytest.mark.parametrize("kind", BASES)
def test_every_package_has_the_form_from_one_base(kind):
    assert issubclass(kind, PackError)
    assert kind.__init__ is PackError.__init__


@pytest.mark.parametrize("way", [read_weights, tensor_names])
@pytest.mark.parametrize(
    "errors", [adapters.ADAPTER_FILE_ERRORS, annotators.ANNOTATOR_FILE_ERRORS], ids=["adapters", "annotators"]
)
def test_a_library_gets_its_own_error_for_a_file(way, errors, tmp_path):
    (path := tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    with pytest.raises(errors.damaged, match="got a damaged or cut-off file") as caught:
        way(path, errors)
    assert type(caught.value) is errors.damaged
    with pytest.raises(errors.foreign, match="got part 1 of 2"):
        way(path.rename(tmp_path / "x-00001-of-00002.safetensors"), errors)


def test_the_sentence_that_a_user_understands_comes_first() -> None:
    error = PackError("Apply, image", "1 channel", "3 channels", "Convert it.", says="The image is gray.")
    assert str(error) == "The image is gray.\nApply, image: got 1 channel; expected 3 channels. Convert it."


def test_a_host_adds_its_advice_once_and_changes_nothing_else() -> None:
    error = PackError("hint", "NaN", "a number", "Scale it.", says="The image holds NaN.", topic="image-values")
    before = {**vars(error)}
    error.add_advice("Connect an image.")
    error.add_advice("Connect another one.")
    assert str(error) == "The image holds NaN.\nhint: got NaN; expected a number. Scale it.\nConnect an image."
    assert vars(error) == {**before, "advice": "Connect an image."}


def test_without_a_sentence_the_details_are_the_message() -> None:
    assert str(PackError("Apply, image", "1 channel", "3 channels")).startswith("Apply, image: got")
