"""What the benchmark says, and counts that do not depend on the mood of the machine."""

import json
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from hydra.utils import instantiate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import TensorDataset
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassStatScores

from fmnist_lightning.benchmark import benchmark
from fmnist_lightning.benchmarking import variants as arms
from fmnist_lightning.models import ANN, CNN


def test_the_benchmark_prints_a_table_and_writes_it(command, tiny_overrides, tmp_path):
    answer = command("model=ann", *tiny_overrides, "repeats=2", "output=b.json", module="fmnist_lightning.benchmark")
    assert answer.returncode == 0, answer.stderr
    result = json.loads((tmp_path / "b.json").read_text())
    assert list(result["arms"]) == ["project", "conventional", "bare"]
    for name, arm in result["arms"].items():
        assert name in answer.stdout
        assert [len(arm[part]) for part in ("input", "step", "epoch")] == [2, 2, 2]
        assert all(seconds > 0 for seconds in arm["epoch"])
        assert arm["images"] == {"input": 320, "step": 20 * 64, "epoch": 400}
        assert arm["peak_mb"] > 100
    assert result["machine"]["model"] == "ann"
    assert "torch" in result["machine"]["versions"]
    assert "project / arm" in answer.stdout


def test_a_dataset_out_of_reach_is_one_line(command):
    arguments = ["model=ann", "data=fashion_mnist", "data.root=nowhere", "data.mirrors=[]"]
    answer = command(*arguments, module="fmnist_lightning.benchmark")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: Fashion-MNIST is not in nowhere")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["repeats=0"], "repeats=0: must be a whole number, at least 1"),
        (["images=few"], "images=few: must be a whole number"),
        (["arms=bare,bar"], "arms=bare,bar: must be a comma list of project, conventional, bare"),
        (["modle=ann"], "did you mean model=ann"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match=words):
        benchmark(arguments)


def test_a_precision_that_scales_gradients_is_refused(monkeypatch):
    monkeypatch.setattr("fmnist_lightning.benchmark.check", lambda overrides: None)  # which wants a GPU for it
    with pytest.raises(ValueError, match="16-mixed: steps are timed without scaled gradients"):
        benchmark(['trainer.precision="16-mixed"'])


class Reads(TorchDispatchMode):
    """Counts how often a value is read from a tensor, for which a GPU must finish first."""

    num = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.num += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def counts(arm_class, cfg, folder, monkeypatch):
    """Fetches, metric updates and reads of one epoch of training and validation."""
    counted = Counter()
    with monkeypatch.context() as patched:
        for name, owners in (
            ("__getitem__", (TensorDataset, arms.FashionMNIST)),
            ("update", (MeanMetric, MulticlassStatScores)),
        ):
            for owner in owners:
                plain = getattr(owner, name)
                patched.setattr(owner, name, lambda *a, n=name, f=plain: counted.update([n]) or f(*a))
        data = instantiate(cfg.data, _convert_="all")
        data.setup()
        arm = arm_class(cfg, data, "32-true", torch.device("cpu"), folder)
        with Reads() as reads:
            arm.epochs(1, nullcontext)
    return counted["__getitem__"], counted["update"], reads.num


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec, LeafSpec.")
@pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval")
def test_a_batch_is_one_fetch_and_nothing_is_measured_or_read_step_by_step(composed, tmp_path, monkeypatch):
    small, large = (composed("model=ann", f"data.batch_size={size}") for size in (160, 16))
    fetches, updates, reads = counts(arms.Project, small, tmp_path / "small", monkeypatch)
    assert fetches == 2 + 1  # 320 and 80 images in batches of 160
    fetches_of_small_batches, *others = counts(arms.Project, large, tmp_path / "large", monkeypatch)
    assert fetches_of_small_batches == 20 + 5
    assert others == [updates, reads]  # ten times the steps, not one more
    assert updates == 4  # loss and accuracy, of training and of validation
    fetches, updates, _ = counts(arms.Conventional, large, tmp_path / "conventional", monkeypatch)
    assert fetches == 400
    assert updates == 20 + 5


@pytest.mark.parametrize("model", [ANN(), CNN(filters=(4, 8), head=(16,))])
def test_the_conventional_network_is_the_same_function(model):
    images = torch.randn(8, 1, 28, 28)
    ours = model.eval()(images)
    theirs = arms.conventional_network(model.network).eval()(images)
    assert torch.allclose(ours, theirs, atol=1e-5)
    kinds = [type(layer).__name__ for layer in arms.conventional_network(model.network)]
    if isinstance(model, CNN):
        assert kinds[:5] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout"]
    assert not any(isinstance(layer, arms.Dropout) for layer in arms.conventional_network(model.network))
