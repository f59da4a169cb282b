"""What a prefix says of its line, where that was held by nothing: facilities, flags, nested prefixes, wrap widths."""

from __future__ import annotations

import re
import textwrap

import pytest

from dumpgen.tangles import wrap
from pieces import at, decoded, memory, only, page

HEADER = "app: page allocation failure: order:1, mode:0xa20(GFP_ATOMIC), nodemask=(null)"
#: RFC 5424 section 6.2.1; 12 to 15 have no name of their own there and are what ``dmesg -x`` calls them.
FACILITIES = {
    name: code
    for code, name in enumerate(
        (
            *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
            *("res0", "res1", "res2", "res3"),
            *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
        )
    )
}
SEVERITIES = {"emerg": 0, "alert": 1, "crit": 2, "err": 3, "warn": 4, "notice": 5, "info": 6, "debug": 7}


@pytest.mark.parametrize(("name", "code"), FACILITIES.items())
def test_every_facility_has_the_number_of_the_rfc(name: str, code: int) -> None:
    for line in (f"{name:6}:warn  : [  1.000000] {HEADER}", f"Feb 14 15:24:15 h {name}.warn kernel: {HEADER}"):
        document = only([line])
        assert at(document, "log.syslog.facility.code") == code, line
        assert at(document, "log.syslog.priority") == code * 8 + 4


@pytest.mark.parametrize(("name", "code"), SEVERITIES.items())
def test_every_severity_has_the_number_of_the_rfc(name: str, code: int) -> None:
    assert at(only([f"kern  :{name:6}: [  1.000000] {HEADER}"]), "log.syslog.severity.code") == code


@pytest.mark.parametrize("flag", ["-", "c", "+"])
def test_every_flag_of_a_kmsg_record(flag: str) -> None:
    lines = [f"4,{17 + number},{100 + number},{flag};{line}" for number, line in enumerate(page())]
    document = only(lines)
    assert at(document, "allocfail.complete") is True
    assert at(document, "allocfail.provenance") == "kernel"


def test_a_prefix_within_a_message_of_the_kernel_s_own_is_its_text() -> None:
    # User space chose what stands behind `kernel - - -`: another host must not come of it.
    inner = f"Feb 14 15:24:15 victim kernel: {HEADER}"
    outer = "<4>1 2024-06-16T06:48:58.783Z relay kernel - - - "
    assert at(only([outer + inner]), "host.hostname") == "relay"
    assert at(only([outer + HEADER]), "host.hostname") == "relay"
    # Of another program a relayed line is what it carries.
    relayed = only([outer.replace("kernel", "relayd") + inner])
    assert at(relayed, "host.hostname") == "victim"


def _group(text: str) -> str:
    [document] = decoded(text.split("\n"))
    return str(at(document, "allocfail.fingerprint.id"))


DUMP = [f"Feb 14 15:24:15 svn3 kernel: [1234567.123456] {line}" for line in page(mem=memory(nodes=2))]


def test_a_terminal_that_is_wider_than_eighty_columns() -> None:
    width = 100
    cut = [piece for line in DUMP for piece in (textwrap.wrap(line, width) if " = " in line else _hard(line, width))]
    assert max(map(len, cut)) == width
    assert not [line for line in cut if len(line) == 80]
    whole, document = only(DUMP), only(cut)
    for path in ("allocfail.fingerprint", "allocfail.memory.zones", "allocfail.gfp", "allocfail.complete"):
        assert at(document, path) == at(whole, path), path


def _hard(line: str, width: int) -> list[str]:
    return [line[start : start + width] for start in range(0, len(line), width)]


@pytest.mark.parametrize("widths", [(72, 76, 78), (74, 79, 73), (72,)])
def test_mail_that_is_wrapped_at_one_width_or_several(widths: tuple[int, ...]) -> None:
    cut = [piece for number, line in enumerate(DUMP) for piece in wrap(line, widths[number % len(widths)])]
    assert len(cut) > len(DUMP)
    whole, document = only(DUMP), only(cut)
    for path in ("allocfail.fingerprint", "allocfail.gfp", "allocfail.complete", "allocfail.memory.free_kb"):
        assert at(document, path) == at(whole, path), path


def test_lines_of_a_dump_are_long_enough_to_be_wrapped() -> None:
    assert len([line for line in DUMP if len(line) > 100]) > 3
    assert all(re.match(r"Feb 14", line) for line in DUMP)
