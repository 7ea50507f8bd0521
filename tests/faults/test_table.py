"""Every fault has a test or a reason, and the page that tells of them is up to date."""

from fault_rows import CHAPTERS, ROWS
from fault_table import PAGE, page, rows_tested


def test_every_row_is_tested_or_answered_by_a_reason() -> None:
    tests = rows_tested()
    assert sorted(ROWS) == list(range(1, 65)) == sorted(row for rows in CHAPTERS.values() for row in rows)
    assert not [row for row in ROWS if not (tests[row] or ROWS[row].remark)]
    assert set(tests) <= set(ROWS)


def test_a_row_that_promises_nothing_says_why_and_all_others_are_tested() -> None:
    tests = rows_tested()
    untested = {row for row in ROWS if not tests[row]}
    assert untested == {row for row, entry in ROWS.items() if entry.promise == "-"}


def test_the_page_is_what_would_be_made() -> None:
    assert PAGE.read_text() == page(), "run python tests/faults/fault_table.py"
