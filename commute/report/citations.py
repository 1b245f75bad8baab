"""What to cite for a verdict: the sources of what it used, and this package."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from commute.proofs.verdict import Verdict

_NAMED = 2  # authors that are all named where a work is told in a line


@dataclass(frozen=True, eq=False)
class Work:
    """A source.

    Attributes:
        key: of its BibTeX entry.
        kind: of its BibTeX entry.
        authors: first names first.
        title: as published.
        year: of publication.
        details: the entry's other fields.
    """

    key: str
    kind: str
    authors: tuple[str, ...]
    title: str
    year: int
    details: Mapping[str, str]

    @property
    def bibtex(self) -> str:
        """The BibTeX entry."""
        fields = {"author": " and ".join(self.authors), "title": f"{{{self.title}}}", "year": str(self.year), **self.details}
        return "\n".join([f"@{self.kind}{{{self.key},", *(f"  {k} = {{{v}}}," for k, v in fields.items()), "}"])

    def __str__(self) -> str:
        families = [a.strip("{}") if a.startswith("{") else a.split()[-1] for a in self.authors]
        told = " and ".join(families) if len(families) <= _NAMED else f"{families[0]} et al."
        return f"{told} ({self.year}), {self.title}"


def _arxiv(eprint: str, /, **details: str) -> dict[str, str]:
    return {**details, "eprint": eprint, "archiveprefix": "arXiv"}


ABSTRACTION = Work(
    "geiger2025abstraction",
    "article",
    (
        "Atticus Geiger",
        "Duligur Ibeling",
        "Amir Zur",
        "Maheep Chaudhary",
        "Sonakshi Chauhan",
        "Jing Huang",
        "Aryaman Arora",
        "Zhengxuan Wu",
        "Noah Goodman",
        "Christopher Potts",
        "Thomas Icard",
    ),
    "Causal Abstraction: A Theoretical Foundation for Mechanistic Interpretability",
    2025,
    _arxiv("2301.04709", journal="Journal of Machine Learning Research", volume="26", number="83", pages="1--64"),
)
INTERCHANGE = Work(
    "geiger2021abstractions",
    "inproceedings",
    ("Atticus Geiger", "Hanson Lu", "Thomas Icard", "Christopher Potts"),
    "Causal Abstractions of Neural Networks",
    2021,
    _arxiv("2106.02997", booktitle="Advances in Neural Information Processing Systems", volume="34", pages="9574--9586"),
)
PATCHING = Work(
    "goldowskydill2023localizing",
    "misc",
    ("Nicholas Goldowsky-Dill", "Chris MacLeod", "Lucas Sato", "Aryaman Arora"),
    "Localizing Model Behavior with Path Patching",
    2023,
    _arxiv("2304.05969"),
)
DAS = Work(
    "geiger2024alignments",
    "inproceedings",
    ("Atticus Geiger", "Zhengxuan Wu", "Christopher Potts", "Thomas Icard", "Noah Goodman"),
    "Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations",
    2024,
    _arxiv("2303.02536", booktitle="Causal Learning and Reasoning", series="PMLR", volume="236", pages="160--187"),
)
BOUNDLESS = Work(
    "wu2023interpretability",
    "inproceedings",
    ("Zhengxuan Wu", "Atticus Geiger", "Thomas Icard", "Christopher Potts", "Noah Goodman"),
    "Interpretability at Scale: Identifying Causal Mechanisms in Alpaca",
    2023,
    _arxiv("2305.08809", booktitle="Advances in Neural Information Processing Systems", volume="36"),
)
BINARY_MASK = Work(
    "davies2023desiderata",
    "misc",
    ("Xander Davies", "Max Nadeau", "Nikhil Prakash", "Tamar Rott Shaham", "David Bau"),
    "Discovering Variable Binding Circuitry with Desiderata",
    2023,
    _arxiv("2307.03637"),
)
NONLINEAR = Work(
    "sutter2025nonlinear",
    "inproceedings",
    ("Denis Sutter", "Julian Minder", "Thomas Hofmann", "Tiago Pimentel"),
    "The Non-Linear Representation Dilemma: Is Causal Abstraction Enough for Mechanistic Interpretability?",
    2025,
    _arxiv("2507.08802", booktitle="Advances in Neural Information Processing Systems"),
)
ILLUSION = Work(
    "makelov2024subspace",
    "inproceedings",
    ("Aleksandar Makelov", "Georg Lange", "Atticus Geiger", "Neel Nanda"),
    "Is This the Subspace You Are Looking for? An Interpretability Illusion for Subspace Activation Patching",
    2024,
    _arxiv("2311.17030", booktitle="International Conference on Learning Representations"),
)
DIVERGENCE = Work(
    "grant2025divergent",
    "misc",
    ("Satchel Grant", "Simon Jerome Han", "Alexa Tartaglini", "Christopher Potts"),
    "Addressing Divergent Representations from Causal Interventions on Neural Networks",
    2025,
    _arxiv("2511.04638"),
)
IDENTIFIABLE = Work(
    "meloux2025everything",
    "inproceedings",
    ("Maxime Méloux", "Silviu Maniu", "François Portet", "Maxime Peyrard"),
    "Everything, Everywhere, All at Once: Is Mechanistic Interpretability Identifiable?",
    2025,
    _arxiv("2502.20914", booktitle="International Conference on Learning Representations"),
)
EXACT = Work(
    "clopper1934fiducial",
    "article",
    ("C. J. Clopper", "E. S. Pearson"),
    "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial",
    1934,
    {"journal": "Biometrika", "volume": "26", "number": "4", "pages": "404--413", "doi": "10.1093/biomet/26.4.404"},
)
HOLM = Work(
    "holm1979sequentially",
    "article",
    ("Sture Holm",),
    "A Simple Sequentially Rejective Multiple Test Procedure",
    1979,
    {"journal": "Scandinavian Journal of Statistics", "volume": "6", "number": "2", "pages": "65--70"},
)
COMPATIBLE = Work(
    "strassburger2008compatible",
    "article",
    ("Klaus Strassburger", "Frank Bretz"),
    "Compatible Simultaneous Lower Confidence Bounds for the Holm Procedure and Other Bonferroni-Based Closed Tests",
    2008,
    {"journal": "Statistics in Medicine", "volume": "27", "number": "24", "pages": "4914--4927"},
)
UNION = Work(
    "berger1982multiparameter",
    "article",
    ("Roger L. Berger",),
    "Multiparameter Hypothesis Testing and Acceptance Sampling",
    1982,
    {"journal": "Technometrics", "volume": "24", "number": "4", "pages": "295--300", "doi": "10.1080/00401706.1982.10487790"},
)
SEQUENCE = Work(
    "howard2021sequences",
    "article",
    ("Steven R. Howard", "Aaditya Ramdas", "Jon McAuliffe", "Jasjeet Sekhon"),
    "Time-Uniform, Nonparametric, Nonasymptotic Confidence Sequences",
    2021,
    _arxiv("1810.08240", journal="The Annals of Statistics", volume="49", number="2", pages="1055--1080"),
)
BETTING = Work(
    "waudbysmith2024betting",
    "article",
    ("Ian Waudby-Smith", "Aaditya Ramdas"),
    "Estimating Means of Bounded Random Variables by Betting",
    2024,
    _arxiv("2010.09686", journal="Journal of the Royal Statistical Society Series B", volume="86", number="1", pages="1--27"),
)
HYPOTHESIS = Work(
    "maciver2019hypothesis",
    "article",
    ("David R. MacIver", "Zac Hatfield-Dodds", "others"),
    "Hypothesis: A New Approach to Property-Based Testing",
    2019,
    {"journal": "Journal of Open Source Software", "volume": "4", "number": "43", "pages": "1891", "doi": "10.21105/joss.01891"},
)

METHODS = {
    "BinaryMask": BINARY_MASK,
    "BoundlessDAS": BOUNDLESS,
    "DAS": DAS,
    "FullVector": INTERCHANGE,
    "NonlinearDAS": NONLINEAR,
}
CHECKS = {
    "random subspace": NONLINEAR,
    "re-initialised network": NONLINEAR,
    "permuted algorithm": NONLINEAR,
    "null space": ILLUSION,
    "divergence": DIVERGENCE,
    "rivals": IDENTIFIABLE,
    "stability": IDENTIFIABLE,
    "counterexample search": HYPOTHESIS,
}


def cited(verdict: Verdict) -> dict[Work, list[str]]:
    """The sources of what a verdict used, each with what it is the source of; this package comes first."""
    found: dict[Work, list[str]] = {_package(): ["the verdict"]}

    def cite(work: Work, what: str) -> None:
        found.setdefault(work, []).append(what)

    cite(ABSTRACTION, "causal abstraction")
    if verdict.circuit:
        cite(PATCHING, "exchanging what flows along edges")
        cite(EXACT, "exact binomial bounds")
    if verdict.accuracy is None:
        return found
    cite(INTERCHANGE, "interchange interventions")
    if verdict.method in METHODS:
        cite(METHODS[verdict.method], f"search by {verdict.method}")
    for item in dict.fromkeys((*verdict.battery, *(e.name for e in verdict.controls))):
        if item in CHECKS:
            cite(CHECKS[item], item)
    cite(EXACT, "exact binomial bounds")
    if not verdict.accuracy.independent:  # the number of pairs depended on the answers
        cite(SEQUENCE, "bounds that hold whenever one looks")
        cite(BETTING, "bounds that hold whenever one looks")
    for work in (HOLM, COMPATIBLE, UNION):
        cite(work, "bounds that hold for all slices at once")
    return found


def _package() -> Work:
    title = "commute: causal-abstraction verification for neural networks"
    return Work("commute", "software", ("{The commute authors}",), title, 2026, {"version": version("commute")})
