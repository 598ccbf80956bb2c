"""What `make mutants` found: enough is killed, and the pages say it."""

from tests.mutants import __main__ as mutants


def test_the_pages_say_what_the_results_do():
    assert (mutants.HERE / "README.md").read_text() == mutants.report()
    sentence = mutants.summary(mutants.results(), mutants.reasons())
    assert sentence in (mutants.ROOT / "CONTRIBUTING.md").read_text()


def test_nine_of_ten_mutants_that_change_something_are_killed():
    tried, same, alive = mutants.counts(mutants.results(), mutants.reasons())
    assert tried > 2000
    assert alive < (tried - same) / 10


def test_every_mutant_that_was_tried_is_killed_or_listed():
    for module, entry in mutants.results().items():
        killed = sum(entry.get(kind, 0) for kind in mutants.COUNTED)
        assert entry["tried"] == killed + len(entry["alive"]), module
