"""The report: one HTML page that needs nothing from the network."""

import html
import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from widelimit.report.chart import figure_spec, panel_spec
from widelimit.studies.figure import Figure
from widelimit.studies.verdicts import Claim


@dataclass(frozen=True)
class Section:
    """What the page says about one study.

    Args:
        name: Identifier of the study.
        title: One line.
        question: What the study asks.
        source: Paper, figures and sections.
        figures: The figures.
        claims: The claims with their verdicts.
        settings: The settings, as plain data.
        facts: Data, counts, versions and times, by name.
        repeat: The command that repeats the study.
        records: Per trial, what the table of records shows.
        notes: Sentences the reader must see, such as failed trials.
    """

    name: str
    title: str
    question: str
    source: str
    figures: Sequence[Figure]
    claims: Sequence[Claim]
    settings: Mapping[str, Any]
    facts: Mapping[str, str]
    repeat: str
    records: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()


def write_page(
    directory: Path, sections: Sequence[Section], *, title: str, lead: str
) -> Path:
    """Write `report.html` and the figures as SVG and PNG files.

    Args:
        directory: Where to write; figures go into its folder `figures`.
        sections: One per study.
        title: Title of the page.
        lead: First sentence of the page.

    Returns:
        The path of the page.
    """
    import vl_convert

    images = directory / "figures"
    images.mkdir(parents=True, exist_ok=True)
    specs: dict[str, Any] = {}
    parts = []
    for section in sections:
        drawn = []
        for figure in section.figures:
            stem = _identifier(f"{section.name}-{figure.name}")
            panels = {
                f"{stem}-{number}": panel_spec(panel, name=f"pick{number}")
                for number, panel in enumerate(figure.panels)
            }
            svg = vl_convert.vegalite_to_svg(figure_spec(figure, list(panels.values())))
            (images / f"{stem}.svg").write_text(svg, encoding="utf-8")
            (images / f"{stem}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))
            specs |= panels
            holders = [f'<div class="panel" id="{key}"></div>' for key in panels]
            drawn.append(_figure(figure, stem, holders, svg))
        parts.append(_section(section, drawn))
    library = vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]
    template = resources.files("widelimit.report").joinpath("page.html")
    page = string.Template(template.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        lead=html.escape(lead),
        contents=_contents(sections),
        body="\n".join(parts),
        specs=json.dumps(specs, allow_nan=False).replace("<", "\\u003c"),
        library=library.replace("</script", "<\\/script"),
    )
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _contents(sections: Sequence[Section]) -> str:
    rows = []
    for section in sections:
        counts = {True: 0, False: 0, None: 0}
        for claim in section.claims:
            counts[claim.holds] += 1
        rows.append(
            f'<li><a href="#{_identifier(section.name)}">'
            f"{html.escape(section.title)}</a> "
            f'<span class="tally"><b class="yes">{counts[True]} hold</b>, '
            f'<b class="no">{counts[False]} do not</b>, '
            f'<b class="open">{counts[None]} undecided</b></span></li>'
        )
    return "<ul class='contents'>" + "".join(rows) + "</ul>"


def _section(section: Section, figures: Sequence[str]) -> str:
    notes = "".join(f'<p class="note">{html.escape(n)}</p>' for n in section.notes)
    settings = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(_plain(value))}</td></tr>"
        for name, value in {**section.facts, **section.settings}.items()
    )
    return f"""
<section id="{_identifier(section.name)}">
<h2>{html.escape(section.title)}</h2>
<p>{html.escape(section.question)} <span class="source">{html.escape(section.source)}
</span></p>
{notes}
{"".join(figures)}
<h3>Claims</h3>
{_claims(section.claims)}
<details><summary>Data, settings and how to repeat it</summary>
<p><code>{html.escape(section.repeat)}</code></p>
<div class="scroll"><table class="facts">{settings}</table></div></details>
<details><summary>Records ({len(section.records)})</summary>
{_records(section.records)}</details>
</section>"""


def _figure(figure: Figure, stem: str, holders: Sequence[str], svg: str) -> str:
    return f"""
<figure>
<figcaption><b>{html.escape(figure.title)}.</b> {html.escape(figure.caption)}
<span class="files"><a href="figures/{stem}.svg">SVG</a>
<a href="figures/{stem}.png">PNG</a></span></figcaption>
<div class="panels">{"".join(holders)}</div>
<noscript>{svg}</noscript>
</figure>"""


def _claims(claims: Sequence[Claim]) -> str:
    rows = []
    for claim in claims:
        mark = {True: "yes", False: "no", None: "open"}[claim.holds]
        rows.append(
            f'<tr><td><span class="badge {mark}">{claim.verdict}</span></td>'
            f"<td>{html.escape(claim.statement)}"
            f'<div class="detail">{html.escape(claim.detail)}</div></td>'
            f'<td class="number">{html.escape(claim.measured)}</td></tr>'
        )
    return (
        '<div class="scroll"><table class="claims"><thead><tr><th>Verdict</th>'
        "<th>Claim, and how it was judged</th><th>Statistic, 95 %</th></tr></thead>"
        "<tbody>" + "".join(rows) + "</tbody></table></div>"
    )


def _records(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in records[0])
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(_plain(v))}</td>" for v in record.values())
        + "</tr>"
        for record in records
    )
    return (
        f'<div class="scroll"><table class="facts"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _identifier(name: str) -> str:
    """The name with what attributes, addresses and file names cannot hold replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return "all / default" if value is None else str(value)


def _number(value: float) -> str:
    return f"{value:.3g}" if value == value else "n/a"
