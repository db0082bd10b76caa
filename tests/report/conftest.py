import pandas as pd
import pytest
from evil_name import EVIL
from sample_records import judged, row, rows, write_cells

from unlearnbench.leaderboard import build as leaderboard

ATTACKED = {"attack": "ridge"}
MSE = [0.030, 0.034, 0.029, 0.033, 0.031]


def shifted(by: float) -> list[float]:
    return [value + by for value in MSE]


def skills(level: float) -> list[float]:
    return [level - value for value in MSE]


@pytest.fixture(scope="session")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A leaderboard with an attacked table (not told apart, told, unranked, failed contenders) and a utility table."""
    made = [
        *rows("lazy", "mse", shifted(-0.02), **ATTACKED),
        *rows("lazy", "skill_mean", skills(0.9), **ATTACKED),
        *judged("lazy", "remembered"),
        row("broken", 0, "cell", None, status="failed", error="ValueError: no", **ATTACKED),
    ]
    levels = {"retrain": (0.01, 0.2), "crfu": (0, 0.35), "vbu": (0, 0.35), "hbfu": (-0.01, 0.6)}
    for method, (shift, skill) in levels.items():
        made += rows(method, "mse", shifted(shift), **ATTACKED)
        made += rows(method, "skill_mean", skills(skill), **ATTACKED)
        made += rows(method, "mse_mean_image", [0.067] * 5, **ATTACKED)
        made += rows(method, "erased_accuracy", [0.97, 0.96, 0.98, 0.97, 0.97])
        made += judged(method)
        made += judged(method, accuracy=shifted(0.9), experiment="utility", n_samples=100)
        made += rows(method, "gradient_steps", [1200.0] * 5, experiment="utility")
        made += rows(method, "unlearn_seconds", shifted(3), experiment="utility")
        for metric in ("target_class_accuracy", "backdoor_accuracy", "backdoor_success"):
            made += rows(method, metric, MSE, experiment="utility")
    folder = write_cells(tmp_path_factory.mktemp("records"), made)
    return leaderboard.build(folder, folder.parent / "board")


@pytest.fixture(scope="session")
def evil(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A leaderboard whose every name and error tries to be something else."""
    names = dict.fromkeys(("experiment", "dataset", "scenario_id", "method_id", "attack_id", "tier"), EVIL)
    ok = [{**each, **names, "cell_key": str(n)} for n, each in enumerate(rows("m", "mse", MSE, **ATTACKED))]
    failed = {**row("n", 0, "cell", None, status="failed", error=EVIL, **ATTACKED), **names, "method_id": f"={EVIL}"}
    folder = write_cells(tmp_path_factory.mktemp("evil"), [*ok, failed])
    return leaderboard.build(folder, folder.parent / "evil_board")
