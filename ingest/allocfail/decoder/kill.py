"""Lines of an OOM kill: who was killed, under which constraint, in which cgroup.

Formats: mm/oom_kill.c and mm/memcontrol.c, 2.6.12 to 7.3-rc7. Line-mode shippers and ``grep`` leave one of them alone:
what names the task, or the constraint, says enough to be an event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Kill", "OomLines", "is_table_line", "parse_kill"]

#: Before 2.6.18 with a capital M; RHEL 6 puts ``, UID 48,`` behind the number.
_NAMED = re.compile(
    r"(?:(Out of [Mm]emory|Memory cgroup out of memory|No available memory)([^:]{0,48}): )?"
    r"[Kk]ill(ed)? process ([0-9]{1,10})(?:, UID [0-9]+,)? \("
).match
_SCORE = re.compile(r"oom_score_adj:(-?[0-9]{1,4})(?: |$)").search
_CONSTRAINT = re.compile(r"oom-kill:constraint=([A-Z_]+)(?:,|$)").match
_PLACES = re.compile(r",nodemask=(.*?),cpuset=(.*?)(?:,mems_allowed=([0-9,-]*))?(?:,[a-z_]|$)").search
_MEMCG = re.compile(r",oom_memcg=(.*?)(?:,task_memcg=|$)").search
_TASK_MEMCG = re.compile(r",task_memcg=(.*),task=").search
_TASK = re.compile(r",task=(.*),pid=([0-9]{1,9})(?:,|$)").search
_LIMIT = re.compile(r"Task in (.*) killed as a result of limit of (.+)$").match
_USAGE = re.compile(r"memory: usage [0-9]{1,15}kB, limit ([0-9]{1,15})kB").match
_STATS = re.compile(r"Memory cgroup stats for (.+):$").match
_GROUP = re.compile(r"Tasks in (.+) are going to be killed due to memory\.oom\.group set$").match
#: Where the parenthesis round a victim's name closes: names may hold parentheses themselves.
_STOPS = (") total-vm:", ") score ", "), UID")

_STARTS = (
    "Out of ",
    "Memory cgroup out",
    "Memory cgroup stats",
    "No available memory",
    "memory: usage ",
    "oom-kill:",
    "Task in ",
    "Tasks in ",
    "Kill",
    "kill",
)
_TABLE = (
    "[",
    "Tasks state",
    "memory: usage",
    "memory+swap: usage",
    "swap: usage",
    "kmem: usage",
    "Memory cgroup",
    "Unreclaimable slab info",
    "oom_reaper: ",
)


@dataclass(slots=True)
class OomLines:
    """What an OOM kill says behind its header."""

    constraint: str | None = None
    victim: str | None = None
    victim_pid: int | None = None
    memcg: str | None = None
    limit_kb: int | None = None
    """The limit that a memory cgroup had reached."""
    task_memcg: str | None = None
    score_adj: int | None = None
    nodemask: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None
    killed: bool = False
    """The line was seen that says that the victim was killed, rather than chosen."""
    group: bool = False
    """A whole cgroup is killed: further tasks belong to the same kill."""

    def add(self, kill: Kill) -> None:
        """Add what one line says; what a later line repeats, it says better."""
        if kill.constraint is not None and (self.constraint is None or kill.certain):
            self.constraint = kill.constraint
        if kill.victim is not None and not (self.group and self.killed):
            self.victim = kill.victim
            self.victim_pid = kill.victim_pid
        self.memcg = kill.memcg or self.memcg
        self.limit_kb = self.limit_kb if kill.limit_kb is None else kill.limit_kb
        self.task_memcg = kill.task_memcg or self.task_memcg
        self.score_adj = self.score_adj if kill.score_adj is None else kill.score_adj
        self.nodemask = kill.nodemask or self.nodemask
        self.cpuset = kill.cpuset or self.cpuset
        self.mems_allowed = kill.mems_allowed or self.mems_allowed
        self.killed = self.killed or kill.killed
        self.group = self.group or kill.group

    def goes_on(self, kill: Kill) -> bool:
        """Whether a line is one of the same kill: it names the same task, or what chose the one that it names."""
        if self.group or kill.victim_pid is None or self.victim_pid is None:
            return not (self.killed and kill.certain)
        return kill.victim_pid == self.victim_pid or (not self.killed and kill.killed and not kill.alone)


@dataclass(frozen=True, slots=True)
class Kill:
    """What one line says."""

    constraint: str | None = None
    certain: bool = False
    """The line prints the constraint itself."""
    victim: str | None = None
    victim_pid: int | None = None
    memcg: str | None = None
    limit_kb: int | None = None
    task_memcg: str | None = None
    score_adj: int | None = None
    nodemask: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None
    killed: bool = False
    group: bool = False
    alone: bool = False
    """It is an event's, even where no other line is."""


def parse_kill(text: str) -> Kill | None:
    """Read a line of an OOM kill that says who, why or where; None for any other."""
    if not text.startswith(_STARTS):
        return None
    if m := _NAMED(text):
        return _named(text, m)
    if m := _CONSTRAINT(text):
        return _constraint(text, m[1])
    if m := _LIMIT(text):
        return Kill("CONSTRAINT_MEMCG", memcg=m[2])
    if m := _GROUP(text):
        return Kill("CONSTRAINT_MEMCG", group=True)
    if m := _USAGE(text):
        return Kill("CONSTRAINT_MEMCG", limit_kb=int(m[1]))
    if m := _STATS(text):
        return Kill(memcg=m[1])
    return None


def is_table_line(text: str) -> bool:
    """Whether a line is one of the tables that a kill prints: tasks, usage, slabs."""
    return text.startswith(_TABLE)


def _named(text: str, m: re.Match[str]) -> Kill | None:
    start = m.end()
    end = next((at for stop in _STOPS if (at := text.find(stop, start)) >= 0), -1)
    if end < 0:
        end = text.rfind(")", start)
    if end <= start:
        return None
    score = _SCORE(text, end)
    return Kill(
        _implied(m[1], m[2]),
        victim=text[start:end],
        victim_pid=int(m[4]),
        score_adj=None if score is None else int(score[1]),
        killed=m[3] is not None,
        alone=m[1] is not None,
    )


def _implied(words: str | None, where: str | None) -> str | None:
    """Return the constraint that the wording stands for."""
    if words is None:
        return None
    if words.startswith("Memory cgroup"):
        return "CONSTRAINT_MEMCG"
    if words.startswith("Out of"):
        return "CONSTRAINT_NONE"
    if where == " in cpuset":
        return "CONSTRAINT_CPUSET"
    return "CONSTRAINT_MEMORY_POLICY" if where == " (MPOL_BIND)" else None


def _constraint(text: str, constraint: str) -> Kill:
    places = _PLACES(text)
    memcg = _MEMCG(text)
    task_memcg = _TASK_MEMCG(text)
    task = _TASK(text)
    return Kill(
        constraint,
        certain=True,
        victim=None if task is None else task[1],
        victim_pid=None if task is None else int(task[2]),
        memcg=None if memcg is None else memcg[1],
        task_memcg=None if task_memcg is None else task_memcg[1],
        nodemask=None if places is None else places[1],
        cpuset=None if places is None else places[2],
        mems_allowed=None if places is None or places[3] is None else places[3].rstrip(","),
        alone=True,
    )
