"""Classes and labels: their shares, what always naming the commonest scores, thin ones, and names that are alike."""

from __future__ import annotations

import numpy as np

from lab.tasks.classes import (
    alike,
    alike_lines,
    commonest,
    commonest_labels,
    lopsided,
    share_of_each,
    thin_classes,
)
from lab.tasks.description import Description


def test_thin_classes_and_labels_are_told():
    classes = {"train": np.array([0] * 9 + [1, 2]), "valid": np.array([0, 1])}
    assert thin_classes(classes, ["a", "b", "c"]) == (
        "train has few examples of classes b (1), c (1); scores say little of them",
        "valid has no example of class c; scores say little of them",
    )
    labels = {"train": np.array([[1, 0]] * 9 + [[1, 1]]), "test": np.array([[0.0, 1.0]])}
    assert thin_classes(labels, ["a", "b"]) == (
        "train has few examples of label b (1); scores say little of them",
        "test has no example of label a; scores say little of them",
    )


def test_the_share_of_each_class_and_label_is_told():
    rows = np.array([0] * 5 + [1] * 95)
    assert share_of_each(rows, ["fraud", "ok"]) == "shares of classes in training: ok 0.95 (95), fraud 0.05 (5)"
    labels = np.array([[1, 0], [1, 1], [0, 0], [1, 0]])
    assert share_of_each(labels, ["sun", "sea"]) == "shares of labels in training: sun 0.75 (3), sea 0.25 (1)"
    many = np.repeat(np.arange(12), np.arange(12, 0, -1))
    assert share_of_each(many, [str(i) for i in range(12)]) == (
        "shares of classes in training: 0 0.154 (12), 1 0.141 (11), 2 0.128 (10), 3 0.115 (9), 4 0.103 (8), "
        "... (12 in all), 10 0.0256 (2), 11 0.0128 (1)"
    )


def test_what_always_naming_the_commonest_class_scores_is_told():
    train, valid = np.array([1] * 199 + [0]), np.array([1] * 39 + [0])
    assert commonest(train, valid, ["fraud", "ok"]) == "always saying ok scores accuracy 0.975 on the validation rows"
    assert lopsided(train, valid, ["fraud", "ok"]) == (
        "classes are of very different sizes: 199 training rows of ok to one of fraud; always saying ok scores "
        "accuracy 0.975 on the validation rows already"
    )
    assert lopsided(np.array([1] * 19 + [0]), valid, ["fraud", "ok"]) is None
    assert lopsided(np.array([1] * 19), valid, ["fraud", "ok"]) is None  # of a class without rows another line tells


def test_what_always_naming_the_same_labels_scores_is_told():
    train = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 1, 1]])
    line = commonest_labels(train, np.array([[1.0, 0, 0], [1, 1, 0]]))
    assert line == "always saying the 2 commonest labels scores micro F1 0.857 on the validation rows"  # 2 * 3 / 7


def test_names_that_differ_by_case_spaces_or_the_encoding_of_a_letter_are_alike():
    assert alike(["yes", "no", "Yes", "NO", "No", "maybe"]) == (("yes", "Yes"), ("no", "NO", "No"))
    assert alike(["new  york", "New York"]) == (("new  york", "New York"),)
    assert alike(["caf\u00e9", "cafe\u0301"]) == (("caf\u00e9", "cafe\u0301"),)
    assert alike(["a", "b", "ab", "a b"]) == ()
    assert alike_lines("classes", ["a", "b"]) == ()
    assert alike_lines("classes", ["yes", "Yes"]) == (
        "classes differ by case or spaces only: 'yes', 'Yes'; if they are one, write them alike",
    )


def test_a_description_is_of_single_lines_whatever_classes_are_called():
    described = Description(("classes: two\nlines",), ("a\r\n  b",))
    assert (described.facts, described.warnings) == (("classes: two lines",), ("a b",))
