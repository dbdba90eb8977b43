import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fmnist_lightning.models import ANN, CNN, cosine
from fmnist_lightning.models.layers import Dropout
from fmnist_lightning.training.quiet import IGNORED_WARNINGS


def test_ann_has_the_papers_parameter_count():
    assert ANN(batch_norm=False).num_parameters == 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10 == 109_386
    assert ANN().num_parameters == 109_578
    assert ANN(hidden=()).num_parameters == 7_850


def test_cnn_has_the_documented_parameter_count():
    assert CNN().num_parameters == 421_866
    assert CNN(batch_norm=False).num_parameters == 421_642
    assert CNN(head=()).num_parameters == 288 + 18_432 + 192 + 3136 * 10 + 10
    for number in ("421,866", "421,642"):
        assert number in CNN.__doc__
    assert "109,386" in ANN.__doc__
    assert "109,578" in ANN.__doc__


@pytest.mark.parametrize(
    "model",
    [
        ANN(),
        ANN(hidden=(32,), batch_norm=False),
        CNN(),
        CNN(filters=(4,), kernel_size=1, head=()),
        CNN(filters=(4, 4, 4, 4), batch_norm=False),
        CNN(kernel_size=5, padding="valid"),
        CNN(filters=(4, 8, 8), kernel_size=3, padding="valid"),
    ],
)
def test_models_return_one_row_of_logits_per_image(model):
    assert model.eval()(torch.randn(3, 1, 28, 28)).shape == (3, 10)


def kinds(model: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in model.network]


def test_layers_are_those_of_the_paper():
    block = ["Linear", "ReLU", "Dropout"]
    assert kinds(ANN(batch_norm=False)) == ["Flatten", *block, *block, "Linear"]
    assert kinds(ANN())[1:5] == ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    block = ["Conv2d", "BatchNorm2d", "MaxPool2d", "ReLU", "Dropout"]
    assert kinds(CNN()) == [*block, *block, "Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert all(layer.p == 0.25 for model in (ANN(), CNN()) for layer in model.network if isinstance(layer, nn.Dropout))


def test_pooling_before_relu_equals_relu_before_pooling():
    maps = torch.randn(2, 3, 28, 28, requires_grad=True)
    pooled_first, relu_first = F.relu(F.max_pool2d(maps, 2)), F.max_pool2d(F.relu(maps), 2)
    assert torch.equal(pooled_first, relu_first)
    weight = torch.randn_like(pooled_first)
    gradients = [torch.autograd.grad((out * weight).sum(), maps)[0] for out in (pooled_first, relu_first)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("rate", [0.25, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_has_the_distribution_of_torch(rate, memory_format):
    torch.manual_seed(0)
    inputs = torch.rand(64, 16, 14, 14).add(0.5).to(memory_format=memory_format).requires_grad_()
    dropout, num_draws = Dropout(rate), 50
    kept = torch.zeros_like(inputs)
    for _ in range(num_draws):
        outputs = dropout(inputs)
        keep = outputs != 0
        kept += keep
        # what is kept is scaled by the inverse of the rate that is kept, as is its gradient
        assert torch.allclose(outputs, inputs * keep / (1 - rate), rtol=2e-4)
        (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
        assert torch.allclose(gradient, keep / (1 - rate), rtol=2e-4)
    shares = kept / num_draws
    # five standard errors of the binomial distribution, over all elements and over each channel, row and column
    for dims in ((0, 1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)):
        share = shares.mean(dim=dims)
        num = num_draws * inputs.numel() / share.numel()
        assert (share - (1 - rate)).abs().max() < 5 * (rate * (1 - rate) / num) ** 0.5
    assert shares.std().item() == pytest.approx((rate * (1 - rate) / num_draws) ** 0.5, rel=0.05)  # independent
    assert torch.equal(dropout.eval()(inputs), inputs)
    assert dropout.state_dict() == nn.Dropout(rate).state_dict() == {}


def test_dropout_keeps_shapes_types_and_extreme_rates():
    torch.manual_seed(0)
    for shape in ((3,), (5, 7), (2, 3, 5, 7), (0, 4)):
        for dtype in (torch.float32, torch.bfloat16):
            outputs = Dropout(0.25)(torch.ones(shape, dtype=dtype))
            assert (outputs.shape, outputs.dtype) == (shape, dtype)
    ones = torch.ones(1000)
    assert torch.equal(Dropout(0.0)(ones), ones)
    assert not Dropout(1.0)(ones).any()
    assert Dropout(0.999999)(ones).isfinite().all()
    transposed = torch.ones(200, 300).t()[::2]  # neither contiguous nor dense
    assert Dropout(0.25)(transposed).count_nonzero() / transposed.numel() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    ("model", "argument", "value"),
    [
        (ANN, "dropout", 1.5),
        (CNN, "dropout", -0.1),
        (CNN, "filters", []),
        (CNN, "filters", [32, 0]),
        (CNN, "kernel_size", 2),
        (CNN, "padding", "full"),
        (CNN, "head", [1.5]),
        (ANN, "hidden", 128),
        (ANN, "batch_norm", "yes"),
    ],
)
def test_invalid_arguments_are_rejected_by_override_name(model, argument, value):
    with pytest.raises(ValueError, match=rf"model\.{argument}=.*: must be "):
        model(**{argument: value})


def test_empty_feature_maps_are_rejected_with_alternatives():
    with pytest.raises(ValueError, match=r"model\.filters=\[4, 4, 4\].*padding=valid; use fewer blocks"):
        CNN(filters=(4, 4, 4), kernel_size=5, padding="valid")


def trained(model: pl.LightningModule, data: pl.LightningDataModule, epochs: int = 2) -> pl.Trainer:
    silent = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, **silent)
    trainer.fit(model, datamodule=data)
    return trainer


@pytest.mark.filterwarnings(*(f"ignore:{advice}" for advice in IGNORED_WARNINGS))
@pytest.mark.parametrize("model", [ANN, CNN])
def test_model_without_an_optimizer_uses_adam(model, tiny):
    learner = model()
    trainer = trained(learner, tiny)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 0.001
    assert trainer.callback_metrics["train/accuracy"] > 0.2  # guessing gives 0.1
    trainer.test(learner, datamodule=tiny, verbose=False)
    assert 0.1 < trainer.callback_metrics["test/accuracy"] <= 1


@pytest.mark.filterwarnings(*(f"ignore:{advice}" for advice in IGNORED_WARNINGS))
def test_logged_means_weight_images_equally(tiny):
    torch.manual_seed(0)
    model = ANN(dropout=0.0, batch_norm=False)
    trainer = trained(model, tiny, epochs=1)
    images, labels = tiny.images["val"], tiny.labels["val"]
    with torch.no_grad():
        logits = model.eval()(images)
    assert len(labels) % tiny.batch_size != 0  # a last, shorter batch
    assert trainer.callback_metrics["val/loss"].item() == pytest.approx(
        F.cross_entropy(logits, labels).item(), rel=1e-5
    )
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert trainer.callback_metrics["val/accuracy"].item() == pytest.approx(accuracy)


def test_cosine_ends_at_its_lowest_rate():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = cosine(optimizer, total_steps=10, eta_min=0.01)
    rates = []
    for _ in range(10):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01)
