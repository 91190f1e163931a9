"""What ``--help`` shows beside a command's own words: examples, and the panels that options stand in.

A test holds that every command has examples and that every example is a command line that its command accepts.
"""

from __future__ import annotations

from typing import Any

__all__ = ["COMMAND_PANELS", "EXAMPLES", "arrange", "option_panel", "paragraphs"]

# Command -> its examples: a command line, and what it does.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "demo": (
        ("idsim demo", "The whole audit, on this machine, without any file of yours."),
        ("idsim demo --vectors", "Made-up embeddings with planted leaks: seconds, and no extra."),
        ("idsim demo --vectors --leaks 0 -o clean", "The same where nobody is copied."),
    ),
    "scan": (
        ("idsim scan scan.toml --dry-run", "What would be done, and how long it takes here."),
        ("idsim scan scan.toml", "Run it. The same command resumes after an interruption."),
        ("idsim scan scan.toml --shard 3/8", "One eighth of the work, in a job array; then idsim merge."),
        ("idsim scan person runs/audit --image me.jpg", "Of one person in the finished run."),
        ("idsim scan --from-bundle audit.idsim.zip -o again", "Compute a bundled scan again, and compare."),
    ),
    "scan person": (
        ("idsim scan person runs/audit --image me-1.jpg --image me-2.jpg", "By photographs."),
        ("idsim scan person runs/audit --id person-0412", "By a label of the run, or its pseudonym."),
        ("idsim scan person runs/audit --embedding me.npy --json", "By embeddings [n, d] of one matcher."),
    ),
    "status": (
        ("idsim status runs/audit", "Which stages have how many of their shards."),
        ("idsim status runs/audit --files", "Which files are missing."),
    ),
    "merge": (("idsim merge scan.toml", "After idsim scan scan.toml --shard 1/8 to 8/8."),),
    "filter": (
        ("idsim filter runs/audit -o cleaned", "Who stays, and the leak rate before and after."),
        (
            "idsim filter runs/audit -o cleaned --matchers 2 --pictures copy",
            "Only what two matchers agree on goes; the kept pictures are copied.",
        ),
    ),
    "report": (
        ("idsim report runs/audit", "runs/audit/report.html: blurred faces, pseudonyms."),
        ("idsim report runs/a runs/b -o comparison.html", "Several runs side by side."),
        (
            "idsim report runs/audit --faces none --figures figures --latex table.tex",
            "Figures and a table for a paper.",
        ),
    ),
    "bundle": (
        ("idsim bundle runs/audit", "Numbers, seeds, hashes and comparisons; no faces, no names."),
        (
            "idsim bundle runs/audit --with embeddings -o audit.idsim.zip",
            "With what others need to search again: biometric data.",
        ),
    ),
    "gate": (
        ("idsim gate runs/audit --policy policy.toml", "Exit status 0 passed, 1 violated, 3 inconclusive."),
        ("idsim gate runs/audit --policy policy.toml --junit gate.xml", "For a build server."),
    ),
    "calibrate": (
        ("idsim calibrate holdout.faces -o calibration --fpir 0.01", "The threshold for 1 % FPIR."),
        (
            "idsim calibrate holdout.npy -o calibration --labels each --fmr 1e-4 --fmr 1e-5",
            "Two rates; every row is a person of its own.",
        ),
    ),
    "sample": (
        ("idsim sample network.pkl --seeds 0-9999 --psi 0.7 -o pictures", "Ten thousand pictures."),
        ("idsim sample model.py:draw --seeds 0-99 -o pictures", "Of a Python function of your own."),
        (
            "idsim sample net.pkl --seeds 0-9999 -o out --screen train.faces -m dlib --calibration other.faces",
            "Pictures that resemble somebody in a gallery are drawn again.",
        ),
    ),
    "embed": (
        ("idsim embed pictures -m dlib -o synthetic.faces", "A folder of pictures, with dlib."),
        (
            "idsim embed ffhq -m arcface-w600k-r50 --model w600k_r50.onnx --split training -o train.faces",
            "The training part of FFHQ, with a network of the catalogue.",
        ),
        (
            "idsim embed crops.zip -m my_matcher.py:embed --align none -o g.faces",
            "Crops, with a function of your own.",
        ),
    ),
    "search": (
        ("idsim search probes.npy faces -k 10 -o hits.parquet", "The ten best rows for every query."),
        (
            "idsim search faces faces --exclude-groups -k 1",
            "The nearest stranger of everybody in a gallery.",
        ),
        (
            "idsim search probes.npy faces --threshold 0.35 --json",
            "Matches from a score on, as one JSON object.",
        ),
    ),
    "gallery": (
        ("idsim gallery build embeddings.npy -o faces", "Import vectors."),
        ("idsim gallery info faces", "Say what a gallery holds."),
    ),
    "gallery build": (
        ("idsim gallery build embeddings.npy -o faces", "The format is told by the content."),
        (
            "idsim gallery build e.parquet -o faces --id file --group person --prepare",
            "With columns, and codes for fast searches.",
        ),
    ),
    "gallery info": (("idsim gallery info faces --json", "Rows, shards, columns, checksum."),),
    "gallery verify": (
        ("idsim gallery verify faces", "Exit status 2 where any byte is not as written."),
        ("idsim gallery verify faces --recompute", "The 8-bit codes too."),
    ),
    "gallery convert": (
        ("idsim gallery convert faces -o faces.parquet --to parquet", "For other programs."),
        ("idsim gallery convert vectors.npz -o half --key embeddings --dtype float16", "Half the bytes."),
    ),
    "gallery merge": (
        ("idsim gallery merge part-1 part-2 -o whole", "Rows of the first, then of the second."),
        ("idsim gallery merge a b -o both --ids prefix --groups prefix", "Where names may be the same."),
    ),
    "gallery prepare": (("idsim gallery prepare faces", "Once; later searches use the codes."),),
    "generator": (
        ("idsim generator info network.pkl", "What a checkpoint holds, without running it."),
        ("idsim generator convert network.pkl -o network.safetensors", "Free of pickle."),
    ),
    "generator info": (
        ("idsim generator info network.pkl", "Architecture, resolution, training, hashes."),
        ("idsim generator info snapshot.pkl --network G --json", "The network in training, as JSON."),
    ),
    "generator convert": (
        ("idsim generator convert network.pkl -o network.safetensors", "Loads without any pickle."),
    ),
    "generator verify": (
        ("idsim generator verify network.safetensors", "Exit status 2 where anything is wrong."),
    ),
    "matcher": (
        ("idsim matcher list", "The matchers that are known."),
        ("idsim matcher show arcface-w600k-r50", "What one of them needs."),
    ),
    "matcher list": (("idsim matcher list --json", "With metric, size and licence of each."),),
    "matcher show": (
        ("idsim matcher show arcface-w600k-r50", "Crops, pixel map, alignment, licence, traps."),
        ("idsim matcher show adaface --toml", "The specification, to copy and change."),
    ),
    "matcher check": (
        (
            "idsim matcher check arcface-w600k-r50 people --model w600k_r50.onnx",
            "A folder with a folder of photographs for each person.",
        ),
        ("idsim matcher check my_matcher.py:embed pairs.csv --align none", "Listed pairs of crops."),
    ),
    "bench": (
        ("idsim bench", "Three query counts over 200,000 rows, beside the rivals that are installed."),
        ("idsim bench --rows 1000000 --queries 1,1024 --no-rivals", "idsim alone, on more rows."),
    ),
    "selftest": (
        ("idsim selftest", "A billion pairs, checked bit by bit: some minutes."),
        ("idsim selftest --pairs 1e7", "A quick one."),
        ("idsim selftest --pairs 1e7 --plant ties", "A planted bug: it must fail."),
        ("idsim selftest audit --runs 200", "Of the audit's statistics."),
    ),
    "selftest audit": (
        ("idsim selftest audit --runs 200", "Fewer simulated audits than the usual 1000."),
        ("idsim selftest audit --plant interval", "A planted bug: it must fail."),
    ),
    "doctor": (
        ("idsim doctor", "For a bug report, and to see what can be used here."),
        ("idsim doctor --json", "The same for a program."),
    ),
}

# Command -> its panel in `idsim --help`; AUDIT, unless it stands here.
AUDIT = "Audit of a generator"
COMMAND_PANELS = {
    "sample": "Pictures and embeddings",
    "embed": "Pictures and embeddings",
    "generator": "Pictures and embeddings",
    "matcher": "Pictures and embeddings",
    "search": "Exact search",
    "gallery": "Exact search",
    "bench": "This machine",
    "selftest": "This machine",
    "doctor": "This machine",
}

# Option -> its panel in the help of its command.
_RESULT = "What is written and shown"
_MACHINE = "The machine"
_COLUMNS = "Columns and types"
_SCREEN = "The screen"
_OPTION_PANELS = {
    **dict.fromkeys(
        (
            "--output", "--json", "--quiet", "--names", "--pairs", "--junit", "--force", "--faces", "--max-pairs",
            "--figures", "--markdown", "--latex", "--overwrite",
        ),
        _RESULT,
    ),
    **dict.fromkeys(
        (
            "--threads", "--device", "--devices", "--memory-budget", "--workers", "--seconds", "--processes",
            "--require-gpu", "--shard",
        ),
        _MACHINE,
    ),
    **dict.fromkeys(("--id", "--group", "--source", "--dtype", "--shard-rows", "--metadata"), _COLUMNS),
    **dict.fromkeys(("--install-completion", "--show-completion", "--version", "--help"), "Help"),
}  # fmt: skip
# The same for single commands, where a name means something else.
_OWN_PANELS: dict[str, dict[str, str | None]] = {
    "sample": dict[str, str | None].fromkeys(
        (
            "--screen", "--matcher", "--model", "--detector", "--align", "--matcher-device", "--fpir",
            "--threshold", "--calibration", "--no-face", "--max-redraws", "--reserve",
        ),
        _SCREEN,
    ),
    "scan person": {"--id": None},
    "bench": {"--seconds": None},
}  # fmt: skip


def option_panel(command: str, option: str) -> str | None:
    """Return the panel of an option in the help of a command; None: the first one."""
    own = _OWN_PANELS.get(command, {})
    return own[option] if option in own else _OPTION_PANELS.get(option)


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring, each on one line."""
    return [" ".join(part.split()) for part in text.partition("\f")[0].split("\n\n") if part.strip()]


def arrange(command: Any, name: str) -> Any:
    """Return a command with its help laid out for the terminal: examples, panels, text that is not markup.

    Parameters
    ----------
    command : typer.core.TyperCommand or TyperGroup
        Changed in place, with its subcommands.
    name : str
        What it is called behind ``idsim``.
    """
    command.help = _literal("\n\n".join(paragraphs(command.help or "")))
    command.epilog = _epilog(EXAMPLES.get(name, ()))
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = _literal(parameter.help)
        option = max(parameter.opts, key=len)
        if parameter.param_type_name == "option":
            parameter.rich_help_panel = parameter.rich_help_panel or option_panel(name, option)
    for each, subcommand in getattr(command, "commands", {}).items():
        arrange(subcommand, f"{name} {each}")
    return command


def _epilog(examples: tuple[tuple[str, str], ...]) -> str:
    lines = [f"[bold]{_literal(line)}[/bold]\n  {_literal(what)}" for line, what in examples]
    return "\n\n".join(["Examples:", *lines]) if lines else ""


def _literal(text: str) -> str:
    """Return text in which Rich sees no markup: embeddings [n, d] keep their brackets."""
    return text.replace("[", "\\[")
