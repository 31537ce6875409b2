"""Tables from files: every form, and what pandas would silently make something else of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lab.errors import SpecError, TaskError
from lab.tasks.table.dialect import Dialect
from lab.tasks.table.frame import need_columns, read_frame
from lab.tasks.table.values import typed_frame
from tests.own_data import table, write_table


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_every_form_gives_the_same_table(suffix: str, tmp_path: Path):
    frame = table()
    pd.testing.assert_frame_equal(typed_frame(read_frame(write_table(tmp_path / f"t.{suffix}", frame))), frame)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    (tmp_path / "t.csv").write_text("\ufeffa,b\n1,2\n", encoding="utf-8")
    assert list(read_frame(tmp_path / "t.csv").columns) == ["a", "b"]


def test_missing_values_are_those_of_data_sets_and_not_words(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n?, x\nNA,none\nn/a,nil\nnull,-\n")
    frame = read_frame(tmp_path / "t.csv")
    assert frame["a"].isna().all()
    assert frame["b"].tolist() == ["x", "none", "nil", "-"]


def test_cells_of_a_csv_are_what_is_written_there(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b,c\n001, x ,True\n1e3,,1.50\n")
    assert read_frame(tmp_path / "t.csv").fillna("").to_numpy().tolist() == [["001", "x", "True"], ["1e3", "", "1.50"]]


def test_a_number_that_stands_for_no_value_is_meant_however_it_is_written(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n-999,x\n-999.0,y\n-99,-999\n-0999,z\n")
    frame = read_frame(tmp_path / "t.csv", Dialect(missing=["-999"]))
    assert frame["a"].isna().tolist() == [True, True, False, False]
    assert frame["b"].isna().tolist() == [False, False, True, False]


def test_a_later_parquet_holds_missing_values_in_words_too_but_for_what_was_a_level(tmp_path: Path):
    path = write_table(tmp_path / "t.parquet", table(3).assign(letter=["NA", "?", "x"]))
    assert read_frame(path)["letter"].tolist() == ["NA", "?", "x"]
    assert read_frame(path, levels={"letter": ("NA", "x")})["letter"].isna().tolist() == [False, True, False]


def test_a_column_that_a_parquet_keeps_as_its_index_is_a_column(tmp_path: Path):
    path = write_table(tmp_path / "t.parquet", table().set_index("letter"))
    assert set(read_frame(path).columns) == {"number", "letter", "day", "answer"}
    shuffled = write_table(tmp_path / "u.parquet", table().sample(frac=1, random_state=0))
    assert isinstance(read_frame(shuffled).index, pd.RangeIndex)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "does not exist"),
        ("t.xlsx", b"a", "is neither .csv, .tsv nor .parquet"),
        ("t.csv", b"", "cannot be read"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,a,b\n1,2,3\n", "has column 'a' twice"),
        ("t.csv", b"a,b\n1,2,3\n4,5,6\n", r"its rows have more values than its first row has names"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read"),
        (
            "t.csv",
            b"a;b\n1;2\n",
            "its columns are separated by ';'; a .csv needs commas, a .tsv tabs, or say task.sepa",
        ),
        ("t.tsv", b"a,b\n1,2\n", "its columns are separated by ','"),
        (
            "t.csv",
            "a,b\né,2\n".encode("latin-1"),
            "is not UTF-8 in line 2; save it as UTF-8, or say what it is: task.encoding, such as cp1",
        ),
        ("t.csv", b"a,b\n" + 60_000 * b"1,2\n" + b"\xe9,2\n", "is not UTF-8 in line 60002; save it"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "is not UTF-8 in line 1; save it .* such as utf-16"),
        ("t.csv", b"a;b\n1,5;2,5\n", "separated by ';'; a .csv needs commas"),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(name: str, content: bytes | None, message: str, tmp_path: Path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=message) as caught:
        read_frame(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-8-sig", "shift_jis"])
def test_an_encoding_that_is_asked_for_is_read(encoding: str, tmp_path: Path):
    word = "猫" if encoding == "shift_jis" else "café"
    (tmp_path / "t.csv").write_bytes(f"a,{word}\n1,{word}\n".encode(encoding))
    frame = read_frame(tmp_path / "t.csv", Dialect(encoding=encoding))
    assert frame.to_dict("list") == {"a": ["1"], word: [word]}


def test_a_file_in_another_encoding_than_was_asked_for_is_refused(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes("a,b\n1,é\n".encode())
    with pytest.raises(TaskError, match=r"t\.csv: is not ascii in line 2; say another task\.encoding"):
        read_frame(tmp_path / "t.csv", Dialect(encoding="ascii"))


@pytest.mark.parametrize("mark", [";", "|", "\t", " "])
def test_a_separator_that_is_asked_for_is_read(mark: str, tmp_path: Path):
    (tmp_path / "t.csv").write_text(f"a{mark}b\n1{mark}x\n")
    assert read_frame(tmp_path / "t.csv", Dialect(separator=mark)).to_dict("list") == {"a": ["1"], "b": ["x"]}


def test_another_separator_than_was_asked_for_is_told(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    with pytest.raises(TaskError, match=r"separated by ','; task\.separator is ';', or say task\.separator: ','"):
        read_frame(tmp_path / "t.csv", Dialect(separator=";"))


@pytest.mark.parametrize(
    ("separator", "decimal", "expected"),
    [
        (";", None, ["1.5", "-0.25", "1234.5", "1.234", "7", "1.5e3", "1,2,3", "a,b"]),
        (";", ",", ["1.5", "-0.25", "1234.5", "1234", "7", "1.5e3", "1,2,3", "a,b"]),
        (";", ".", ["1,5", "-,25", "1.234,5", "1.234", "7", "1,5e3", "1,2,3", "a,b"]),
        ("|", None, ["1,5", "-,25", "1.234,5", "1.234", "7", "1,5e3", "1,2,3", "a,b"]),
    ],
)
def test_a_decimal_comma_is_read_beside_a_semicolon_or_when_asked_for(
    separator: str, decimal: str | None, expected: list[str], tmp_path: Path
):
    cells = ["1,5", "-,25", "1.234,5", "1.234", "7", "1,5e3", "1,2,3", "a,b"]
    (tmp_path / "t.csv").write_text("\n".join(f"{cell}{separator}x" for cell in ["v", *cells]))
    values = read_frame(tmp_path / "t.csv", Dialect(separator=separator, decimal=decimal))["v"].tolist()
    assert [cell.replace("-.25", "-0.25") for cell in values] == expected


def test_a_folder_is_no_table(tmp_path: Path):
    with pytest.raises(TaskError, match=r"is a folder; a table is one \.csv or \.parquet file"):
        read_frame(tmp_path)


def test_a_missing_column_is_named_with_the_nearest():
    with pytest.raises(
        SpecError, match=r"^task.target: there is no column 'anwser' \(did you mean 'answer'\?\); columns: number, "
    ):
        need_columns(table(), ["anwser"], "task.target")
