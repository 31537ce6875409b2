"""The page's words in plain ones: each is marked where a section uses it first, and explained at the page's end.

A marked word is a link to its explanation, which serves a keyboard, a touch and a page without JavaScript alike; the
page's script shows the explanation beside the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from lab.report.contents import anchor

_MARK = "<!-- glossary -->"


@dataclass(frozen=True)
class _Term:
    """A word of the page."""

    says: str
    forms: tuple[str, ...] = ()
    """As what else it is met; a plural's s need not be told."""


TERMS = {
    "1cycle": _Term(
        "A schedule of one training: the learning rate rises to max_lr and falls to almost nothing, while momentum goes"
        " the other way."
    ),
    "AUC": _Term(
        "Area under the ROC curve: how probably one of the two kinds gets the higher score; 0.5 is chance, 1 is always."
    ),
    "baseline": _Term("A model of another kind, such as a linear one or a forest, trained on the same examples."),
    "Brier score": _Term(
        "The mean squared distance between predicted probabilities and what came true; 0 is best.", ("brier",)
    ),
    "calibrated": _Term(
        "Probabilities were sharpened or softened so that what is said with 80 % is right about 8 times of 10.",
        ("calibration",),
    ),
    "confirmed": _Term(
        "Trained again on seeds that the search never saw, so that a score is no longer the luckiest of many.",
        ("confirm", "confirmation"),
    ),
    "confusion matrix": _Term("Counts of examples by their true class (rows) and the predicted one (columns)."),
    "control": _Term(
        "Another way to spend a budget that what is handed out has to beat: a single run, more runs, or settings that"
        " need no search."
    ),
    "cyclical": _Term("Trained in several cycles of the learning rate, each of which ends low.", ("several cycles",)),
    "diverged": _Term("The loss grew beyond all measure or was no number: the learning rate was too large."),
    "expected calibration error": _Term(
        "ECE: the mean gap between confidence and the share of right predictions, bin by bin; 0 is best.",
        ("ECE", "calibration_error"),
    ),
    "F1": _Term("The harmonic mean of precision and recall: high only where both are.", ("micro_f1", "macro_f1")),
    "fANOVA share": _Term(
        "How much of the forest's variance over the space one hyperparameter explains by itself (functional analysis of"
        " variance).",
        ("fANOVA",),
    ),
    "fold": _Term("One of the parts into which examples are divided, each left out of training in turn."),
    "forest": _Term(
        "A random forest: regression trees that learn the score from the settings of the trials; what they agree on is"
        " believed.",
        ("random forest",),
    ),
    "Friedman's H": _Term("The part of two hyperparameters' joint effect that no sum of their single effects gives."),
    "infeasible": _Term("It breaks a constraint of the search, so it is neither ranked nor handed out."),
    "interval": _Term(
        "Where the true value lies with the probability that is named, 95 % where none is, as far as seeds or examples"
        " tell."
    ),
    "lane": _Term("A long-lived worker on one share of a device; it trains several trials at once, one in each slot."),
    "nll": _Term(
        "Negative log-likelihood: minus the logarithm of the probability that was given to what came true; less is"
        " better.",
        ("negative log-likelihood",),
    ),
    "out-of-bag R²": _Term(
        "How much of the differences between trials the forest predicts of trials that its trees have not seen; 1 is"
        " all of it, 0 nothing."
    ),
    "Pareto front": _Term("The trials that no other trial beats in both score and cost."),
    "PED-ANOVA": _Term("How far a hyperparameter decides whether a trial is among the best."),
    "permutation": _Term("Importance as what the forest loses when one hyperparameter's values are shuffled."),
    "precision": _Term("Of the examples of which a label is said, the share that has it."),
    "pruned": _Term("Stopped early, since others were better at the same point of their training.", ("pruner",)),
    "pseudo-label": _Term("A label that earlier models said of an unlabelled example, trained on like a given one."),
    "range test": _Term(
        "A short training whose learning rate rises from step to step: it shows from where on the loss falls and where"
        " it breaks."
    ),
    "recall": _Term("Of the examples that have a label, the share of which it is said."),
    "reliability diagram": _Term("The share of right predictions over how sure the model was of them."),
    "residual": _Term("What is predicted less what is true."),
    "slot": _Term("A place in a lane; the trials in a lane's slots are trained together as one stacked model."),
    "snapshot": _Term("A model's weights as they were at the end of a cycle."),
    "support": _Term("How many examples have a class or a label."),
    "temperature": _Term(
        "The number that all logits are divided by to calibrate them; above 1 it makes predictions less sure."
    ),
    "Wilson interval": _Term(
        "A 95 % interval of a share that holds for few examples too.", ("Wilson's 95 % interval",)
    ),
    "without the luck of the choice": _Term(
        "Drawn towards the other candidates' scores by as much of their differences as is noise."
    ),
}
"""By their names; the explanations need none of the others."""

_UNEXPLAINED_WITHIN = (
    "a",
    "button",
    "code",
    "dfn",
    "dl",
    "figcaption",
    "h1",
    "h2",
    "h3",
    "nav",
    "summary",
    "td",
    "time",
    "title",
)
"""Elements in which no word is marked: they are links, headings, or not this package's words."""
_TOKEN = re.compile(r"<(script|style|noscript|pre)\b.*?</\1>|<!--.*?-->|<[^>]*>|[^<]+", re.DOTALL)
_TAG = re.compile(r"<(/?)(\w+)")
_TITLE = re.compile(r"<h2\b", re.IGNORECASE)


def _pattern() -> tuple[re.Pattern[str], dict[str, str]]:
    """What finds all forms, the longest first, and each form's term."""
    term_of = {form.lower(): name for name, term in TERMS.items() for form in (name, *term.forms)}
    forms = sorted(term_of, key=len, reverse=True)
    spaced = ("".join(r"\s+" if letter == " " else re.escape(letter) for letter in form) for form in forms)
    return re.compile(rf"(?<![\w.-])({'|'.join(spaced)})(s?)(?![\w-])", re.IGNORECASE), term_of


_FORMS, _TERM_OF = _pattern()


def with_glossary(html: str) -> str:
    """A page whose words are marked where a section uses them first, with what they say where it asks for that.

    >>> with_glossary("<p>Two lanes, and a third lane.</p><!-- glossary -->").split("<h2>")[0]
    '<p>Two <a class="term" href="#term-lane" aria-describedby="says-lane">lanes</a>, and a third lane.</p>'
    """
    if _MARK not in html:
        return html
    used: set[str] = set()
    marked = "".join(_marked(html, used))
    return marked.replace(_MARK, _section(used))


def _marked(html: str, used: set[str]) -> Iterator[str]:
    here: set[str] = set()
    plain: list[str] = []
    """The open elements in which nothing is marked, and others of their names within them."""
    for match in _TOKEN.finditer(html):
        token = match[0]
        if not token.startswith("<"):
            yield token if plain else _mark(token, here)
            continue
        if _TITLE.match(token):
            used |= here
            here.clear()
        tag = None if match[1] else _TAG.match(token)
        if tag and tag[1] and tag[2] in plain:
            del plain[len(plain) - 1 - plain[::-1].index(tag[2])]
        elif tag and not tag[1] and (tag[2] in (*_UNEXPLAINED_WITHIN, *plain) or "data-plain" in token):
            plain.append(tag[2])
        yield token
    used |= here


def _mark(text: str, here: set[str]) -> str:
    def linked(match: re.Match[str]) -> str:
        name = _TERM_OF[re.sub(r"\s+", " ", match[1].lower())]
        if name in here:
            return match[0]
        here.add(name)
        return f'<a class="term" href="#term-{_id(name)}" aria-describedby="says-{_id(name)}">{match[0]}</a>'

    return _FORMS.sub(linked, text)


def _section(used: set[str]) -> str:
    if not used:
        return ""
    rows = "".join(_row(_id(name), escape(name), escape(TERMS[name].says)) for name in sorted(used, key=str.lower))
    return f'<h2>Glossary</h2>\n<dl class="glossary">{rows}</dl>'


def _row(id_: str, name: str, says: str) -> str:
    return f'<dt id="term-{id_}"><dfn>{name}</dfn></dt><dd id="says-{id_}">{says}</dd>'


def _id(name: str) -> str:
    return anchor(name.replace("²", "2"))
