"""The ledger of claims, both ways: no claim without a test, no test without its claim."""

import ast
from pathlib import Path

import pytest
from ledger import CITED, KINDS, PART, book_claims, claims_in, markers_in, suite_markers

ROOT = Path(__file__).parent.parent
CLAIMS = {claim.label: claim for claim in book_claims(ROOT / "book")}
MARKERS = suite_markers(ROOT / "tests")
PREFIX = dict(zip(KINDS, ("thm-", "prop-", "lem-", "cor-"), strict=True))


def test_the_book_makes_claims():
    assert CLAIMS
    assert MARKERS


def test_every_label_is_used_once_and_says_its_kind():
    labels = [claim.label for claim in book_claims(ROOT / "book")]
    assert sorted(labels) == sorted(set(labels))
    assert [c for c in CLAIMS.values() if not c.label.startswith(PREFIX[c.kind])] == []


def test_every_claim_is_tested_on_numbers():
    tested = {marker.label for marker in MARKERS if marker.part != "proofs"}
    assert sorted(CLAIMS.keys() - tested) == []


def test_every_claim_is_proved_in_words_or_by_sympy():
    proved = {marker.label for marker in MARKERS if marker.part == "proofs"}
    assert [c.label for c in CLAIMS.values() if not c.in_words and c.label not in proved] == []


def test_every_marker_names_a_claim_of_its_own_chapter():
    homeless = [m for m in MARKERS if m.label not in CLAIMS]
    assert homeless == []
    assert [m for m in MARKERS if m.file != f"test_{CLAIMS[m.label].stem}.py"] == []


def test_every_label_in_a_docstring_is_that_of_a_claim():
    cited = {
        (path.name, label)
        for path in (ROOT / "softmax_notes").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for label in CITED.findall(ast.get_docstring(node) or "")
    }
    assert cited
    assert sorted(pair for pair in cited if pair[1] not in CLAIMS) == []


@pytest.mark.parametrize("stem", sorted({claim.stem for claim in CLAIMS.values()}))
def test_the_tests_of_a_chapter_have_four_parts_in_order(stem):
    lines = (ROOT / "tests" / f"test_{stem}.py").read_text(encoding="utf-8").splitlines()
    parts = [match[1] for line in lines if (match := PART.match(line))]
    assert parts == ["laws", "references", "edges", "proofs"]


CHAPTER = """
# A chapter

````{prf:theorem} Rows of $J$ sum to 0
:label: thm-rows
:class: dropdown

```{math}
x
```
````

Between a claim and its proof there may be text.

:::{prf:proof}
As follows.
:::

```{prf:definition} No claim
:label: def-none
```

  ```{prf:corollary}
  :label: cor-next
  ```

```{prf:lemma} Last
:label: lem-last
```
"""


def test_claims_are_read_from_text():
    rows, corollary, last = claims_in(CHAPTER, "chapter")
    assert rows == ("thm-rows", "theorem", "Rows of $J$ sum to 0", "chapter", True)
    assert corollary == ("cor-next", "corollary", "", "chapter", False)
    assert last == ("lem-last", "lemma", "Last", "chapter", False)


def test_a_claim_without_a_label_is_an_error():
    with pytest.raises(ValueError, match="chapter: the lemma 'Small' has no label"):
        claims_in("```{prf:lemma} Small\nText.\n```\n", "chapter")


SUITE = """
import pytest

# --- laws

@pytest.mark.claim("thm-a")
@pytest.mark.claim("thm-b")
def test_two_claims(): ...

# --- proofs

class TestProofs:
    @pytest.mark.slow
    @pytest.mark.claim("thm-a")
    def test_proof(self): ...
"""


def test_markers_are_read_from_the_syntax_tree():
    assert sorted(markers_in(SUITE, "test_x.py")) == [
        ("thm-a", "test_proof", "test_x.py", "proofs"),
        ("thm-a", "test_two_claims", "test_x.py", "laws"),
        ("thm-b", "test_two_claims", "test_x.py", "laws"),
    ]
