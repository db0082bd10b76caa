"""Sites to look at: a small one with everything that a page can show, and a hostile one."""

from __future__ import annotations

from pathlib import Path

import pytest
from site_records import EVIL, forget_rows, hostile_rows, leak_rows, results, values

from unlearnbench.site import publishing


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two experiments' folders."""
    base = tmp_path_factory.mktemp("site")
    folders = [results(base / "leaks", leak_rows()), results(base / "forgetting", forget_rows())]
    publishing.publish(folders, base / "out" / "deep")
    return base / "out" / "deep"


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose records hold nothing but hostile text; so do its title and a plugin's description."""
    base = tmp_path_factory.mktemp("hostile")
    (base / "plugins").mkdir()
    plugin = (
        f"{('CRFU ' + EVIL[0] + EVIL[1] + EVIL[2])!r}\n\nfrom unlearnbench.plugin import LossMethod\n\n\n"
        "class Hostile(LossMethod):\n    '''</p><script>alert(2)</script>'''\n\n"
        f"    paper = {EVIL[3]!r}\n\n    def loss(self, models, erased, remaining, state, noise):\n        return 0\n"
    )
    (base / "plugins" / "hostile.py").write_text(plugin)
    made = [*hostile_rows(), *values("hostile", "accuracy", 0.9, experiment="plain", cell_key="h")]
    made = [{**each, "cell_key": f"{each['cell_key']} {each['seed']}"} for each in made]
    publishing.publish([results(base / "x<b>y", made)], base / "out", title=EVIL[0], plugin_folders=[base / "plugins"])
    return base / "out"
