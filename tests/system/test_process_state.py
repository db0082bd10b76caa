"""What a plugin does to its process reaches no other plugin: it is told, put back, and fails its own cell only."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_files import METHOD, broken, write
from pollutions import EVERY, HARMLESS, IMPORTED, NAMES, PROCESS, TORCH, WRITES
from small_worlds import SEEDS, context, erasures, flat, trained, utility
from tiny_runs import Place, rows, status_of, write_method, write_suite

import unlearnbench.stages.jobs  # noqa: F401 (all that a job imports)
from unlearnbench.registry.registry import discover
from unlearnbench.stages.result_checks import erase
from unlearnbench.system import torchvision_import
from unlearnbench.system.errors import InputError
from unlearnbench.system.process_state import global_random, standard_streams
from unlearnbench.system.process_state.definitions import Definitions
from unlearnbench.system.process_state.guard import ProcessStateError, Snapshot, guarded
from unlearnbench.system.store import Store
from unlearnbench.system.time_limit import OverdueError, limited

# How plugins find modules beside their file.
BESIDE = "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).parent))\n"


def pollute(code: str) -> None:
    """Run it as a plugin's file would."""
    exec(code, {"__name__": "odd", "torch": torch, "os": os, "signal": signal, "time": time})


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    """Once: to take all in takes some milliseconds."""
    erased()  # and with it what torch sets up when it is first used
    import pandas, scipy.stats, sklearn.cluster  # noqa: E401, F401, I001 (what the harness imports late)

    return Definitions()


@pytest.fixture(autouse=True)
def _kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves behind what the next one would find; a run sets threads and the like for itself."""
    if "place" in request.fixturenames:
        yield
        return
    before, names = Snapshot(random=True), Definitions()
    yield
    assert names.settle() == []
    assert [change for change in before.settle() if "PYTEST_CURRENT_TEST" not in change.name] == []


def erased() -> torch.Tensor:
    """What a clean plugin computes: models trained, and unlearned by vbu."""
    sets, scenario = erasures(), utility(replicas=2)
    before = trained(scenario, sets, SEEDS[:1], torch.float32)
    after = erase(discover().methods["vbu"].cls(), before, sets, context(scenario, SEEDS, torch.float32))  # type: ignore[arg-type]
    return flat(after.tensors)


# --- the guard alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*EVERY, *IMPORTED])
def test_what_is_left_changed_is_told_and_put_back(name: str, definitions: Definitions) -> None:
    before, pollution = Snapshot(random=True), {**EVERY, **IMPORTED}[name]
    with (
        pytest.raises(ProcessStateError, match=r"^method odd changed .*; set it inside a with-block$") as caught,
        guarded("method odd", definitions, random=True),
    ):
        pollute(pollution.code)
    assert pollution.told in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert definitions.settle() == []
    if name != "thread":
        assert [change for change in before.settle() if "PYTEST_CURRENT_TEST" not in change.name] == []


def test_a_module_that_a_plugin_imports_first_and_changes_is_imported_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "scipy.optimize", raising=False)
    code = "import scipy.optimize\ndef mine(*given): return 0\nscipy.optimize.brentq = mine\n"
    registry = discover([write(tmp_path, odd=code + METHOD)])
    assert "changed scipy.optimize.brentq" in broken(registry)["odd"]
    from scipy.optimize import brentq

    assert brentq(lambda x: x - 1.0, 0.0, 3.0) == pytest.approx(1.0)


def test_a_class_that_a_plugin_imports_first_and_changes_ends_the_work_of_this_process(tmp_path: Path) -> None:
    code = "import sklearn.cluster\ndef mine(self, *given): return self\nsklearn.cluster.KMeans.fit = mine\n"
    write(tmp_path, odd=code + METHOD)
    program = f"""
import sys
from unlearnbench.registry.registry import discover
from unlearnbench.system.process_state.shared_state import SPOILT
assert "sklearn.cluster" not in sys.modules
broken = [info.error for info in discover(["{tmp_path}"]).broken]
print(broken, SPOILT)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "KMeans.fit can't be put back in this process" in ran.stdout, ran


@pytest.mark.parametrize(
    "code",
    [
        "sys.stdout.close()",
        "sys.stderr.close()",
        "sys.stdout.close(); sys.__stdout__.close(); sys.stderr.buffer.close()",
        "sys.stdout.detach()",
        "getattr(sys.stdout.buffer, 'raw', sys.stdout.buffer).close()",
        "import io; sys.stdout.close(); sys.stdout = io.StringIO()",
        "nowhere = os.open(os.devnull, os.O_RDWR); os.dup2(nowhere, 1); os.dup2(nowhere, 2); os.close(nowhere)",
        "os.close(1); os.close(2)",
        "os.closerange(0, 3)",
    ],
)
@pytest.mark.parametrize("settled", [False, True])
def test_standard_streams_that_were_closed_are_open_again(code: str, settled: bool) -> None:
    program = f"""
import os, sys
from unlearnbench.system import streams
from unlearnbench.system.process_state.guard import ProcessStateError, guarded
if {settled}:
    streams.settle()
held = sys.stdout, sys.stderr
try:
    with guarded("method odd"):
        {code}
except ProcessStateError as error:
    told = str(error)
print("shown", told)
held[0].write("still here\\n")
print("shown too", file=sys.stderr)
held[1].write("still there\\n")
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert (ran.returncode, ran.stderr) == (0, "shown too\nstill there\n"), ran
    assert re.fullmatch(r"shown method odd changed (sys|file).*\nstill here\n", ran.stdout), ran


@pytest.mark.parametrize("name", ["standard streams", "torchvision"])
def test_what_the_harness_keeps_for_itself_is_not_the_plugins_doing(name: str, definitions: Definitions) -> None:
    """It fills while a plugin runs: at the first look at a new file, and at the first import of torchvision."""
    with guarded("the plugin", definitions):
        if name == "torchvision":
            torchvision_import._declare()
        else:
            with tempfile.TemporaryFile() as unseen:
                standard_streams._file(unseen.fileno())


def test_a_time_limit_runs_on_and_is_set_again_when_a_plugin_has_stopped_it(definitions: Definitions) -> None:
    with limited(60.0, expendable=False):
        with guarded("method good", definitions):
            time.sleep(0.05)
        with pytest.raises(ProcessStateError, match="ITIMER_REAL"), guarded("method odd", definitions):
            signal.alarm(0)
        with pytest.raises(ProcessStateError, match="ITIMER_REAL"), guarded("method odd", definitions):
            signal.setitimer(signal.ITIMER_REAL, 6000)
        assert 59.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60.0
    with pytest.raises(OverdueError), limited(0.1, expendable=False), guarded("method slow", definitions):
        time.sleep(5)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("name", list(HARMLESS))
def test_with_blocks_lazy_imports_and_random_numbers_pass_and_reach_nobody(name: str, definitions: Definitions) -> None:
    before = global_random.state()
    with guarded("method odd", definitions, random=True):
        pollute(HARMLESS[name])
    assert global_random.moved(before, global_random.state()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_it_is_put_back_when_the_plugin_raises_and_the_error_is_the_plugins(
    error: type[BaseException], definitions: Definitions
) -> None:
    def plugin() -> None:
        torch.set_default_dtype(torch.float64)
        torch.sigmoid = torch.tanh
        raise error("mine")

    with pytest.raises(error, match="mine") as caught, guarded("method odd"):
        plugin()
    assert torch.get_default_dtype() == torch.float32
    assert "also changed torch.set_default_dtype" in caught.value.__notes__[0]
    assert len(definitions.settle()) == 1


def test_an_error_that_may_come_of_a_changed_name_is_told_as_that(definitions: Definitions) -> None:
    def stage() -> None:
        torch.sigmoid = None
        torch.sigmoid(torch.ones(1))

    with (
        pytest.raises(ProcessStateError, match=r"changed torch\.sigmoid") as caught,
        guarded("method odd", definitions),
    ):
        stage()
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("variable", ["DEVICE", "PRECISION"])
def test_values_of_variables_are_not_told(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "secret one")
    with pytest.raises(ProcessStateError) as caught, guarded("method odd"):
        os.environ[variable] = "secret two"
    assert os.environ[variable] == "secret one"
    assert f"os.environ['{variable}'] (from its value to another value)" in str(caught.value)


def test_what_cannot_be_put_back_ends_the_work_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from unlearnbench.system.process_state import guard, shared_state

    spoilt: list[str] = []
    monkeypatch.setattr(shared_state, "SPOILT", spoilt)
    monkeypatch.setattr(guard, "SPOILT", spoilt)
    value = [0]
    stuck = shared_state.SharedState("a stuck thing", lambda: value[0], lambda _: None)
    monkeypatch.setattr(guard, "STATES", (stuck,))
    with pytest.raises(ProcessStateError, match=r"a stuck thing \(from 0 to 1\) can't be put back"), guarded("one"):
        value[0] = 1
    with pytest.raises(ProcessStateError, match="a stuck thing"), guarded("another"):
        pass


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(sorted({*TORCH, *PROCESS, *NAMES} - {"thread"})), min_size=1, max_size=4, unique=True))
def test_whatever_was_changed_before_a_clean_plugin_computes_the_same(names: list[str]) -> None:
    expected, definitions = erased(), Definitions()
    for name in names:
        with pytest.raises(ProcessStateError), guarded("method odd", definitions, random=True):
            pollute(EVERY[name].code)
    assert torch.equal(erased(), expected)


# --- when plugins are found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["matmul precision", "functional", "variable", "warnings", "harness function"])
def test_a_plugin_that_changes_the_process_when_it_is_imported_is_broken_alone(name: str, tmp_path: Path) -> None:
    code = f"import os, signal, time, torch\n{EVERY[name].code}\n"
    registry = discover([write(tmp_path, methods__in__odd=code + METHOD, methods__in__still=METHOD)])
    assert list(broken(registry)) == ["odd"]
    assert broken(registry)["odd"].startswith("its import changed ")
    assert EVERY[name].told in broken(registry)["odd"]
    assert "still" in registry.methods


def test_a_helper_module_that_changes_the_process_breaks_what_imports_it(tmp_path: Path) -> None:
    write(tmp_path, _odd_helper="import torch\ntorch.set_default_dtype(torch.float64)\n")
    registry = discover([write(tmp_path, odd=BESIDE + "import _odd_helper\n" + METHOD)])
    assert "torch.set_default_dtype (from torch.float32 to torch.float64)" in broken(registry)["odd"]


def test_modules_beside_two_plugins_may_have_one_name(tmp_path: Path) -> None:
    folders = []
    for name, rate in (("one", "0.25"), ("two", "0.75")):
        own = METHOD.replace("0.5", "_beside.RATE")
        folders.append(
            write(tmp_path / name, **{f"still_{name}": BESIDE + "import _beside\n" + own, "_beside": f"RATE = {rate}"})
        )
    first = list(sys.path)
    for _ in range(2):  # a process looks for plugins more than once
        registry = discover(folders)
        assert [registry.methods[f"still_{name}"].cls().params.rate for name in ("one", "two")] == [0.25, 0.75]
    assert sys.path[: len(first)] == first  # what they import hides nothing from others


def test_a_module_that_could_be_anothers_when_it_is_imported_late_is_refused(tmp_path: Path) -> None:
    function = "def rate():\n    import _beside\n    return _beside.RATE\n\n\nclass "
    late = METHOD.replace("0.5", "rate()").replace("class ", function, 1)
    one = write(tmp_path / "one", still_one=BESIDE + late, _beside="RATE = 0.25")
    assert discover([one]).methods["still_one"].cls().params.rate == 0.25
    two = write(tmp_path / "two", still_two=METHOD, _beside="RATE = 0.75")
    for folders in ([one, two], [two, one]):
        with pytest.raises(InputError, match=f"imports _beside in a function, and {two} has a module of that name"):
            discover(folders)


def test_all_built_in_plugins_leave_the_process_alone_when_they_are_imported() -> None:
    assert broken(discover()) == {}


# --- in a run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


def methods_with(place: Place, names: list[str]) -> list[str]:
    """A method for each pollution, which pollutes and then gives a result as if nothing were."""
    found = []
    for name in names:
        method = f"odd_{name.replace(' ', '_').lower()}"
        write_method(place.folder / "own", method, unlearn=f"{EVERY[name].code}\nreturn before.expand(sets.replicas)")
        found.append(method)
    return found


def compare(place: Place, names: list[str], *options: str, engine: str = "serial") -> None:
    """Polluters, then clean plugins in the same processes: the clean ones' records are as without, and of the
    polluters there is an error each and nothing in the store."""
    attack = "membership: {shadows: 10}"
    odd = methods_with(place, names)
    write_suite(place.folder, methods="vbu", attacks=attack)
    assert place.run("--results", "clean", "--cache", "c0").code == 0
    expected = rows(place.folder / "clean")
    write_suite(place.folder, methods=f"{', '.join(odd)}, vbu", attacks=attack)
    ran = place.run("--plugins", "own", "--results", "mixed", "--cache", "c1", *options, engine=engine)
    assert (ran.code, ran.counts["done"], ran.counts["failed"]) == (1, 6, 2 * len(odd)), ran.err
    found = rows(place.folder / "mixed")
    assert [row for row in found if row["method"] not in odd] == expected
    for name, method in zip(names, odd, strict=True):
        states = status_of(place.folder / "mixed", method)
        assert [(status, value) for status, _, value in states] == [("failed", None)] * 2
        assert all(EVERY[name].told in str(error) for _, error, _ in states), states
        assert all("; set it inside a with-block" in str(error) for _, error, _ in states), states
    assert sorted(Store(place.folder / "c1").keys()) == sorted(Store(place.folder / "c0").keys())


def test_a_polluter_of_each_kind_before_a_clean_plugin_changes_none_of_its_numbers(place: Place) -> None:
    compare(place, ["matmul precision", "dtype", "autocast", "functional", "folder", "harness class"])


def test_it_is_told_wherever_in_a_plugin_it_happens_and_a_finaliser_is_no_way_out(place: Place) -> None:
    dirt, keep = "torch.set_default_dtype(torch.float64)", "return before.expand(sets.replicas)"
    bodies = {
        "at_start": f"def __init__(self, params=None):\n    super().__init__(params)\n    {dirt}",
        "when_asked": f"def skip(self, scenario):\n    {dirt}",
        "in_property": f"@property\ndef own_original(self):\n    {dirt}\n    return False",
        "at_the_end": f"def __del__(self):\n    if self.used:\n        {dirt}\nused = False",
        "in_training": f"def train(self, data, context):\n    {dirt}\n    return context.build(1)",
    }
    for name, body in bodies.items():
        write_method(place.folder / "own", name, body=body, unlearn=f"self.used = True\n{keep}")
    (place.folder / "own" / "attacks").mkdir()
    (place.folder / "own" / "attacks" / "prying.py").write_text(
        "import torch\nfrom unlearnbench.plugin import Access, Attack, Evidence\n"
        "class Prying(Attack):\n    @property\n    def access(self):\n        return Access()\n"
        f"    def run(self, view):\n        {dirt}\n"
        "        return Evidence(membership=view.updates().candidates_before.sum(-1))\n"
    )
    write_suite(place.folder, methods="vbu", attacks="blind")
    assert place.run("--results", "clean", "--cache", "c0").code == 0
    write_suite(place.folder, methods=f"{', '.join(bodies)}, vbu", attacks="prying, blind")
    ran = place.run("--plugins", "own", "--results", "mixed", "--cache", "c1")
    assert ran.code == 1
    found = rows(place.folder / "mixed")
    odd = [row for row in found if row["method"] in bodies or row["attack"] == "prying"]
    assert [row for row in found if row not in odd] == rows(place.folder / "clean")
    assert {row["method"] for row in odd} == {*bodies, "original", "retrain", "vbu"}
    for row in odd:
        assert (row["status"], row["value"]) == ("failed", None), row
        assert "changed torch.set_default_dtype (from torch.float32 to torch.float64)" in row["error"], row


@pytest.mark.parametrize("engine", ["serial", "loky"])
def test_images_that_a_plugin_has_written_into_reach_no_other(engine: str, place: Place) -> None:
    """Those it was handed, and those that it finds by itself: a process loads images once, for all its cells."""
    keep = "return before.expand(sets.replicas)"
    for name, code in WRITES.items():
        write_method(place.folder / "own", name, unlearn=f"{code}\n{keep}")
    write_suite(place.folder, methods="vbu", attacks="blind")
    assert place.run("--results", "clean", "--cache", "c0").code == 0
    write_suite(place.folder, methods=f"{', '.join(WRITES)}, vbu", attacks="blind")
    place.run("--plugins", "own", "--results", "mixed", "--cache", "c1", engine=engine)
    rest = [row for row in rows(place.folder / "mixed") if row["method"] not in WRITES]
    assert rest == rows(place.folder / "clean")
    for method in WRITES:
        found = status_of(place.folder / "mixed", method)
        assert {(status, value) for status, _, value in found} == {("failed", None)}, (method, found)
        assert all("wrote into" in str(error) for _, error, _ in found)


def test_what_a_planned_plugin_does_in_its_end_stops_the_run(place: Place) -> None:
    body = "def __del__(self):\n    torch.set_default_dtype(torch.float64)"
    write_method(place.folder / "own", "late", body=body)
    write_suite(place.folder, methods="late, vbu")
    ran = place.run("--plugins", "own")
    assert (ran.code, torch.get_default_dtype()) == (2, torch.float32)
    assert "one of these plugins changed torch.set_default_dtype" in ran.err
    assert not (place.results / "records").exists()


def test_what_changes_between_two_stages_is_put_back_before_the_next(place: Place) -> None:
    """A thread that a plugin has hidden in a library's pool, and that waits until it is done."""
    unlearn = """
import threading
def later():
    while not Path('unlearned').exists(): time.sleep(0.01)
    torch.set_float32_matmul_precision('medium')
threading.Thread(target=later, name='Dask-later', daemon=True).start()
return before.expand(sets.replicas)
"""
    write_method(place.folder / "own", "sly", unlearn=unlearn)
    after = "Path('unlearned').touch(); time.sleep(0.2); return before.expand(sets.replicas)"
    write_method(place.folder / "own", "unlucky", unlearn=after)
    write_suite(place.folder, methods="vbu", attacks="")
    assert place.run("--results", "clean", "--cache", "c0").code == 0
    write_suite(place.folder, methods="sly, unlucky, vbu", attacks="")
    place.run("--plugins", "own", "--results", "mixed", "--cache", "c1")
    found = [row for row in rows(place.folder / "mixed") if row["method"] not in ("sly", "unlucky")]
    assert found == rows(place.folder / "clean")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.faults
@pytest.mark.parametrize(("engine", "jobs"), [("serial", "1"), ("loky", "1"), ("loky", "2"), ("dask", "1")])
def test_every_polluter_before_a_clean_plugin_under_every_engine(place: Place, engine: str, jobs: str) -> None:
    # A Dask worker's own threads are beside the plugin's: they would see Python's own names change while it runs.
    harness = [name for name in NAMES if name.startswith("harness") or name in ("functional", "another plugin")]
    names = [*TORCH, "variable", "warnings", *harness] if engine == "dask" else [*EVERY]
    compare(place, [name for name in names if name != "thread"], "--jobs", jobs, engine=engine)
