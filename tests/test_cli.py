"""The command line: statuses, JSON on standard output, errors in a sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fake_studies
from fake_studies import OWN, calls, study
from widelimit import cli
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, catalogue, run_study

OWN_BY_NAME = "fake_studies:OWN"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of its own for every test, without data sets or a terminal's width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WIDELIMIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WIDELIMIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    calls.clear()


@pytest.fixture
def call(capsys):
    """Runs a command; gives its status, standard output and standard error."""

    def run(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def call_json(call):
    def run(*arguments):
        status, out, _ = call(*arguments, "--json")
        return status, json.loads(out, parse_constant=pytest.fail)

    return run


def test_studies_are_listed(call, call_json):
    status, listed = call_json("studies")
    assert status == 0 and [entry["name"] for entry in listed] == list(STUDIES)
    assert all(entry["title"] and entry["source"] for entry in listed)
    status, out, _ = call("studies")
    assert status == 0 and all(name in out for name in STUDIES)


@pytest.mark.parametrize("name", [*STUDIES, OWN_BY_NAME])
def test_a_study_shows_its_settings(name, call, call_json):
    status, shown = call_json("studies", name)
    assert status == 0 and shown["study"] == name
    one = catalogue.find_study(name)
    assert list(shown["presets"]) == list(one.presets)
    for preset, values in shown["presets"].items():
        settings = one.configure(preset)
        assert values == settings.model_dump(mode="json")
        assert shown["trials"][preset] == len(list(one.trials(settings)))
    status, out, _ = call("studies", name)
    assert status == 0 and one.title in out
    assert all(field in out for field in one.settings.model_fields)


def test_run_prints_claims_and_where_the_page_is(call):
    status, out, err = call("run", OWN_BY_NAME, "--out", "there", "--seeds", 3)
    assert status == 0 and len(calls) == 3
    assert "holds" in out and "The value is positive." in out and "Open there" in out
    assert Path("there/report.html").is_file() and "Error" not in err


def test_run_json(call_json):
    status, told = call_json(
        "run", OWN_BY_NAME, "--out", "there", "--set", "sizes=2, 4", "--seeds", "3"
    )
    assert status == 0
    assert {"study", "claims", "records", "report"} <= set(told)
    assert told["study"] == OWN_BY_NAME and told["failed"] == 0
    assert type(told["records"]) is int and told["records"] == 2
    page = Path(told["report"])
    assert page.is_absolute() and page.is_file()
    [claim] = told["claims"]
    assert {"name", "holds", "statistic", "uncertainty"} <= set(claim)
    assert claim["name"] == "positive" and claim["holds"] is True
    assert claim["statistic"] == 4.0  # of 3, 4 and 5; so t = 4.303 over root 3
    assert claim["uncertainty"] == pytest.approx(4.303 / 3**0.5, rel=1e-3)


def test_numbers_that_are_not_known_are_null(call_json):
    status, told = call_json("run", OWN_BY_NAME, "--out", "there", "--seeds", 1)
    assert status == 0
    assert told["claims"][0]["holds"] is None
    assert told["claims"][0]["uncertainty"] is None


def test_run_goes_on_where_it_was(call_json):
    first = call_json("run", OWN_BY_NAME, "--out", "there")
    assert call_json("run", OWN_BY_NAME, "--out", "there") == first
    assert len(calls) == 3


def test_run_writes_to_a_folder_of_the_studys_name(call):
    assert call("run", OWN_BY_NAME)[0] == 0
    assert Path("widelimit-runs/fake_studies-OWN/report.html").is_file()


def test_two_processes_find_a_study_in_this_folder(call_json):
    Path("mystudy.py").write_text(
        "import dataclasses\nfrom fake_studies import OWN\n"
        "MINE = dataclasses.replace(OWN, name='mine')\n"
    )
    try:
        status, told = call_json("run", "mystudy:MINE", "--workers", 2, "--out", "o")
        assert (status, told["records"], told["study"]) == (0, 3, "mystudy:MINE")
        assert call_json("report", "o")[0] == 0
    finally:
        sys.modules.pop("mystudy", None)


def test_report_writes_the_page_again(call, call_json):
    call("run", OWN_BY_NAME, "--out", "there")
    page = Path("there/report.html")
    before = page.read_text()
    page.unlink()
    status, told = call_json("report", "there")
    assert status == 0 and Path(told["report"]) == page.resolve()
    assert page.read_text() == before
    assert call("report", "there")[:2] == (0, f"Open {page}\n")


def test_demo_runs_every_quick_study(call, call_json, monkeypatch):
    small = {"scales": ("raw",), "seeds": 2, "depths": (1,)}
    quick = [name for name, known in STUDIES.items() if known.demo]
    assert {"lazy-ratio", "stability-width"} <= set(quick) < set(STUDIES)
    tiny = {name: study(name, **small) for name in quick}
    tiny["gram-stability"] = STUDIES["gram-stability"]  # left out
    monkeypatch.setattr("widelimit.studies.STUDIES", tiny)
    status, told = call_json("demo", "--out", "there")
    assert status == 0 and [s["study"] for s in told["studies"]] == quick
    assert all(
        s["claims"] and s["records"] and not s["failed"] for s in told["studies"]
    )
    assert Path(told["report"]) == Path("there/report.html").resolve()
    text = Path(told["report"]).read_text(encoding="utf-8")
    assert all(STUDIES[name].title in text for name in quick)
    for name in quick[1:]:
        del tiny[name]
    status, out, err = call("demo", "--out", "one")
    assert status == 0
    assert "[1/1]" in err and "Open one" in out and "holds" in out


# Failed trials


def test_a_run_whose_trials_all_fail_says_so(call, call_json):
    arguments = ("run", OWN_BY_NAME, "--set", "broken=true", "--out", "there")
    status, told = call_json(*arguments)
    assert status == 1
    assert told["claims"] == [] and told["records"] == 0 and told["failed"] == 3
    assert Path(told["report"]).is_file()
    status, _, err = call(*arguments)
    assert status == 1 and "Traceback" not in err
    assert "3 of 3 trials of fake_studies:OWN failed" in err
    assert "ArithmeticError: no <b>number</b> anywhere" in err


def test_a_run_with_some_failed_trials_succeeds_and_says_so(call, monkeypatch):
    run_study(
        study("lazy-ratio", "failing_in_part", scales=("raw",)),
        "there",
        progress=SilentProgress(),
    )
    part = study("lazy-ratio", "failing_in_part", scales=("raw",))
    monkeypatch.setattr(catalogue, "STUDIES", {**STUDIES, "lazy-ratio": part})
    status, out, err = call("run", "lazy-ratio", "--out", "there")
    assert status == 0 and "undecided" in out
    assert "2 of 6 trials of lazy-ratio failed" in err


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "width"], "Known: lazy-ratio, stability-width"),
        (["run", "no_such_module:X"], "No module named 'no_such_module'"),
        (["studies", "width"], "Known: lazy-ratio"),
        (["run", OWN_BY_NAME, "--preset", "huge"], "'quick', 'more'. Got"),
        (["run", OWN_BY_NAME, "--set", "sizes"], "KEY=VALUE. Got 'sizes'"),
        (["run", OWN_BY_NAME, "--set", "size=1"], "name of a setting. Got 'size'"),
        (["run", OWN_BY_NAME, "--set", "sizes=1,x"], "sizes.1='x'"),
        (["run", OWN_BY_NAME, "--seeds", "0"], "seeds=0"),
        (["run", OWN_BY_NAME, "--data", "digits"], "setting. Got 'data'"),
        (["run", OWN_BY_NAME, "--set", "sizes=1,1"], "grid once"),
        (["run", "lazy-ratio", "--data", "dogs"], "`load` needs `name` to be one of"),
        (["run", "lazy-ratio", "--data", "mnist"], "widelimit data fetch mnist"),
        (["run", "lazy-ratio", "--preset", "paper"], "widelimit data fetch mnist"),
        (["run", "lazy-ratio", "--set", "train_rows=9999"], "9999"),
        (["report", "."], "widelimit run STUDY"),
        (["report", "nowhere"], "widelimit run STUDY"),
        (["data", "fetch", "dogs"], "needs `name` to be one of"),
        (["data", "fetch", "digits"], "installed already"),
    ],
    ids=str,
)
def test_errors_in_what_was_asked(arguments, message, call, tmp_path):
    if arguments[0] == "run":
        arguments = [*arguments, "--out", "there"]
    before = {path.name for path in tmp_path.iterdir()}
    status, out, err = call(*arguments)
    assert status == 2 and out == ""
    assert err.startswith("Error: ") and message in err and "Traceback" not in err
    assert not calls and not Path("there/trials").exists() or "1,1" in arguments[3]
    assert {path.name for path in tmp_path.iterdir()} - before <= {"there"}
    status, out, err = call(*arguments, "--json")
    assert status == 2 and out == "" and message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "fly"),
        (["run"], "Usage: widelimit run"),
        (["run", OWN_BY_NAME, "--seeds", "many"], "--seeds"),
        (["run", OWN_BY_NAME, "--workers", "0"], "workers"),
        (["run", OWN_BY_NAME, "--colour"], "--colour"),
        ([], "Usage: widelimit"),
        (["data"], "fetch"),
    ],
    ids=str,
)
def test_mistakes_in_the_command_itself(arguments, message, call):
    status, out, err = call(*arguments)
    assert status == 2 and message in out + err and "Traceback" not in err


def test_a_changed_configuration_is_told_with_the_difference(call):
    assert call("run", OWN_BY_NAME, "--out", "there")[0] == 0
    status, out, err = call("run", OWN_BY_NAME, "--out", "there", "--seeds", 9)
    assert status == 2 and out == "" and len(calls) == 3
    assert "settings.seeds: 5 -> 9" in err and "another directory" in err


def test_a_directory_in_use_is_told(call):
    import filelock

    Path("there").mkdir()
    with filelock.FileLock("there/.lock"):
        status, _, err = call("run", OWN_BY_NAME, "--out", "there")
    assert status == 2 and "in use by another run" in err and "Traceback" not in err


def test_a_mistake_in_the_library_is_not_hidden(monkeypatch):
    def broken(name):
        raise ZeroDivisionError

    monkeypatch.setattr("widelimit.studies.find_study", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["studies", "lazy-ratio"])


@pytest.mark.parametrize("out", [None, "docs/accuracy.md"])
def test_the_accuracy_page_goes_here_or_where_it_is_told(out, call, monkeypatch):
    from widelimit.accuracy import AccuracyTable

    folders = []

    def table(**options):
        folders.append(out is None or Path(out).parent.is_dir())  # before the work
        return AccuracyTable((), None, None)

    monkeypatch.setattr("widelimit.accuracy.accuracy_table", table)
    status, told, _ = call("accuracy", *(() if out is None else ("--out", out)))
    page = Path(out or "accuracy.md")
    assert status == 0 and f"See {page}" in told and folders == [True]
    assert page.read_text().startswith("# Accuracy")
    status, _, err = call("accuracy", "--out", ".")
    assert status == 2 and "is a directory" in err and len(folders) == 1


def test_data_sets_are_listed(call, call_json):
    status, listed = call_json("data", "list")
    by_name = {entry["name"]: entry for entry in listed}
    assert status == 0 and by_name["digits"]["available"] is True
    assert by_name["mnist"]["available"] is False
    assert "widelimit data fetch mnist" in by_name["mnist"]["how"]
    status, out, _ = call("data", "list")
    assert status == 0 and "digits" in out and "mnist" in out


def test_data_are_fetched(call, call_json, monkeypatch):
    def fetch(name, *, progress):
        progress("part.gz", 500_000, 1_000_000)
        return Path("cache", name)

    monkeypatch.setattr("widelimit.datasets.fetch", fetch)
    assert call_json("data", "fetch", "mnist") == (
        0,
        {"data": "mnist", "path": str(Path("cache/mnist"))},
    )
    status, out, _ = call("data", "fetch", "mnist")
    assert status == 0 and out.startswith("mnist is in cache")


def test_brackets_are_not_markup(call, monkeypatch):
    name = "[/bold] [red]"
    odd = fake_studies.dataclasses.replace(OWN, title=name, name=name)
    monkeypatch.setattr(fake_studies, "OWN", odd)
    status, out, _ = call("run", OWN_BY_NAME, "--out", "there", "--seeds", 2)
    assert status == 0 and name in out


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        **options,
    )


def test_help_loads_nothing_large():
    code = (
        "import sys; from widelimit.cli import main; status = main(['--help']); "
        "print(sorted({m.partition('.')[0] for m in sys.modules})); sys.exit(status)"
    )
    ran = python("-c", code)
    assert ran.returncode == 0 and "Usage" in ran.stdout, ran.stderr
    loaded = set(json.loads(ran.stdout.splitlines()[-1].replace("'", '"')))
    large = {"jax", "jaxlib", "xarray", "pandas", "numpy", "scipy", "sklearn", "altair"}
    assert "typer" in loaded and not loaded & large


@pytest.mark.parametrize("command", ["demo", "studies", "run", "report", "data"])
def test_every_command_has_help(command, call):
    status, out, _ = call(command, "--help")
    assert status == 0 and "Usage" in out


def test_the_module_is_a_program():
    ran = python("-m", "widelimit", "report", "nowhere")
    assert ran.returncode == 2 and ran.stderr.startswith("Error: ")
    assert "Traceback" not in ran.stderr and ran.stdout == ""


@pytest.mark.slow
def test_a_real_study_from_end_to_end():
    arguments = (
        "--set widths=8,16,32 --set epochs=3 --seeds 2 --set scales=unit".split()
    )
    command = ("-m", "widelimit", "run", "lazy-ratio", *arguments, "--json")
    ran = python(*command, "--out", "there", "--set", "train_rows=128")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["records"] == 6 and Path(told["report"]).is_file()
    assert "Warning" not in ran.stderr


TABLE_OPTIONS = ("--data", "mine", "--activation", "erf", "--depth", 2)


@pytest.fixture
def table(monkeypatch):
    """A small table of its own under the name `mine`."""
    import numpy as np

    from widelimit import datasets
    from widelimit.datasets import Table

    rng = np.random.default_rng(0)
    made = Table(
        name="mine",
        x=rng.normal(size=(5, 3)),
        y=np.array([0, 1, 0, 1, 1]),
        feature_names=("a", "b", "c"),
        class_names=("no", "yes"),
    )
    monkeypatch.setattr(datasets, "load_table", lambda name: made)
    return made


def test_spectrum_prints_what_is_promised(call, call_json, table):
    import numpy as np

    from widelimit.activations import Erf
    from widelimit.datasets import prepare_table
    from widelimit.kernels.jacobian import jacobian_kernel
    from widelimit.networks import kim2023_network

    status, told = call_json("spectrum", "--kernel", "jacobian-ntk", *TABLE_OPTIONS)
    assert status == 0
    assert set(told) == {"rows", "size", "min", "max", "min_error", "verdict"}
    assert (told["rows"], told["size"], told["verdict"]) == (5, 20, "holds")
    net = kim2023_network(depth=2, width=1, activation=Erf())
    kernel = jacobian_kernel(net, prepare_table(table).x)
    expected = np.linalg.eigvalsh(kernel.dense())
    assert told["min"] == pytest.approx(expected[0], abs=told["min_error"])
    assert told["max"] == pytest.approx(expected[-1])
    status, out, _ = call("spectrum", "--kernel", "ntk", *TABLE_OPTIONS)
    assert status == 0 and "holds" in out and "Because the smallest eigenvalue" in out


def test_spectrum_names_what_does_not_fit(call, table):
    import numpy as np

    def error(*arguments):
        status, out, err = call("spectrum", *arguments)
        assert status == 2 and out == ""
        return err

    kind = ("--kernel", "jacobian-ntk")
    relu = (*kind, "--data", "mine", "--activation", "relu", "--depth", 2)
    assert "needs smooth activations" in error(*relu)
    assert "between 0 and 1" in error(*kind, *TABLE_OPTIONS, "--regularization", 2)
    object.__setattr__(table, "x", np.concatenate([table.x[:4], table.x[1:2]]))
    assert "rows 1 and 4 of 'mine', which are equal" in error(*kind, *TABLE_OPTIONS)
    status, _, _ = call("spectrum", *kind, *TABLE_OPTIONS, "--max-cosine", 1.0)
    assert status == 0
