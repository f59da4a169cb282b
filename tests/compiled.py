"""Python compiled to Painless for tests: modules of a package of their own, and their scripts run by an engine."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import allocfail
from allocfail.painless import scripts, types
from allocfail.painless.sources import Sources, load

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import ModuleType

    from engines.harness import Engine

#: Below ``allocfail``, since the compiler takes what is there for the decoder's own.
PACKAGE = "allocfail.compiled_by_tests"

#: Whole numbers in the decoder's lists are Longs; those of JSON are Integers where they fit.
AS_LONGS = """
List as_longs(List list) {
  List out = new ArrayList();
  for (def item : list) {
    if (item instanceof Integer) {
      long whole = (long) item;
      out.add(whole);
    } else {
      out.add(item);
    }
  }
  return out;
}
"""


@dataclass(frozen=True)
class Compiled:
    """What a module was compiled to."""

    source: str
    kit: str
    constants: dict[str, Any]
    calls: dict[str, str]
    """By the name of a function of the module: a call of it with the list ``a``."""


def checked(root: Path, texts: dict[str, str]) -> Sources:
    """Write modules below ``root``, make them importable, and let mypy read all of them in one run."""
    folder = root / PACKAGE.replace(".", "/")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    allocfail.__path__.append(str(root / "allocfail"))
    importlib.invalidate_caches()
    return load(root, PACKAGE)


def imported(name: str) -> ModuleType:
    """Return one of the modules."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def compiled(every: Sources, name: str) -> Compiled:
    """Compile all functions of one module; raises ``CompileError``."""
    full = f"{PACKAGE}.{name}"
    decoder = scripts._Decoder(Sources({full: every.files[full]}, every.types))
    units = {}
    for entry in decoder.sources.functions.values():
        if not entry.is_constant:
            units |= decoder.reach(entry.fullname)
    needing = scripts._needing(units)
    texts = [scripts._MARK.sub(lambda mark: scripts._known(mark, needing), unit.text) for unit in units.values()]
    constants = {key: value for unit in units.values() for key, value in unit.constants.items()}
    calls = {}
    for function in decoder.sources.functions.values():
        if function.owner is None and not function.is_constant:
            kinds = [types.painless(argument.variable.type) for argument in function.node.arguments]
            given = [
                f"as_longs((List) a.get({number}))" if kind == "List" else f"({kind}) a.get({number})"
                for number, kind in enumerate(kinds)
            ]
            known = ["(Map) params.known"] if function.fullname in needing else []
            calls[function.node.name] = f"{decoder.names[function.fullname]}({', '.join([*known, *given])})"
    kit = "\n".join(scripts._kit()[needed] for needed in scripts._kit_needed(units.values()))
    return Compiled("\n".join(texts), kit, constants, calls)


def processor(made: Compiled, key: str, given: dict[str, list[list[Any]]]) -> dict[str, Any]:
    """Return a processor that puts into ``ctx[key]`` what each function gives for each list of arguments."""
    lines = [AS_LONGS, made.kit, made.source, "Map out = new HashMap();"]
    for name in given:
        lines.append(f"List of_{name} = new ArrayList();")
        lines.append(f"for (List a : (List) params.given['{name}']) {{ of_{name}.add({made.calls[name]}); }}")
        lines.append(f"out.put('{name}', of_{name});")
    lines.append(f"ctx.put('{key}', out);")
    params = {"known": made.constants, "given": given}
    failed = [{"set": {"field": f"{key}_failed", "value": "{{{ _ingest.on_failure_message }}}"}}]
    return {"script": {"source": "\n".join(lines), "params": params, "on_failure": failed}}


def simulated(engine: Engine, processors: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Run processors on an empty document; return what it is then."""
    body = {"pipeline": {"processors": list(processors)}, "docs": [{"_index": "i", "_id": "1", "_source": {}}]}
    status, answer = engine.request("POST", "/_ingest/pipeline/_simulate", body)
    assert status == 200, str(answer)[:4000]
    assert isinstance(answer, dict)
    (result,) = answer["docs"]
    assert "doc" in result, str(result)[:4000]
    document: dict[str, Any] = result["doc"]["_source"]
    return document
