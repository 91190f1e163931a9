"""``idsim scan person``: one person's question to a finished scan."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.completion import runs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idsim.audit.persons.person import Answer
    from idsim.audit.reopening import OpenRun
    from idsim.audit.work import Work

__all__ = ["person"]


def person(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.", autocompletion=runs)],
    name: Annotated[
        str, typer.Option("--id", help="A person of the run: label, image, or the pseudonym of either.")
    ] = "",
    image: Annotated[
        list[Path] | None, typer.Option(help="Photographs of a person; the matchers of the run embed them.")
    ] = None,
    embedding: Annotated[
        Path | None, typer.Option(help="A .npy file with embeddings [n, d] of a person.")
    ] = None,
    matcher: Annotated[str, typer.Option(help="Ask this matcher of the run alone.")] = "",
    count: Annotated[int, typer.Option(min=1, help="How many synthetic images to name.")] = 10,
    names: Annotated[bool, typer.Option("--names", help="Show file names instead of pseudonyms.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether one person was reproduced: how strongly, by which synthetic images, and against which chance."""
    from idsim.audit.persons.person import ask
    from idsim.audit.reopening import open_run
    from idsim.cli.scan import unfinished

    if sum(map(bool, (name, image, embedding))) != 1:
        raise ValueError("say who the person is by --id, --image or --embedding, and by one of them only")
    with unfinished(), open_run(run) as opened:
        works = [
            work for work in opened.works if not matcher or matcher in (work.label, work.matcher["name"])
        ]
        if not works:
            known = ", ".join(work.label or str(work.matcher["name"]) for work in opened.works)
            raise ValueError(f"{run} has no matcher {matcher!r}: it has {known}")
        answers: list[Answer] = []
        for work in works:
            title, vectors = _vectors(opened, work, name, image or [], embedding)
            answers += ask(opened, work, vectors, title, count)
    if as_json:
        sys.stdout.write(json.dumps([answer.entry(names) for answer in answers], indent=2) + "\n")
        return
    for answer in answers:
        _show(answer, names)


def _vectors(
    run: OpenRun, work: Work, name: str, images: list[Path], embedding: Path | None
) -> tuple[str, NDArray[np.float32]]:
    import numpy as np

    if name:
        from idsim.audit.persons.person import vectors_of_person

        return vectors_of_person(run, work, name)
    if images:
        from idsim.audit.parts import PicturePart

        part = work.real["training"]
        if not isinstance(part, PicturePart):
            raise ValueError(
                f"{work.label or work.matcher['name']} was given as embeddings: --image needs a matcher of pictures; "
                "use --embedding"
            )
        return "", _embedded(part, images)
    try:
        vectors = np.load(str(embedding), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{embedding} is no .npy file of numbers ({error})") from error
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind not in "fiu" or vectors.ndim not in (1, 2):
        raise ValueError(f"{embedding} must hold numbers [n, d]")
    return "", np.atleast_2d(vectors).astype(np.float32)


def _embedded(part: Any, images: list[Path]) -> NDArray[np.float32]:
    """Return the embeddings of photographs, by the matcher of a set; every one must have a face."""
    from contextlib import closing
    from functools import partial

    import numpy as np

    from idsim.audit.representing import Stages, represent_all
    from idsim.sources.decoding import DecoderPool

    with closing(DecoderPool(1)) as pool:
        contents = pool.decode(partial(path.read_bytes) for path in images)
        found = list(represent_all(contents, part.matcher, len(images), Stages()))
    for path, (record, _) in zip(images, found, strict=True):
        if record["status"] != "ok":
            raise ValueError(f"{path}: {record['reason'] or 'no face was found'}")
    return np.array([vector for _, vector in found], np.float32)


def _show(answer: Answer, names: bool) -> None:
    from idsim.cli.tables import print_table

    title = f"{answer.matcher}, {answer.variant}" if answer.variant else answer.matcher
    rows = [
        (point.name, f"{point.threshold:.4f}", str(point.images), str(point.clusters))
        for point in answer.points
    ]
    print_table(f"{title}: operating points", ("operating point", "threshold", "images", "clusters"), rows)
    nearest = [(match.image if names else match.pseudonym, f"{match.score:.4f}") for match in answer.matches]
    print_table(f"{title}: nearest synthetic images", ("image", "score"), nearest)
    typer.echo(answer.sentence + "\n")
