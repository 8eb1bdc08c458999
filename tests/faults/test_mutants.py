"""The list of mutants fits the program; `make mutants` runs it."""

from tests.faults.mutants import MUTANTS, wrong_texts


def test_each_mutant_has_one_place_in_the_program():
    """At least twenty, each text once in its file, each with a test that is there."""
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert wrong_texts() == []
