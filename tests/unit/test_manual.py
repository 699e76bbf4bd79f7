"""Manual pages and completions: made from the commands, so that they say what --help says."""

from __future__ import annotations

import pytest

from scripts import build_manual

PROGRAM = build_manual.commands()
COMMANDS = {command.page: command for command in build_manual.all_of(PROGRAM)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_option_with_its_help(name: str) -> None:
    page = build_manual.manual(COMMANDS[name])
    for option in COMMANDS[name].options:
        assert f".B {build_manual.escape(build_manual.spelling(option))}\n" in page
        assert build_manual.escape(option.help) in page


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.below])
def test_every_command_shows_an_example_of_itself(name: str) -> None:
    page = build_manual.manual(COMMANDS[name])
    words = build_manual.escape(" ".join(COMMANDS[name].words))
    assert f".EX\n{words}" in page


def test_the_program_s_page_lists_the_commands() -> None:
    page = build_manual.manual(PROGRAM)
    for command in PROGRAM.below:
        assert f".BR {build_manual.escape(command.page)} (1)\n{build_manual.escape(command.summary)}" in page


@pytest.mark.parametrize(
    ("text", "roff"),
    [("a-b", r"a\-b"), ("it's", r"it\(aqs"), (".TH", r"\&.TH"), ("'x", r"\&\(aqx"), ("a\\b", r"a\eb")],
)
def test_text_is_not_taken_for_roff(text: str, roff: str) -> None:
    assert build_manual.escape(text) == roff


def test_bash_offers_the_words_of_the_command_at_hand() -> None:
    text = build_manual.bash(PROGRAM)
    assert '"") words="' in text
    assert '"override") words="remove replace reset --help"' in text
    line = next(line for line in text.splitlines() if line.lstrip().startswith('"install") words='))
    assert {"--debconf", "-C", "--no-recommends", "--sysroot"} <= set(
        line.partition('words="')[2].rstrip('" ;').split()
    )


def test_fish_offers_commands_and_options() -> None:
    text = build_manual.fish(PROGRAM)
    assert "-n '__fish_use_subcommand' -f -a install -d " in text
    assert "-n '__fish_seen_subcommand_from install' -s C -l cache-only -d " in text
    assert "-l debconf -r -d 'Answers to packages\\' questions" in text
