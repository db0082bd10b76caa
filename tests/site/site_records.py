"""Records for sites: few, with everything that a page can show, or hostile ones; and pages read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sample_records import judged, row, rows, write_cells

NOISE = [0.0, 0.004, -0.003, 0.002, -0.003]
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}{% raw %}",
    "javascript:alert(1)",
    "</title></style>'`&amp; \u202e ../../up",
]


class Page(HTMLParser):
    """A page's elements with their attributes, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text, white space folded."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def values(method: str, metric: str, level: float, seeds: int = 5, **other: Any) -> list[dict[str, Any]]:
    """One record a seed around a level."""
    return rows(method, metric, [level + each for each in NOISE[:seeds]], **other)


def scene(beta: float = 0.001, **other: Any) -> dict[str, str]:
    """A scenario as records have it."""
    scenario = {"kind": "leak", "beta": beta, "erased_ratio": None, "erased_count": 9, **other}
    return {"scenario": json.dumps(scenario), "scenario_id": ",".join(f"{k}={v}" for k, v in scenario.items())}


def leak_rows() -> list[dict[str, Any]]:
    """An experiment under attack, over two betas, two datasets and two tiers: what can't be told apart, a leak, what
    did not forget, a failure."""
    made = []
    for dataset in ("mnist", "digits"):
        for beta in (0.0, 0.1):
            place = {"dataset": dataset, **scene(beta)}
            for tier, more in (("same", 0.0), ("disjoint", -0.05)):
                under = {**place, "attack": "membership", "attack_id": f"membership[tier={tier}]", "tier": tier,
                         "cell_key": f"{dataset} {beta} {tier}"}  # fmt: skip
                for method, level in (("crfu", 0.8), ("vbu", 0.8), ("renew", 0.55), ("retrain", 0.55), ("lazy", 0.9)):
                    key = {**under, "cell_key": f"{under['cell_key']} {method}"}
                    each = values(method, "auc", level + more - beta, **key)
                    if tier == "same":
                        each += values(method, "tpr_at_1pct_fpr", 0.1 * level, **key)
                    made += [{**one, "cell_key": f"{one['cell_key']} {one['seed']}"} for one in each]
            for number, method in enumerate(("crfu", "vbu", "renew", "retrain", "lazy")):
                key = {**place, "cell_key": f"{dataset} {beta} {method}"}
                verdict = "remembered" if method == "lazy" else "forgotten"
                level = 0.9 - 0.02 * number - 0.1 * beta
                each = judged(method, verdict, accuracy=[level + noise for noise in NOISE], **key)
                made += [{**one, "cell_key": f"{one['cell_key']} {one['seed']}"} for one in each]
    failed = {"attack": "membership", "attack_id": "membership[tier=same]", "dataset": "mnist", **scene(0.0)}
    made.append(row("broken", 0, "cell", None, status="failed", error="ValueError: no <b>", cell_key="f", **failed))
    return made


def forget_rows() -> list[dict[str, Any]]:
    """Figure 4 and Figures 5 to 7 in small: steps and accuracy over erased ratios, and a trajectory."""
    made = []
    for ratio in (0.02, 0.06, 0.1):
        for method, steps in (("crfu", 20.0), ("vbu", 40.0), ("retrain", 400.0)):
            stamped = {"backdoor": {"base": 1, "target": 0}, "stop": {"threshold": 0.1}}
            place = {"experiment": "figure4", **scene(erased_ratio=ratio, erased_count=None, **stamped)}
            key = {**place, "cell_key": f"{ratio} {method}"}
            each = values(method, "accuracy", 0.95 - ratio, **key)
            each += rows(method, "gradient_steps", [steps * (1 + 10 * ratio)] * 5, **key)
            each += values(method, "backdoor_accuracy", 0.05, **key)
            made += [{**one, "cell_key": f"{one['cell_key']} {one['seed']}"} for one in each]
    course = {"experiment": "figure5", **scene(trajectory={"every_epochs": 5})}
    course["scenario_id"] = "course"
    for seed in range(5):
        for number, level in enumerate((0.95, 0.5, 0.2)):
            for metric in ("remaining_accuracy", "erased_accuracy"):
                value = level + NOISE[seed] + (0.1 if metric == "remaining_accuracy" else 0)
                made.append(row("crfu", seed, metric, value, step=number * 900, cell_key=f"t{seed}", **course))
        made.append(row("crfu", seed, "accuracy", 0.9 + NOISE[seed], cell_key=f"t{seed}", **course))
    return made


def results(folder: Path, made: list[dict[str, Any]]) -> Path:
    """A results folder with these records."""
    write_cells(folder / "records", made)
    return folder


def hostile_rows() -> list[dict[str, Any]]:
    """Every text of a record tries to be something else."""
    made = []
    for number, text in enumerate(EVIL):
        names = dict.fromkeys(("experiment", "dataset", "scenario_id", "method", "method_id", "attack_id", "tier",
                               "observation", "device", "git_sha", "plugin_sha256", "data_sha256"), text)  # fmt: skip
        names |= {
            "attack": text,
            "versions": json.dumps({text: text}),
            "scenario": json.dumps({"beta": 0.1, "x": text}),
        }
        for more in ("", "2"):
            own = {**names, "method": text + more, "method_id": text + more}
            for metric, level in (("auc", 0.8), ("accuracy", 0.9), ("memory", 0.0)):
                made += [
                    {**each, **own, "cell_key": f"{number}{more} {each['seed']}"}
                    for each in rows("m", metric, [level] * 5, attack="a")
                ]
        other = {**names, "method_id": f"{text}[lr={text}]"}
        failed = row("n", 0, "cell", None, status="failed", error=text, attack="a")
        made.append({**failed, **other, "cell_key": f"f{number}"})
    return made


def pages(site: Path) -> Mapping[str, Page]:
    """Every page of a site, by path."""
    return {str(path.relative_to(site)): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
