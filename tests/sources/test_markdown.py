import random

from hypothesis import given
from hypothesis import strategies as st

from ktx.sources.markdown import (
    first_sentence,
    sections,
    slug_of,
    split_front_matter,
    split_parts,
    table,
    title_of,
)

PIECES = [
    "# One\n", "Two\n===\n", "## Three\n\n", "```sql\n# no heading\nselect 1\n```\n", "~~~\n## open fence\n", "| a | b |\n| - | - |\n| 1 | 2 |\n",
    "Refunds count.\n", "\n", "- item\n  ## in a list\n", "> # in a quote\n", "---\n", "text without end", "\r\n", "###### Six\n", "    # code\n", "<div>\n# html\n</div>\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.integers(1, 200))
def test_parts_and_sections_joined_give_the_text_and_parts_keep_their_bound(
    text: str, max_chars: int
) -> None:
    assert "".join(section.text for section in sections(text)) == text
    parts = split_parts(text, max_chars=max_chars)
    assert "".join(part.text for part in parts) == text
    assert all(0 < len(part.text) <= max_chars for part in parts)


def test_headings_in_code_quotes_and_lists_begin_no_section() -> None:
    text = "Intro\n\n# A\n\n```\n# no\n```\n\n> # no\n\n- x\n\n  # no\n\nB\n---\n\n| # | b |\n| - | - |\n\n### C ###\n"
    assert [(part.level, part.title) for part in sections(text)] == [(0, ""), (1, "A"), (2, "B"), (3, "C")]


def test_a_large_text_is_split_at_headings_and_named_by_them() -> None:
    chapters = [
        f"# Chapter {n}\n\n" + "".join(f"## Rule {n}.{m}\n\n{'Refunds count. ' * 60}\n\n" for m in range(6))
        for n in range(8)
    ]
    parts = split_parts("".join(chapters), max_chars=12_000)
    assert [part.title for part in parts] == [f"Chapter {n}" for n in range(0, 8, 2)]
    small = split_parts(chapters[0], max_chars=2_500)
    assert [part.title for part in small] == ["Chapter 0", "Rule 0.2", "Rule 0.4"]


def test_a_changed_section_changes_its_own_part_only() -> None:
    rng = random.Random(7)
    chapters = [f"# Chapter {n}\n\n{'word ' * rng.randint(1_500, 1_900)}\n\n" for n in range(9)]
    before = split_parts("".join(chapters), max_chars=10_000)
    chapters[4] = chapters[4].replace("word ", "term ", 10)
    after = split_parts("".join(chapters), max_chars=10_000)
    assert len({part.text for part in after} - {part.text for part in before}) == 1


def test_what_has_no_headings_is_split_between_blocks_then_lines() -> None:
    paragraphs = "".join(f"Paragraph {n} says that refunds count.\n\n" for n in range(100))
    assert all(part.text.startswith("Paragraph") for part in split_parts(paragraphs, max_chars=500))
    lines = "```\n" + "".join(f"row {n}\n" for n in range(200)) + "```\n"
    assert all(part.text.endswith("\n") for part in split_parts(lines, max_chars=100))
    assert [len(part.text) for part in split_parts("x" * 25, max_chars=10)] == [10, 10, 5]


def test_front_matter_needs_both_fences() -> None:
    assert split_front_matter("---\na: 1\n---\n\nBody\n") == ("a: 1\n", "Body\n")
    assert split_front_matter("---\r\na: 1\r\n...\r\nBody") == ("a: 1\r\n", "Body")
    assert split_front_matter("---\n\nJust a rule\n") == ("", "---\n\nJust a rule\n")
    assert split_front_matter("Text\n---\na: 1\n---\n") == ("", "Text\n---\na: 1\n---\n")


def test_the_first_sentence_is_plain_text_of_the_first_paragraph() -> None:
    cases = {
        "# T\n\n```\ncode.\n```\n\n- In a list. Yes.\n\nAfter it. More.\n": "After it.",
        "# T\n\n- In a list.\n\n> In a quote.\n": "",
        "Net of [refunds](http://x) and `tax`. Second.": "Net of refunds and tax.",
        "Approx. 3.5 percent, i.e. few. More.": "Approx. 3.5 percent, i.e. few.",
        "![chart](x.png)\n\nA chart says more!": "A chart says more!",
        "純売上は返品を除く。税も除く。": "純売上は返品を除く。",
        "One line\nthat goes on": "One line that goes on",
        "| a |\n| - |\n| 1. |\n": "",
        "***\n\n---\n": "",
    }
    for text, sentence in cases.items():
        assert first_sentence(text) == sentence, text
    assert first_sentence("word " * 100, max_chars=30) == "word word word word word…"


def test_titles_and_slugs_hold_for_any_script() -> None:
    assert title_of("text\n\n## **Umsatz** & `x`\n") == "Umsatz & x"
    assert title_of("#\n\n# Second\n") == "Second"
    assert slug_of("Überfällige Rechnungen!") == "uberfallige-rechnungen"
    assert slug_of("../../etc/passwd") == "etc-passwd"
    assert slug_of("収益") == ""
    assert slug_of("one two three four", max_chars=12) == "one-two"


def test_cells_of_a_table_stay_in_their_cells() -> None:
    assert table(["a"], [["x|y\nz"], ["already \\| escaped"]]).splitlines()[2:] == [
        "| x\\|y z |",
        "| already \\| escaped |",
    ]


def test_front_matter_is_no_heading_and_stays_in_the_first_part() -> None:
    text = "---\nsummary: All rules\ntags: [a]\n---\n\n# Rules\n\nRefunds count.\n"
    assert title_of(text) == "Rules"
    assert first_sentence(text) == "Refunds count."
    assert [(part.level, part.title) for part in sections(text)] == [(0, ""), (1, "Rules")]
    parts = split_parts(text + "# More\n\nText.\n", max_chars=75)
    assert [part.title for part in parts] == ["Rules", "More"]
    assert parts[0].text.startswith("---\nsummary")
