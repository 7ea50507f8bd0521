"""The page that tells of the faults is up to date."""

from fault_table import PAGE, page


def test_the_page_is_what_would_be_made() -> None:
    assert PAGE.read_text() == page(), "run python tests/faults/fault_table.py"
