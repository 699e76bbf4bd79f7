#!/usr/bin/env python3
"""Write the manual pages and shell completions, from the commands as the program itself knows them.

    build_manual.py DIRECTORY

makes DIRECTORY/man1/apt-ostree.1 and a page for each command, and completions for bash (zsh reads them, too)
and fish. The words are those of --help.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from apt_ostree import __version__

# Importing main makes the commands.
from apt_ostree.cli import command as cli
from apt_ostree.cli import main as _  # noqa: F401

EXIT_STATUS = (
    ("0", "Done, or nothing to do."),
    ("1", "Failed; the system is as it was before."),
    ("2", "The command line, or a file that it names, is not valid."),
    ("77", "Nothing to do, or nothing newer; only with options that ask for this status."),
    ("128+N", "Ended by signal N."),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command and what it takes; ``words`` are the program's name and the command's."""

    words: tuple[str, ...]
    text: str
    parameters: tuple[Any, ...]
    below: tuple[Command, ...] = ()

    @property
    def summary(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def page(self) -> str:
        return "-".join(self.words)

    @property
    def arguments(self) -> list[Any]:
        return [p for p in self.parameters if p.param_type_name == "argument"]

    @property
    def options(self) -> list[Any]:
        return [p for p in self.parameters if p.param_type_name == "option"]


def commands() -> Command:
    """The program, with all its commands below it."""
    return _command(typer.main.get_command(cli.app), ("apt-ostree",))


def _command(found: Any, words: tuple[str, ...]) -> Command:
    below = [_command(inner, (*words, name)) for name, inner in getattr(found, "commands", {}).items()]
    return Command(words, (found.help or "").strip(), tuple(p for p in found.params if p.name != "help"), tuple(below))


def all_of(command: Command) -> Iterator[Command]:
    yield command
    for inner in command.below:
        yield from all_of(inner)


def spelling(option: Any) -> str:
    """An option as a manual page writes it: all its names, and what it takes."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper()}"


def escape(text: str) -> str:
    """Text that roff takes literally (groff_man(7))."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\n".join(f"\\&{line}" if line.startswith((".", "\\(aq")) else line for line in text.splitlines())


def manual(command: Command) -> str:
    """The page of one command, in section 1."""
    name = " ".join(command.words)
    summary = command.summary.rstrip(".")
    lines = [
        f'.TH "{command.page.upper()}" 1 "" "apt\\-ostree {__version__}"',
        ".SH NAME",
        f"{escape(command.page)} \\- {escape(summary[:1].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f".B {escape(name)}",
        escape(
            "[OPTION...] " + ("COMMAND ..." if command.below else " ".join(a.metavar or "" for a in command.arguments))
        ),
        ".SH DESCRIPTION",
    ]
    for paragraph in command.text.split("\n\n"):
        if paragraph.startswith("Example: "):
            lines += [".SH EXAMPLE", ".EX", escape(paragraph.removeprefix("Example: ")), ".EE"]
        else:
            lines += [".PP", escape(" ".join(paragraph.split()))]
    if command.below:
        lines += [".SH COMMANDS"]
        for inner in command.below:
            lines += [".TP", f".BR {escape(inner.page)} (1)", escape(inner.summary)]
    for title, parameters in (("ARGUMENTS", command.arguments), ("OPTIONS", command.options)):
        if parameters:
            lines += [f".SH {title}"]
        for parameter in parameters:
            shown = spelling(parameter) if title == "OPTIONS" else parameter.metavar or parameter.name
            lines += [".TP", f".B {escape(shown)}", escape(parameter.help or "")]
    lines += [".SH EXIT STATUS"]
    for status, text in EXIT_STATUS:
        lines += [".TP", f".B {status}", escape(text)]
    if len(command.words) > 1:
        lines += [".SH SEE ALSO", f".BR {escape('-'.join(command.words[:-1]))} (1)"]
    return "\n".join(line for line in lines if line) + "\n"


def bash(program: Command) -> str:
    """A completion function for bash: the words that may follow the command given so far."""
    cases = []
    for command in all_of(program):
        words = [inner.words[-1] for inner in command.below]
        for option in command.options:
            words += [*option.opts, *option.secondary_opts]
        cases.append(f'        "{" ".join(command.words[1:])}") words="{" ".join([*words, "--help"])}" ;;')
    groups = "|".join(" ".join(command.words[1:]) for command in all_of(program) if command.below)
    return f"""\
# bash completion for apt-ostree; zsh: autoload -U +X bashcompinit && bashcompinit, then source it.
_apt_ostree() {{
    local word command="" words current=${{COMP_WORDS[COMP_CWORD]}}
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) continue ;; esac
        case $command in {groups.removeprefix("|")}|"") command="${{command:+$command }}$word" ;; esac
    done
    case $command in
{chr(10).join(cases)}
        *) words="" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _apt_ostree apt-ostree
"""


def fish(program: Command) -> str:
    """Completions for fish: one line a command and one an option."""
    lines = ["# fish completion for apt-ostree"]
    for command in all_of(program):
        path = command.words[1:]
        if path:
            condition = " && ".join(f"__fish_seen_subcommand_from {word}" for word in path)
        else:
            condition = "__fish_use_subcommand"
        for inner in command.below:
            lines.append(f"complete -c apt-ostree -n '{condition}' -f -a {inner.words[-1]} -d {_quoted(inner.summary)}")
        for option in command.options:
            names = [
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in (*option.opts, *option.secondary_opts)
            ]
            takes = "" if option.is_flag else " -r"
            lines.append(
                f"complete -c apt-ostree -n '{condition}' {' '.join(names)}{takes} -d {_quoted(option.help or '')}"
            )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: build_manual.py DIRECTORY")
    target = Path(sys.argv[1])
    program = commands()
    (target / "man1").mkdir(parents=True, exist_ok=True)
    for command in all_of(program):
        (target / "man1" / f"{command.page}.1").write_text(manual(command))
    (target / "completions").mkdir(exist_ok=True)
    (target / "completions/apt-ostree.bash").write_text(bash(program))
    (target / "completions/apt-ostree.fish").write_text(fish(program))


if __name__ == "__main__":
    main()
