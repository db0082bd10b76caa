"""docs/reliability.md says what the tests that inject faults show, and names no test that is not there."""

from fault_matrix import BEGIN, FAULTS, PAGE, missing, table, with_table


def test_every_fault_has_tests_that_are_there() -> None:
    assert missing() == []
    assert all(fault.tests for fault in FAULTS)


def test_the_page_holds_the_matrix_as_it_is() -> None:
    page = PAGE.read_text()
    assert BEGIN in page
    assert table() in page
    assert with_table(page) == page
