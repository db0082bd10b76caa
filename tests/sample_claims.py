"""Claims files and records for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sample_records import rows, write_cells

from unlearnbench.claims import comparison
from unlearnbench.claims.verdicts import Judgement

ROOT = Path(__file__).parent.parent
CLAIMS = ROOT / "suites" / "paper.claims.yaml"
NOISE = [0.001, -0.002, 0.0, 0.002, -0.001]
JITTER = [0.0005, 0.0, -0.0005, 0.0002, -0.0002]
OF = {"experiment": "one", "method": "crfu", "metric": "accuracy"}


def values(method: str, metric: str, level: float, seeds: int = 5, jitter: float = 1, **other: Any) -> list[Any]:
    """One record a seed around a level; seeds share most of their noise, so that pairs differ by less than seeds do."""
    noisy = [level + NOISE[seed] + jitter * JITTER[seed] for seed in range(seeds)]
    made = {"experiment": "one", **other}
    made.setdefault("cell_key", f"{method} {made} {metric}"[:200])
    return [{**each, "cell_key": f"{each['cell_key']} {each['seed']}"} for each in rows(method, metric, noisy, **made)]


def at_beta(beta: float) -> dict[str, str]:
    return {"scenario": json.dumps({"beta": beta}), "scenario_id": f"beta={beta}"}


def judged(
    folder: Path, made: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], **claim: Any
) -> Judgement:
    """The judgement of one claim about these records."""
    write_cells(folder / "records", made)
    path = claims_file(folder, {"checks": list(checks), **claim})
    return comparison.compare(folder, path).judgements[0]


def claims_file(folder: Path, *claims: Mapping[str, Any], **file: Any) -> Path:
    whole = [
        {"id": f"claim{number}", "words": "So it is.", "place": "Table 1", "datasets": ["mnist"], "of": OF, **claim}
        for number, claim in enumerate(claims)
    ]
    path = folder / "it.claims.yaml"
    path.write_text(json.dumps({"suite": "paper", "claims": whole, **file}))
    return path


def reported_file(folder: Path, *columns: Mapping[str, Any], **table: Any) -> str:
    """A file of a paper's numbers beside the claims: one table, on mnist, over beta 0, 0.1 and 1; its name."""
    betas = (0, 0.1, 1)
    published = {
        "id": "table", "title": "Table 1", "datasets": ["mnist"], "of": OF,
        "rows": [{"label": f"{beta}", "of": {"scenario": {"beta": beta}}} for beta in betas],
        "columns": [{"label": f"column {number}", **column} for number, column in enumerate(columns)],
        **table,
    }  # fmt: skip
    (folder / "it.reported.yaml").write_text(
        json.dumps({"paper": "A paper", "source": "as printed", "published": [published]})
    )
    return "it.reported.yaml"


def first(judgement: Judgement) -> Any:
    return judgement.datasets[0].findings[0]


HOLDS = {"checks": [{"kind": "value", "at_least": 0.5}]}
