"""What the benchmark reports, and counts that do not depend on the load of the machine."""

import json
from collections import Counter

import pytest
import torch
from hydra.utils import instantiate
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassStatScores

from fmnist_lightning.benchmark import benchmark
from fmnist_lightning.benchmarking import lightning_default, measure, timing
from fmnist_lightning.benchmarking.lightning_default import LightningDefault, standard_network
from fmnist_lightning.benchmarking.project import Project
from fmnist_lightning.data.batches import InMemoryImages
from fmnist_lightning.models import ANN, CNN
from fmnist_lightning.models.layers import Dropout


@pytest.mark.slow
def test_benchmark_prints_a_table_and_writes_it(command, tiny_overrides, tmp_path):
    arguments = ["model=ann", *tiny_overrides, "repeats=1", "output=b.json", "load=1"]
    answer = command(*arguments, module="fmnist_lightning.benchmark", OMP_WAIT_POLICY="passive")
    assert answer.returncode == 0, answer.stderr
    result = json.loads((tmp_path / "b.json").read_text())
    assert list(result["variants"]) == ["project", "lightning_default", "plain_loop"]
    for name, variant in result["variants"].items():
        assert name in answer.stdout
        assert [len(variant[part]) for part in ("input", "step", "epoch")] == [1, 1, 1]
        assert all(seconds > 0 for part in ("input", "step", "epoch") for seconds in variant[part])
        assert variant["images"] == {"input": 320, "step": 20 * 64, "epoch": 400}
        assert variant["peak_mb"] > 100
    assert result["machine"]["model"] == "ann"
    assert "torch" in result["machine"]["versions"]
    assert result["settings"]["repeats"] == result["settings"]["load"] == 1
    assert "1 busy process at the same time" in answer.stdout
    policies = [variant["openmp"]["variables"]["OMP_WAIT_POLICY"] for variant in result["variants"].values()]
    assert set(policies) == {"passive"}
    assert "project / variant" in answer.stdout


def test_variants_take_turns_in_processes_of_their_own(monkeypatch):
    turns = []

    def in_new_process(name, overrides, images):
        turns.append(name)
        seconds = {part: float(len(turns)) for part in measure.PARTS}
        return {
            "seconds": seconds,
            "images": {},
            "precision": "",
            "openmp": {},
            "peak_mb": 100 * len(turns),
            "machine": {"turn": len(turns)},
        }

    monkeypatch.setattr(measure, "in_new_process", in_new_process)
    result = measure.compare_variants(["project", "plain_loop"], [], images=100, repeats=3)
    assert turns == ["project", "plain_loop"] * 3
    assert {name: variant["epoch"] for name, variant in result["variants"].items()} == {
        "project": [1.0, 3.0, 5.0],
        "plain_loop": [2.0, 4.0, 6.0],
    }
    assert [variant["peak_mb"] for variant in result["variants"].values()] == [500, 600]  # the highest of all repeats
    assert result["machine"] == {"turn": 1}


def test_warm_up_is_not_timed(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(timing, "now", lambda: next(clock))
    calls = []
    assert timing.seconds_of(lambda: calls.append(None)) == 10
    assert len(calls) == 2
    timer = timing.EpochTimer()
    for _ in range(3):
        timer.start_epoch()
    timer.end()
    assert timer.seconds == [10, 10, 10]


def test_missing_dataset_is_a_one_line_error(command):
    arguments = ["model=ann", "data=fashion_mnist", "data.root=nowhere", "data.mirrors=[]"]
    answer = command(*arguments, module="fmnist_lightning.benchmark")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: Fashion-MNIST is not in nowhere")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["repeats=0"], "repeats=0: must be an integer, at least 1"),
        (["images=few"], "images=few: must be an integer"),
        (
            ["variants=plain_loop,bar"],
            "variants=plain_loop,bar: must be a comma list of project, lightning_default, plain_loop",
        ),
        (["variants=project,project"], "each once"),
        (["modle=ann"], "did you mean model=ann"),
    ],
)
def test_invalid_arguments_are_rejected_by_name(arguments, words):
    with pytest.raises(ValueError, match=words):
        benchmark(arguments)


def test_precision_with_scaled_gradients_is_rejected(monkeypatch):
    # the validation requires a GPU for it
    monkeypatch.setattr(
        "fmnist_lightning.benchmark.validate_command_line", lambda overrides: None
    )  # which requires a GPU for it
    with pytest.raises(ValueError, match="16-mixed: steps are timed without scaled gradients"):
        benchmark(['trainer.precision="16-mixed"'])


class Reads(TorchDispatchMode):
    """Counts how often a value is read from a tensor, which waits until a GPU has finished."""

    num = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.num += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def counts(variant_class, cfg, folder, monkeypatch):
    """Fetches, metric updates and reads of one epoch of training and validation."""
    counted = Counter()
    with monkeypatch.context() as patched:
        for name, owners in (
            ("__getitem__", (InMemoryImages, lightning_default.FashionMNIST)),
            ("update", (MeanMetric, MulticlassStatScores)),
        ):
            for owner in owners:
                plain = getattr(owner, name)
                patched.setattr(owner, name, lambda *a, n=name, f=plain: counted.update([n]) or f(*a))
        data = instantiate(cfg.data, _convert_="all")
        data.setup()
        variant = variant_class(cfg, data, "32-true", torch.device("cpu"), folder)
        with Reads() as reads:
            variant.time_epochs(1)
    return counted["__getitem__"], counted["update"], reads.num


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec, LeafSpec.")
@pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval")
def test_a_batch_is_one_fetch_and_no_step_updates_a_metric_or_waits_for_the_device(composed, tmp_path, monkeypatch):
    small, large = (composed("model=ann", f"data.batch_size={size}") for size in (160, 16))
    fetches, updates, reads = counts(Project, small, tmp_path / "small", monkeypatch)
    assert fetches == 2 + 1  # 320 and 80 images in batches of 160
    fetches_of_small_batches, *others = counts(Project, large, tmp_path / "large", monkeypatch)
    assert fetches_of_small_batches == 20 + 5
    assert others == [updates, reads]  # ten times the steps, and no more of these
    assert updates == 4  # loss and accuracy, of training and of validation
    fetches, updates, _ = counts(LightningDefault, large, tmp_path / "default", monkeypatch)
    assert fetches == 400
    assert updates == 20 + 5


@pytest.mark.parametrize("model", [ANN(), CNN(filters=(4, 8), head=(16,))])
def test_network_of_standard_layers_is_the_same_function(model):
    images = torch.randn(8, 1, 28, 28)
    network = standard_network(model.network).eval()
    assert torch.allclose(model.eval()(images), network(images), atol=1e-5)
    kinds = [type(layer).__name__ for layer in standard_network(model.network)]
    if isinstance(model, CNN):
        assert kinds[:5] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout"]
    assert not any(isinstance(layer, Dropout) for layer in standard_network(model.network))
