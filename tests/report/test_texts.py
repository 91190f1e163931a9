"""LaTeX table, Markdown card and JSON digest: their numbers are the summary's, and names do no harm."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from markdown_it import MarkdownIt

from idsim.report import latex, markdown
from idsim.report.data import open_run
from idsim.report.digest import digest
from idsim.report.results import LIMITS, result_rows, shared_notes
from idsim.report.summary import printable
from report.makers import HOSTILE


def numbers(cell):
    """The numbers of a cell of LaTeX, with powers of ten and per cent worked out."""
    found = []
    for text in re.findall(r"\$(-?[0-9.]+(?:\\times10\^\{-?\d+\})?(?:\\,\\%)?)\$", cell):
        value = float(re.match(r"-?[0-9.]+", text)[0])
        power = re.search(r"\{(-?\d+)\}", text)
        value *= 10.0 ** int(power[1]) if power else 1.0
        found.append(value / 100 if text.endswith("%") else value)
    return found


def rows_of(table):
    lines = table.splitlines()
    start, end = lines.index(r"\midrule"), lines.index(r"\bottomrule")
    return [line.removesuffix(r" \\").split(" & ") for line in lines[start + 1 : end]]


@pytest.mark.parametrize("which", ["one", "several", "uneven"])
def test_the_cells_of_the_table_are_the_numbers(which, request):
    run = open_run(request.getfixturevalue(which))
    results = [row for row in result_rows(run) if not row.point["refused"]]
    rows = [row for row in rows_of(latex.table(run, primary_only=False)) if "multicolumn" not in row[2]]
    assert len(rows) == len(results) >= 2
    for row, result in zip(rows, results, strict=True):
        point, excess = result.point, result.point["excess_leak_rate"]
        assert numbers(row[2]) == pytest.approx([point["threshold"]], abs=5e-5)
        for cell, rate in ((row[3], point["fmr"]), (row[4], point["fpir"])):
            expected = rate["rate"] if rate["errors"] else rate["high"]
            assert numbers(cell) == pytest.approx([expected], rel=0.06)
            assert (r"\leq" in cell) == (not rate["errors"])
        assert f"({point['persons_searched']})" in row[4]
        for cell, expected in (
            (row[5], [point["leak_rate_training"]["rate"]]),
            (row[6], [point["leak_rate_holdout"]["rate"]]),
            (row[7], [excess["rate"]]),
            (row[8], [excess["low"], excess["high"]]),
        ):
            assert numbers(cell) == pytest.approx(expected, abs=5.1e-5)
        p = excess["permutation_p"] if result.p_corrected is None else result.p_corrected
        assert numbers(row[9])[0] == pytest.approx(p, rel=0.06)
        assert (r"\ast" in row[9]) == (result.p_corrected is not None)
        assert numbers(row[10]) == pytest.approx([point["leak_rate_training"]["design_effect"]], abs=5.1e-3)
    assert all(len(row) == 11 for row in rows)


def test_the_table_is_a_tabular(one, series):
    run = open_run(one)
    table = latex.table(run)
    assert table.startswith("% \\usepackage{booktabs}")
    assert "\\begin{tabular}{lrrrrrrrrr}\n\\toprule\n" in table
    assert table.endswith("\\bottomrule\n\\end{tabular}\n")
    assert len(rows_of(table)) == 1
    assert r"95\,\% interval" in table
    assert len(rows_of(latex.table(run, primary_only=False))) == 3
    rows = rows_of(latex.table(open_run(series)))
    assert [row[1] for row in rows if len(row) == 2] == [
        r"\multicolumn{9}{l}{refused: no face was found}"
    ] * 2
    assert [row[0] for row in rows][:2] == ["grid, early-draw-psi1", "grid, early-draw-psi0.5"]


def test_latex_takes_no_name_for_a_command(one):
    escaped = latex.escape(HOSTILE)
    assert r"\input" not in escaped
    assert r"\textbackslash{}input\{c\}" in escaped
    without = re.sub(r"\\(text[a-z]+\{\}|[&%$#_{}])", "", escaped)
    assert not set(without) & set("\\&%$#_^~|<>`\x1b\u202e")
    assert escaped in latex.table(open_run(one))
    assert latex.table(open_run(one)).isascii()
    assert latex.escape("[x]* a--b ''c ?`é☃") == "{[}x{]}{*} a-{}-b '{}'c ?\\textasciigrave{}é[U+2603]"


def rendered(text):
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def test_the_card_has_verdict_table_checks_limits_and_command(one):
    run = open_run(one)
    card = markdown.card(run)
    html = rendered(card)
    assert re.findall("<h[0-9]>(.*)</h[0-9]>", html) == [
        "Identity leakage audit: run", "Checks", "Limits", "Reproduce"
    ]  # fmt: skip
    assert f"<strong>{run.summary['verdict']['sentence']}</strong>" in html
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    rows = [re.findall("<td[^>]*>(.*)</td>", row) for row in body.split("</tr>")[:-1]]
    assert len(rows) == 3
    point = run.summary["operating_points"][0]
    excess = point["excess_leak_rate"]
    assert rows[0][1] == "fpir=0.1 *"
    assert float(rows[0][2]) == pytest.approx(point["threshold"], abs=5e-5)
    assert rows[0][5] == f"{100 * point['leak_rate_training']['rate']:.2f} %"
    assert rows[0][8] == f"{100 * excess['low']:.2f} % to {100 * excess['high']:.2f} %"
    assert rows[2][2].startswith("refused: a false match rate of 1e-08 is not supported")
    for line in (*LIMITS, *shared_notes(run)):
        assert line in unescaped(html)
    assert '<code class="language-sh">idsim scan scan.toml\n</code>' in html
    assert hashlib.sha256((one / "provenance.json").read_bytes()).hexdigest() in html
    assert markdown.card(run, level=4).startswith("#### Identity")
    assert str(one) not in card


def unescaped(html):
    for entity, character in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        html = html.replace(entity, character)
    return html


def test_markdown_takes_no_name_for_markup(one):
    html = rendered(f"| a | b |\n|---|---|\n| {markdown.escape(HOSTILE)} | 1 |\n")
    cells = re.findall("<td[^>]*>(.*)</td>", html)
    assert [unescaped(cell) for cell in cells] == [printable(HOSTILE), "1"]
    assert printable(HOSTILE) in unescaped(rendered(markdown.card(open_run(one))))
    for text in (
        "# x",
        "a|b",
        "![i](x.png)",
        "<b>",
        "www.example.org",
        "https://example.org",
        "a\nb",
        "~~s~~",
        "\\",
    ):
        assert unescaped(rendered(f"p {markdown.escape(text)}")) == f"<p>p {printable(text)}</p>\n"
        assert "https:" not in markdown.escape(text)


def test_notes_of_many_sets_are_written_once(series):
    lines = shared_notes(open_run(series))
    assert len(set(lines)) == len(lines)
    assert sum("rests on" in line for line in lines) == 1
    assert any(line.startswith("4 of 6: ") for line in lines)
    assert "early-draw-psi0; late-draw-psi0: No face was found in any of the 30 images." in lines


def test_a_command_with_a_hostile_file_name_stays_in_its_fence(one, tmp_path):
    run = open_run(one)
    origin = one / "origin.json"
    before = origin.read_bytes()
    try:
        origin.write_text(json.dumps({"config": "/a/b/```\n$(rm x)'`.toml"}))
        html = rendered(markdown.card(run))
    finally:
        origin.write_bytes(before)
    (code,) = re.findall('<code class="language-sh">(.*?)\n</code>', html, re.DOTALL)
    assert unescaped(code) == "idsim scan '```\N{REPLACEMENT CHARACTER}$(rm x)'\"'\"'`.toml'"


def test_the_digest_keeps_its_keys(one):
    run = open_run(one)
    found = digest(run)
    assert list(found) == [
        "schema_version", "kind", "run", "idsim", "verdict", "results", "sets", "checks", "limits", "statistics",
        "declared", "provenance_sha256", "reproduce",
    ]  # fmt: skip
    assert list(found["results"][0]) == [
        "matcher", "set", "metric", "operating_point", "primary", "refused", "threshold", "fmr", "fpir",
        "persons_searched", "fnmr", "leak_rate_training", "leak_rate_holdout", "excess_leak_rate", "permutation_p",
        "permutation_p_corrected", "effective_clusters", "design_effect",
    ]  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    point = run.summary["operating_points"][0]
    result = found["results"][0]
    assert result["threshold"] == point["threshold"]
    assert result["excess_leak_rate"]["low"] == point["excess_leak_rate"]["low"]
    assert result["design_effect"] == point["leak_rate_training"]["design_effect"]
    assert found["results"][2]["excess_leak_rate"] is None
    assert found["results"][2]["refused"].startswith("a false match rate")
    assert found["declared"]["matcher_saw_training"] == "no"
    assert {entry["severity"] for entry in found["checks"]} <= {"warning", "error"}
    assert len(found["checks"]) == sum(check["severity"] != "info" for check in run.summary["checks"]) > 0
    assert [entry["of"] for entry in found["sets"]] == ["synthetic", "training", "holdout"]
    assert found["sets"][1]["persons"] == 80
    names = set(run.sets[0].pairs(["person"])["person"])
    assert not any(name in json.dumps(found) for name in names)


def test_digests_of_several_matchers_and_sets(several, series):
    found = digest(open_run(several))
    primary = [row for row in found["results"] if row["primary"]]
    assert [(row["matcher"], row["set"]) for row in primary] == [("first", None), ("second_one", None)]
    corrected = [row["permutation_p_corrected"] for row in primary]
    assert corrected == [row["permutation_p_corrected"] for row in open_run(several).summary["rows"]]
    assert None not in corrected
    assert {row["permutation_p_corrected"] for row in found["results"] if not row["primary"]} == {None}
    drawn = digest(open_run(series))
    expected = {row["name"]: row["permutation_p_corrected"] for row in open_run(series).summary["series"]}
    primary = {row["set"]: row["permutation_p_corrected"] for row in drawn["results"] if row["primary"]}
    assert primary == expected
    assert {row["set"] for row in drawn["sets"] if row["of"] == "synthetic"} == set(expected)
