import pytest
import torch

from fmnist_lightning.evaluate import evaluate
from fmnist_lightning.inference import load_run
from fmnist_lightning.models import ANN, CNN
from fmnist_lightning.models.layers import Normalize
from fmnist_lightning.runs.files import atomic_write, checksum_path
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train


@pytest.fixture(scope="module")
def run(composed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictor") / "run"
    small = ["model=cnn", "model.filters=[4]", "model.head=[]", "logger=none", "trainer.precision=32-true"]
    train(composed(*small), folder)
    return Run(folder)


def test_normalisation_is_that_of_the_training_split(tiny):
    normalize = Normalize()
    normalize.set_mean_and_std(tiny.mean, tiny.std)
    images = normalize(tiny.images["train"])
    assert (images.shape, images.dtype) == ((320, 1, 28, 28), torch.float32)
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std().item() == pytest.approx(1, abs=1e-3)


def test_uint8_and_float_images_of_either_shape_are_bit_identical():
    normalize = Normalize()
    normalize.set_mean_and_std(0.286, 0.353)
    images = (torch.arange(3 * 784) % 256).to(torch.uint8).view(3, 28, 28)  # every pixel value
    expected = normalize(images)
    for same in (images.unsqueeze(1), images.float() / 255, images.unsqueeze(1).float() / 255):
        before = same.clone()
        assert torch.equal(normalize(same), expected)
        assert torch.equal(same, before)


@pytest.mark.parametrize("kind", [ANN, CNN])
def test_model_takes_images_as_documented(kind):
    model = kind().eval()
    images = torch.randint(0, 256, (2, 28, 28), dtype=torch.uint8)
    assert torch.equal(model(images), model(images.unsqueeze(1).float() / 255))


def test_predictor_gives_the_probabilities_in_predictions_csv_before_calibration(run, tiny):
    predictor, images = load_run(run.folder, accelerator="cpu"), tiny.images["test"]
    _, expected = run.read_predictions()
    logits = predictor.logits(images)
    torch.testing.assert_close(logits.softmax(dim=1), expected, rtol=0, atol=1e-7)
    temperature = run.read_summary()["calibration"]["temperature"]
    assert torch.equal(predictor.predict(images), (logits / temperature).softmax(dim=1))
    assert predictor.epoch == run.read_summary()["best_epoch"]
    assert predictor.predict(images[:0]).shape == (0, 10)


def test_images_are_converted_once_and_logits_take_the_result_only(run, tiny):
    predictor, images = load_run(run.folder, accelerator="cpu"), tiny.images["test"][:4]
    assert torch.equal(predictor.predict(list(images.float() / 255)), predictor.predict(images))
    for others in (images.float(), images.unsqueeze(1)):
        with pytest.raises(ValueError, match=r"images: .*; must be \(N, 28, 28\) uint8"):
            predictor.logits(others)


def test_features_are_the_input_of_the_last_layer(run, tiny):
    predictor, images = load_run(run.folder, accelerator="cpu"), tiny.images["test"]
    features = predictor.features(images)
    last = predictor.model.network[-1]
    assert features.shape == (100, last.in_features)
    with torch.inference_mode():
        torch.testing.assert_close(last(features), predictor.logits(images))
    assert not last._forward_pre_hooks


def test_checkpoint_loads_with_its_normalisation(run, tiny):
    model = CNN.load_from_checkpoint(run.best_checkpoint, map_location="cpu").eval()
    with torch.inference_mode():
        predicted = model(tiny.images["test"].float() / 255).argmax(1)
    assert (predicted == tiny.labels["test"]).float().mean().item() == pytest.approx(
        run.read_summary()["test"]["accuracy"]
    )


def test_run_of_version_0_1_is_evaluated_but_not_resumed(composed, tmp_path, tiny, capsys):
    cfg = composed("model=ann", "model.hidden=[16]", "logger=none")
    train(cfg, tmp_path)
    run = Run(tmp_path)
    for path in (run.best_checkpoint, run.last_checkpoint):
        checkpoint = torch.load(path, weights_only=True)
        for name in ("mean", "std"):
            del checkpoint["state_dict"][f"normalize.{name}"]
        checkpoint["FashionMNISTData"] = {"mean": tiny.mean, "std": tiny.std, "split_sha256": "..."}
        torch.save(checkpoint, path)
        checksum_path(path).unlink()
    assert evaluate([f"run={tmp_path}", "accelerator=cpu"]) == 0
    atomic_write(run.metrics_csv, "")
    with pytest.raises(ValueError, match=r"of version 0\.1\.0 or earlier; resume the run with that version"):
        train(cfg, tmp_path, resume=True)
