"""The page: written from records alone, needs no network, and survives hostile text."""

import json
import math
import re
import shlex
import shutil
import struct
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from fake_studies import OWN, study
from widelimit.report import Section, build_report, figure_spec, panel_spec, write_page
from widelimit.report.build import repeat_command
from widelimit.runs import SilentProgress, Store
from widelimit.studies import (
    STUDIES,
    Claim,
    Curve,
    Figure,
    Panel,
    read_outcome,
    run_study,
)

NAN, INF = math.nan, math.inf
OWN_BY_NAME = "fake_studies:OWN"
HOSTILE = '"><img src=x onerror=alert(1)></script><!--<script>&{$body}'


class Page(HTMLParser):
    """All that the tests look at: attributes, text, scripts, and unclosed elements."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "path", "rect"})

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.scripts, self.words, self.open = [], [], [], []
        self.feed(self.source)
        self.close()
        self.text = " ".join(" ".join(self.words).split())
        self.specs = json.loads(
            next(t for a, t in self.scripts if a.get("type") == "application/json"),
            parse_constant=pytest.fail,
        )

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = attrs, text + data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    def ids(self):
        return [attrs["id"] for _, attrs in self.elements if attrs.get("id")]


def run(one, directory, **changes):
    return run_study(one, directory, changes=changes, progress=SilentProgress())


def check_figures(directory, count):
    """Every figure is there twice, well-formed."""
    svgs = sorted((directory / "figures").glob("*.svg"))
    pngs = sorted((directory / "figures").glob("*.png"))
    assert [p.stem for p in svgs] == [p.stem for p in pngs] and len(svgs) == count
    for path in svgs:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(root.get("width")) > 100
    for path in pngs:
        head = path.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert min(struct.unpack(">II", head[16:24])) > 100


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Two studies side by side, their records only, and the page made of them."""
    directory = tmp_path_factory.mktemp("several")
    outcomes = {}
    for name in ("lazy-ratio", "stability-width"):
        ran = directory / "ran" / name
        run(study(name), ran)
        (directory / "page" / name).mkdir(parents=True)
        shutil.copy(ran / "study.json", directory / "page" / name)
        shutil.copytree(ran / "trials", directory / "page" / name / "trials")
        outcomes[name] = read_outcome(ran)
    path = build_report(directory / "page")
    return path, Page(path), outcomes


def test_the_page_tells_every_claim(several):
    path, page, outcomes = several
    assert path.name == "report.html" and not page.open
    for name, outcome in outcomes.items():
        assert STUDIES[name].title in page.text
        assert STUDIES[name].question in page.text
        assert STUDIES[name].source in page.text
        for claim in outcome.claims():
            row = (
                f"{claim.verdict} {claim.statement} {claim.detail} "
                f"{claim.statistic:.3g} ± {claim.uncertainty:.2g}"
            )
            assert " ".join(row.split()) in page.text
        held = sum(c.holds is True for c in outcome.claims())
        assert f"{STUDIES[name].title} {held} hold" in page.text
        for record in outcome.records:
            assert record.key[:12] in page.text
    assert "Measured on digits" in page.text


def test_the_page_holds_every_figure(several):
    path, page, outcomes = several
    figures = [f for outcome in outcomes.values() for f in outcome.figures()]
    check_figures(path.parent, len(figures))
    assert len(page.specs) == sum(len(f.panels) for f in figures)
    ids = page.ids()
    assert len(set(ids)) == len(ids) and set(page.specs) <= set(ids)
    for figure in figures:
        assert (
            figure.title in page.text and " ".join(figure.caption.split()) in page.text
        )
    for _, attrs in page.elements:
        link = attrs.get("href", "")
        if link.startswith("#"):
            assert link[1:] in ids
        elif link:
            assert (path.parent / link).is_file()
    values = [s["data"]["values"] for s in page.specs.values()]
    assert all(values) and all(math.isfinite(r["y"]) for rows in values for r in rows)


def check_no_network(page):
    for tag, attrs in page.elements:
        for name, value in attrs.items():
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                assert not re.match(r"\s*(\w+:|//)", value or ""), (tag, name, value)
            if name != "content":
                assert "url(http" not in (value or "")
        assert tag not in {"link", "iframe", "object", "embed", "img", "base"}
    assert not any("src" in attrs for attrs, _ in page.scripts)
    for style in re.findall(r"<style>(.*?)</style>", page.source, re.DOTALL):
        assert "url(" not in style and "@import" not in style
    [policy] = [
        attrs["content"]
        for tag, attrs in page.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy and "http" not in policy


def test_the_page_needs_nothing_from_the_network(several):
    check_no_network(several[1])


def test_the_page_is_the_same_when_written_again(tmp_path):
    run(OWN_BY_NAME, tmp_path)
    first = build_report(tmp_path).read_bytes()
    assert build_report(tmp_path).read_bytes() == first


@pytest.mark.parametrize(
    ("name", "preset", "changes"),
    [
        ("lazy-ratio", "quick", {}),
        ("stability-width", "paper", {"data": "digits", "train_rows": 640}),
        ("stability-depth", "laptop", {"widths": "16,32", "learning_rate": 0.25}),
        ("stability-regime", "quick", {"initializations": "he,non-lazy:1.5"}),
        ("stability-regime", "paper", {"epochs": "7", "learning_rate": "none"}),
        ("fake_studies:OWN", "more", {"shift": 1.5, "broken": True}),
    ],
)
def test_the_repeat_command_gives_the_same_settings(name, preset, changes, tmp_path):
    if name.startswith("fake"):
        outcome = run_study(
            name, tmp_path, preset=preset, changes=changes, progress=SilentProgress()
        )
    else:
        settings = STUDIES[name].configure(preset, changes)
        outcome = read_outcome_of(name, settings, tmp_path)
    words = shlex.split(repeat_command(outcome))
    assert words[:4] == ["widelimit", "run", name, "--preset"]
    assert words[-2:] == ["--out", "DIR"]
    rest = words[5:-2]
    assert rest[::2] == ["--set"] * len(rest[::2])
    typed = dict(word.split("=", 1) for word in rest[1::2])
    assert outcome.study.configure(words[4], typed) == outcome.settings
    assert words[4] == preset or not changes


def read_outcome_of(name, settings, directory):
    """The outcome of a study that has not begun: its configuration and no record."""
    configuration = {"study": name, "settings": settings.model_dump(mode="json")}
    with Store(directory).writing(configuration):
        pass
    return read_outcome(directory)


def test_the_repeat_command_survives_a_shell(tmp_path):
    settings = STUDIES["lazy-ratio"].configure(changes={"data": "my data; ls $HOME"})
    outcome = read_outcome_of("lazy-ratio", settings, tmp_path)
    assert "data=my data; ls $HOME" in shlex.split(repeat_command(outcome))


def test_one_study_twice_is_told_apart_by_folders(tmp_path):
    run(OWN_BY_NAME, tmp_path / "first", sizes="1,2")
    run(OWN_BY_NAME, tmp_path / "second", sizes="3,4")
    page = Page(build_report(tmp_path))
    assert len(page.specs) == 2
    assert f"{OWN.title} (first)" in page.text and f"{OWN.title} (second)" in page.text
    firsts = [s["data"]["values"][0]["x"] for s in page.specs.values()]
    assert sorted(firsts) == [1.0, 3.0]
    check_figures(tmp_path, 2)


def test_a_run_without_a_finished_trial_has_a_page(tmp_path):
    run(OWN_BY_NAME, tmp_path, broken=True)
    page = Page(build_report(tmp_path))
    assert "3 trials failed" in page.text
    assert "ArithmeticError: no <b>number</b> anywhere" in page.text
    assert "0 of 3" in page.text and page.specs == {}
    check_no_network(page)


def test_a_run_that_has_not_begun_has_a_page(tmp_path):
    read_outcome_of("stability-width", STUDIES["stability-width"].configure(), tmp_path)
    page = Page(build_report(tmp_path))
    assert "30 trials of the grid have not been run yet" in page.text


@pytest.mark.parametrize("trial", ["failing_in_part", "diverging"])
def test_what_went_wrong_is_noted(trial, tmp_path):
    run(study("lazy-ratio", trial, scales=("raw",)), tmp_path)
    page = Page(build_report(tmp_path))
    if trial == "diverging":
        assert "6 trainings diverged" in page.text
    else:
        assert "2 trials failed; the first with: ArithmeticError: no <b>" in page.text
        assert "undecided" in page.text and "not measured" in page.text
    check_figures(tmp_path, 2)


def test_a_directory_without_a_study_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"study.json.*widelimit run"):
        build_report(tmp_path)


# Pages of any content


def section(figures=(), name="study", **changes):
    values = {
        "name": name,
        "title": "Title",
        "question": "Question",
        "source": "Source",
        "figures": figures,
        "claims": [],
        "settings": {},
        "facts": {},
        "repeat": "widelimit",
        "records": [],
    }
    return Section(**values | changes)


def test_hostile_text_is_escaped(tmp_path):
    curve = Curve(HOSTILE, [1.0, 2.0], [1.0, 2.0], notes=[HOSTILE, HOSTILE])
    panel = Panel(HOSTILE, HOSTILE, HOSTILE, [curve, curve], legend=HOSTILE)
    figure = Figure(HOSTILE + "/../x", HOSTILE, HOSTILE, [panel])
    claim = Claim(HOSTILE, HOSTILE, 1.0, 0.5, True, HOSTILE)
    one = section(
        [figure],
        name=HOSTILE,
        title=HOSTILE,
        question=HOSTILE,
        source=HOSTILE,
        claims=[claim],
        settings={HOSTILE: HOSTILE},
        facts={HOSTILE: HOSTILE},
        repeat=HOSTILE,
        records=[{HOSTILE: HOSTILE, "record": HOSTILE}],
        notes=[HOSTILE],
    )
    page = Page(write_page(tmp_path, [one], title=HOSTILE, lead=HOSTILE))
    assert not page.open
    tags = {tag for tag, _ in page.elements}
    assert "img" not in tags and len(page.scripts) == 3
    assert not any(n.startswith("on") for _, attrs in page.elements for n in attrs)
    assert page.text.count(HOSTILE) >= 10
    [spec] = page.specs.values()
    assert spec["data"]["values"][0]["series"] == HOSTILE
    [[key, _]] = page.specs.items()
    assert key in page.ids() and re.fullmatch(r"[A-Za-z0-9._-]+", key)
    assert "<!--" not in page.scripts[0][1] and "<" not in page.scripts[0][1]
    check_figures(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "figures"}


ODD = {
    "one point": [Curve("a", [8], [0.5])],
    "one point with a band": [Curve("a", [8], [0.5], [0.4], [0.6])],
    "one series": [Curve("a", [8, 16], [0.5, 0.7], [0.4, 0.6], [0.6, 0.8])],
    "many series": [Curve(f"s{i}", [8, 16], [0.5, 1.0 + i]) for i in range(9)],
    "all NaN": [Curve("a", [8, 16], [NAN, NAN], [NAN, NAN], [NAN, NAN])],
    "some NaN": [Curve("a", [8, 16], [NAN, 1.0], [NAN, 0.5], [NAN, INF])],
    "infinite": [Curve("a", [8, 16], [INF, 1.0], [-INF, 0.0], [INF, INF])],
    "zero and below": [Curve("a", [8, 16], [0.0, -1.0], [0.0, -2.0], [0.0, 1.0])],
    "zero with others": [Curve("a", [8, 16], [0.0, 1.0], [0.0, 0.5], [0.0, 2.0])],
    "nothing": [],
    "theory only": [Curve("a", [8, 9, 16], [0.5, 0.6, 0.7], theory=True)],
    "tiny and huge": [Curve("a", [1, 2], [1e-30, 1e30])],
    "many points": [Curve("a", list(range(1, 41)), [float(i) for i in range(1, 41)])],
}


@pytest.mark.parametrize("log", [True, False], ids=["log", "linear"])
@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "not"])
def test_odd_data_draw_a_figure(log, ordered, tmp_path):
    panels = [
        Panel(name, "x", "y", curves, x_log=log, y_log=log, ordered=ordered)
        for name, curves in ODD.items()
    ]
    figures = [Figure(p.title.replace(" ", "-"), p.title, "", [p]) for p in panels]
    page = Page(write_page(tmp_path, [section(figures)], title="Odd", lead=""))
    check_figures(tmp_path, len(ODD))
    assert len(page.specs) == len(ODD)
    for spec in page.specs.values():
        for row in spec["data"]["values"]:
            assert all(math.isfinite(v) for v in row.values() if not isinstance(v, str))
            if log:
                assert row["y"] > 0 and row.get("low", 1.0) > 0
    for path in (tmp_path / "figures").glob("*.svg"):
        for element in ElementTree.parse(path).iter():
            label = element.attrib.pop("aria-label", "")
            assert "undefined" not in label and "NaN;" not in label
            assert not any("NaN" in v for v in element.attrib.values())


def test_panels_say_what_they_show():
    measured = Curve("8", [1, 2], [3.0, 4.0], [2.5, 3.0], [3.5, 5.0], notes=["p", "q"])
    theory = Curve("8", [1, 2], [5.0, 6.0], theory=True)
    panel = Panel("Title", "width", "P", [measured, theory], legend="depth")
    spec = panel_spec(panel, name="pick")
    rows = spec["data"]["values"]
    assert rows[0] == {
        "series": "8", "kind": "measured", "x": 1.0, "y": 3.0, "low": 2.5, "high": 3.5,
        "95 %": "2.5 to 3.5", "note": "p",
    }  # fmt: skip
    assert [row["kind"] for row in rows] == ["measured"] * 2 + ["theory"] * 2
    assert rows[3] == {"series": "8", "kind": "theory", "x": 2.0, "y": 6.0}
    text = json.dumps(spec)
    assert '"type": "log"' in text and '"width"' in text and "Title" in text
    whole = figure_spec(Figure("f", "Whole", "", [panel]), [spec])
    assert whole["title"]["text"] == "Whole"
    assert whole["hconcat"][0]["data"] == spec["data"]
    json.dumps(whole, allow_nan=False)


@pytest.mark.parametrize("joined", [True, False])
def test_points_are_joined_where_a_panel_says_so(joined):
    curves = [
        Curve("8", [1, 2], [3.0, 4.0]),
        Curve("8", [1, 2], [5.0, 6.0], theory=True),
    ]
    spec = panel_spec(Panel("T", "x", "y", curves, joined=joined), name="pick")
    [line] = [part for part in spec["layer"] if part["mark"]["type"] == "line"]
    only_theory = [{"filter": "datum.kind == 'theory'"}]
    assert line.get("transform", []) == ([] if joined else only_theory)


@pytest.mark.parametrize(
    "log, values, written",
    [
        (True, [2e-5, 3.0], ".1~e"),
        (True, [2e-2, 3.0], "~g"),
        (False, [2e-5, 3.0], "~g"),  # a linear axis has its zero there
        (False, [-2e-5, 3e-4], ".1~e"),
        (False, [-3e5, 2.0], ".1~e"),
    ],
)
def test_powers_of_ten_are_written_where_an_axis_needs_them(log, values, written):
    curves = [Curve("8", [1, 2], values)]
    spec = panel_spec(Panel("T", "x", "y", curves, y_log=log), name="pick")
    axes = [part["encoding"]["y"].get("axis") for part in spec["layer"]]
    assert {axis["format"] for axis in axes if axis} == {written}
