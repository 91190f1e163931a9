"""Runs with a known truth, and what their figures should show, computed from the vectors without idsim."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Canvas

from idsim.audit.proving.made_up import Population, make_population, write_population

NAMES = ("synthetic", "training", "holdout")
SMALL = Population(persons=80, clusters=70, leaks=16, dim=40, seed=5)

# A matcher may be called anything: HTML, LaTeX, Markdown, mathematics, control characters, text turned around.
HOSTILE = '<script>a</script>$x^2_y$ [l](http://e.vil) | *b* \\input{c} & "q" \u202e\x1b[31m `d` 日本'

TAIL = """
[statistics]
bootstrap = 200
permutations = 199

[analysis]
literature = "no"
manifold = "no"
"""


def write_run(folder, population=SMALL, name="made-up", holdout=None):
    """Write made-up sets and their scan; of the holdout only so many persons where `holdout` is given."""
    made = make_population(population)
    config = write_population(made, folder)
    if holdout is not None:
        keep = made.labels["holdout"] < holdout
        # Every second person of the smaller holdout has one image instead of two.
        keep &= ~((made.labels["holdout"] % 2 == 0) & (np.arange(len(keep)) % 2 == 1))
        np.save(folder / "holdout.npy", made.vectors["holdout"][keep])
        np.save(folder / "holdout-persons.npy", np.load(folder / "holdout-persons.npy")[keep])
    text = config.read_text().replace("fpir = [0.01]", "fpir = [0.1]").replace("[1e-5]", "[5e-3, 1e-8]")
    quoted = "".join(f"\\u{ord(letter):04x}" for letter in name)
    config.write_text(text.replace('name = "made-up"', f'name = "{quoted}"') + TAIL, encoding="utf-8")
    return config


def write_several(folder):
    """Write made-up sets for two matchers, the second of which sees them through noise."""
    made = make_population(SMALL)
    config = write_population(made, folder)
    rng = np.random.default_rng(3)
    for name, vectors in made.vectors.items():
        noisy = vectors + 0.45 * rng.standard_normal(vectors.shape) / np.sqrt(SMALL.dim)
        np.save(folder / f"{name}-b.npy", (noisy / np.linalg.norm(noisy, axis=1)[:, None]).astype(np.float32))
    text = '[run]\nname = "two"\ndir = "."\n'
    for name in NAMES:
        text += f'[{name}]\nlabels = "{name}-{"clusters" if name == "synthetic" else "persons"}.npy"\n'
    for label, end in (("first", ""), ("second_one", "-b")):
        paths = "".join(f'{name} = "{name}{end}.npy"\n' for name in NAMES)
        text += f'[[matcher]]\nname = "{label}"\nkind = "embeddings"\nmetric = "cosine"\n{paths}'
    config.write_text(f"{text}[calibration]\nfpir = [0.1]\n{TAIL}")
    return config


class Sets:
    """The vectors and labels of a scan of embeddings, and all scores between them."""

    def __init__(self, folder, end=""):
        rows = {name: np.load(folder / f"{name}{end}.npy").astype(np.float64) for name in NAMES}
        self.vectors = {name: found / np.linalg.norm(found, axis=1)[:, None] for name, found in rows.items()}
        self.labels = {
            name: np.unique(
                np.load(folder / f"{name}-{'clusters' if name == 'synthetic' else 'persons'}.npy"),
                return_inverse=True,
            )[1]
            for name in NAMES
        }

    def scores(self, rows, columns):
        """As the engine gives them: float32. Thresholds may be the next number beside a score."""
        return (self.vectors[rows] @ self.vectors[columns].T).astype(np.float32)

    def own(self, name):
        """Scores of pairs of images of one person, and of different persons."""
        scores, labels = self.scores(name, name), self.labels[name]
        above = np.triu(np.ones(scores.shape, bool), 1)
        same = labels[:, None] == labels[None, :]
        return scores[above & same], scores[above & ~same]

    def hits(self, gallery, threshold):
        """(synthetic image, person) pairs that reach a threshold."""
        images, columns = np.nonzero(self.scores("synthetic", gallery) >= np.float32(threshold))
        return set(zip(images.tolist(), self.labels[gallery][columns].tolist(), strict=True))

    def clusters_per_person(self, gallery, threshold):
        clusters = self.labels["synthetic"]
        found = {(int(clusters[image]), person) for image, person in self.hits(gallery, threshold)}
        return np.bincount([person for _, person in found], minlength=self.labels[gallery].max() + 1)


def drawn(figure):
    """The axes of a figure, drawn."""
    canvas = Canvas(figsize=figure.size)
    figure.draw(canvas)
    return canvas.axes


def line(axes, label):
    """x and y of the line with a label."""
    (found,) = [entry for entry in axes.lines if entry.get_label() == label]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def by_kind(figures, kind):
    (found,) = [figure for figure in figures if figure.kind == kind]
    return found
