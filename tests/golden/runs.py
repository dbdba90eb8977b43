"""Fixed-seed runs whose metrics and final weights must not change unless a change says so.

`python -m tests.golden.runs [NAME ...]` trains them (all, or those named) and writes golden.json. Do that only in a
commit whose message says which numbers changed and why.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("golden.json")
SYNTHETIC = [
    "data=synthetic",
    "data.num_train=400",
    "data.num_test=100",
    "data.batch_size=32",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "logger=none",
    "~callbacks.progress",
]
ANN = ["model=ann", "model.hidden=[32,16]"]
CNN = ["model=cnn", "model.filters=[4,8]", "model.head=[16]"]
RUNS = {
    "ann_adam": ANN,
    "ann_adamw_cosine": [*ANN, "optimizer=adamw", "scheduler=cosine", "seed=1"],
    "ann_sgd": [*ANN, "optimizer=sgd"],
    "ann_accumulation": [*ANN, "trainer.accumulate_grad_batches=4"],
    "ann_ddp": [*ANN, "trainer=ddp", "trainer.devices=2"],
    "ann_resumed": ANN,  # stopped after its first epoch
    "cnn_adam_augmented": [*CNN, "data.augment=true"],
    "cnn_one_cycle": [*CNN, "scheduler=one_cycle", "optimizer.lr=0.01"],
    "cnn_bfloat16": [*CNN, "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0", "optimizer.fused=false"],
}


def platform() -> dict[str, Any]:
    """Processor and versions: where these are equal, results are bit-for-bit identical."""
    import torch

    from fmnist_lightning.runs.provenance import device_name, versions

    capabilities = sorted(name for name, value in torch.cpu.get_capabilities().items() if value is True)
    names = ("python", "torch", "lightning", "torchmetrics")
    processor = f"{device_name(torch.device('cpu'))}: {' '.join(capabilities)}"
    return {"processor": processor, **{name: versions()[name] for name in names}}


def run(name: str, data_root: Path, folder: Path) -> dict[str, Any]:
    """Trains a golden run in one thread (`ann_ddp` in two processes of one thread each).

    Returns:
        `metrics`: the rows of metrics.csv; `weights`: SHA-256 of the final weights.
    """
    import torch

    from fmnist_lightning.config.compose import compose_config, without_hydra
    from fmnist_lightning.runs.run import Run
    from fmnist_lightning.training.run import train

    overrides = [*SYNTHETIC, *RUNS[name], f"data.root={data_root}"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if name == "ann_ddp":
            _command([*overrides, f"hydra.run.dir={folder}"])
        elif name == "ann_resumed":
            train(without_hydra(compose_config([*overrides, "trainer.max_epochs=1"])), folder, [])
            train(without_hydra(compose_config(overrides)), folder, [], resume=True)
        else:
            train(without_hydra(compose_config(overrides)), folder, [])
    finally:
        torch.set_num_threads(threads)
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    digest = hashlib.sha256()
    weights = {key: value for key, value in state.items() if not key.startswith("normalize.")}  # not trained
    for key, value in sorted(weights.items()):
        digest.update(key.encode() + value.contiguous().numpy().tobytes())
    return {"metrics": Run(folder).read_metrics(), "weights": digest.hexdigest()}


def _command(arguments: list[str]) -> None:
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fmnist_lightning", *arguments]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def main() -> None:
    """Writes golden.json."""
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"platform": {}, "runs": {}}
    names = sys.argv[1:] or list(RUNS)
    if golden["platform"] != platform() and set(names) < set(golden["runs"]):
        sys.exit("error: golden.json is of another processor or other versions; regenerate all of it")
    golden["platform"] = platform()
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            golden["runs"][name] = run(name, Path(scratch), Path(scratch) / name)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
