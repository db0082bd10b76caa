"""A plugin that is written for another version of the contract is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_runs import write_method

from unlearnbench.plugin import CONTRACT_VERSION
from unlearnbench.registry import base
from unlearnbench.registry.base import contract_error
from unlearnbench.registry.registry import discover


def test_the_contract_has_a_major_and_a_minor_version() -> None:
    assert re.fullmatch(r"\d+\.\d+", CONTRACT_VERSION)
    major = CONTRACT_VERSION.split(".")[0]
    assert all(contract_error(declared) is None for declared in ("", major, f"{major}.0", CONTRACT_VERSION))


@pytest.mark.parametrize(
    ("declared", "here", "said"),
    [
        ("1", "2.0", "written for plugin contract 1, this unlearnbench has 2.0; adapt it"),
        ("2", "1.9", "written for plugin contract 2, this unlearnbench has 1.9; install a newer unlearnbench"),
        ("1.10", "1.9", "written for plugin contract 1.10, this unlearnbench has 1.9; install a newer unlearnbench"),
        ("1.9", "1.10", None),
        (1, "1.0", 'contract is 1; write the major version of the contract as text, e.g. contract = "1"'),
        ("one", "1.0", "contract is 'one'; write"),
        ("1\n", "1.0", "contract is '1\\n'; write"),
    ],
)
def test_which_contracts_fit(declared: object, here: str, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CONTRACT_VERSION", here)
    found = contract_error(declared)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


def test_a_plugin_for_another_contract_is_listed_as_broken(tmp_path: Path) -> None:
    write_method(tmp_path, "later", body='contract = "999"')
    write_method(tmp_path, "fitting", body=f'contract = "{CONTRACT_VERSION}"')
    registry = discover([tmp_path])
    assert "fitting" in registry.methods
    (broken,) = registry.broken
    assert broken.name == "later"
    assert broken.error.startswith("it is written for plugin contract 999, this unlearnbench has ")
