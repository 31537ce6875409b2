"""The journal: whatever a kill leaves of it opens again, and holds whole transactions only."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from lab.errors import RecordError
from lab.record.journal import TransactionalJournal, read


def _write_study(path: Path, trials: int = 3) -> list[int]:
    """A study of a few transactions; the file's size after each."""
    journal = TransactionalJournal(path)
    sizes = [0]
    with journal.transaction():
        study = optuna.create_study(storage=JournalStorage(journal), study_name="s")
    sizes.append(path.stat().st_size)
    for number in range(trials):
        with journal.transaction():
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.set_user_attr("note", "é \n { ")
        sizes.append(path.stat().st_size)
        with journal.transaction():
            trial.report(0.5, 1)
            study.tell(trial, number)
        sizes.append(path.stat().st_size)
    return sizes


def test_a_file_cut_at_any_byte_opens_and_holds_the_complete_transactions(tmp_path: Path):
    path = tmp_path / "whole"
    sizes = _write_study(path)
    content = path.read_bytes()
    cut = tmp_path / "cut"
    for length in range(len(content) + 1):
        cut.unlink(missing_ok=True)  # to cut off what stands in a file and write it again, a disk takes long
        cut.write_bytes(content[:length])
        complete = max(size for size in sizes if size <= length)
        TransactionalJournal(cut)
        assert cut.read_bytes() == content[:complete]


def test_a_study_goes_on_after_a_cut_in_the_middle_of_a_transaction(tmp_path: Path):
    path = tmp_path / "journal"
    sizes = _write_study(path)
    path.write_bytes(path.read_bytes()[: sizes[-1] - 3])
    study = optuna.load_study(storage=JournalStorage(TransactionalJournal(path)), study_name="s")
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    study.tell(2, 7.0)
    again = optuna.load_study(storage=JournalStorage(TransactionalJournal(path)), study_name="s")
    assert again.trials[2].value == 7.0


def test_a_missing_file_is_an_empty_journal(tmp_path: Path):
    assert len(optuna.create_study(storage=JournalStorage(TransactionalJournal(tmp_path / "none"))).trials) == 0


def test_optuna_reads_the_file_by_itself(tmp_path: Path):
    path = tmp_path / "journal"
    _write_study(path)
    study = optuna.load_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="s")
    assert [t.value for t in study.trials] == [0, 1, 2]
    assert study.trials[0].user_attrs["note"] == "é \n { "


def test_a_file_that_optuna_has_written_goes_on_as_ours(tmp_path: Path):
    path = tmp_path / "journal"
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="s")
    study.tell(study.ask(), 1.0)
    ours = optuna.load_study(storage=JournalStorage(TransactionalJournal(path)), study_name="s")
    ours.tell(ours.ask(), 2.0)
    assert [t.value for t in ours.trials] == [1.0, 2.0]


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"hello \n",
        b"name: digits\n",
        b'{"a": 1}\n',
        b"[1]\n",
        b"1\n2\n",
        b"\n",
        b"\x89PNG\r\n\x1a\n\x00",
        b'{"op_code":0}\nnot json\n{"op_code":0}\n',
    ],
)
def test_a_foreign_file_is_refused_in_one_line_and_left_as_it_is(tmp_path: Path, content: bytes):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="Optuna journal") as caught:
        TransactionalJournal(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_folder_in_its_place_is_refused(tmp_path: Path):
    with pytest.raises(RecordError, match="cannot be read"):
        TransactionalJournal(tmp_path)


def test_a_transaction_is_seen_by_its_writer_before_it_is_on_disk(tmp_path: Path):
    path = tmp_path / "journal"
    journal = TransactionalJournal(path)
    study = optuna.create_study(storage=JournalStorage(journal))
    before = path.stat().st_size
    with journal.transaction():
        trial = study.ask()
        trial.set_user_attr("a", 1)
        assert study.trials[0].user_attrs == {"a": 1}
        assert path.stat().st_size == before
    assert path.stat().st_size > before


def test_transactions_nest_and_an_exception_keeps_what_memory_has_applied(tmp_path: Path):
    path = tmp_path / "journal"
    journal = TransactionalJournal(path)
    study = optuna.create_study(storage=JournalStorage(journal), study_name="s")

    def fail() -> None:
        with journal.transaction(), journal.transaction():
            study.ask()
            raise KeyError("by the user's sampler")

    with pytest.raises(KeyError):
        fail()
    again = optuna.load_study(storage=JournalStorage(TransactionalJournal(path)), study_name="s")
    assert len(again.trials) == len(study.trials) == 1


def test_after_a_full_disk_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "journal"
    journal = TransactionalJournal(path)
    study = optuna.create_study(storage=JournalStorage(journal), study_name="s")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(RecordError, match="No space left on device"):
            study.ask()
    size = path.stat().st_size
    with pytest.raises(RecordError, match="make room, then resume"):
        study.ask()
    assert path.stat().st_size == size
    resumed = optuna.load_study(storage=JournalStorage(TransactionalJournal(path)), study_name="s")
    resumed.ask()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.text(max_size=40), min_size=1, max_size=5), min_size=1, max_size=60))
def test_cut_at_every_byte_of_its_end_a_journal_opens_with_all_that_was_acknowledged(
    tmp_path: Path, transactions: list[list[str]]
):
    path, cut = tmp_path / "whole", tmp_path / "cut"
    path.unlink(missing_ok=True)
    journal = TransactionalJournal(path)
    acknowledged: list[tuple[int, int]] = [(0, 0)]
    """After each transaction: the file's size, and the entries so far."""
    entries: list[dict[str, object]] = []
    for texts in transactions:
        with journal.transaction():
            for text in texts:
                entry: dict[str, object] = {"op_code": 8, "note": text}
                journal.append_logs([entry])
                entries.append(entry)
        acknowledged.append((path.stat().st_size, len(entries)))
    content = path.read_bytes()
    first = max(len(content) - 4096, 0)
    cut.unlink(missing_ok=True)
    cut.write_bytes(content[:first])
    with cut.open("ab", buffering=0) as growing:
        for length in range(first, len(content) + 1):
            size, count = max(pair for pair in acknowledged if pair[0] <= length)
            assert read(cut) == (entries[:count], size)
            growing.write(content[length : length + 1])
    assert list(TransactionalJournal(cut).read_logs(0)) == entries


def test_threads_that_wait_for_the_disk_wait_for_one_write_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = TransactionalJournal(tmp_path / "journal", syncs=False)
    study = optuna.create_study(storage=JournalStorage(journal))
    begun, goes_on, count = threading.Event(), threading.Event(), []

    def disk(_: int) -> None:
        count.append(1)
        begun.set()
        assert goes_on.wait(20)

    monkeypatch.setattr(os, "fsync", disk)
    study.ask()
    assert not count, "nobody has asked for it"
    threads = [threading.Thread(target=journal.sync)]
    threads[0].start()
    assert begun.wait(20)
    for _ in range(3):  # while the first is being written
        study.ask()
        threads.append(threading.Thread(target=journal.sync))
        threads[-1].start()
    goes_on.set()
    for thread in threads:
        thread.join(20)
    assert len(count) == 2
    journal.sync()
    assert len(count) == 2


def test_what_the_disk_has_not_taken_is_never_said_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = TransactionalJournal(tmp_path / "journal", syncs=False)
    optuna.create_study(storage=JournalStorage(journal))

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(RecordError, match="cannot be written"):
            journal.sync()
    with pytest.raises(RecordError, match="cannot be written"):
        journal.sync()
