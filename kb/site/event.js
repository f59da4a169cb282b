"use strict";
// Shows a document of an index, or what `allocfail decode` prints: the page of a server does more, and reads logs too.
(() => {
  const { words, articles } = JSON.parse(document.getElementById("event-words").textContent);
  const field = document.getElementById("log");
  const place = document.getElementById("event");
  const svgName = "http://www.w3.org/2000/svg";

  function element(name, text = "", attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function drawn(name, attributes, text = "") {
    const made = document.createElementNS(svgName, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    made.textContent = text;
    return made;
  }

  // The value at a dotted path, of which any part may be one dotted key.
  function at(found, path) {
    if (found === null || typeof found !== "object") return undefined;
    if (Object.hasOwn(found, path)) return found[path];
    for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1)) {
      if (!Object.hasOwn(found, path.slice(0, dot))) continue;
      const value = at(found[path.slice(0, dot)], path.slice(dot + 1));
      if (value !== undefined) return value;
    }
    return undefined;
  }

  const list = (found, path) => (Array.isArray(at(found, path)) ? at(found, path) : []);
  const number = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : null);
  const said = (found, path) => {
    const value = at(found, path);
    return ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
  };
  const size = (kb) => {
    let value = kb;
    let unit = "kB";
    for (const larger of ["MB", "GB", "TB"]) if (value >= 1024) [value, unit] = [value / 1024, larger];
    return `${unit === "kB" || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
  };

  function bar(zone, judged) {
    const free = number(zone.free_kb);
    if (free === null) return [];
    const marks = ["min", "low", "high"].map((name) => [name, number(zone[`${name}_kb`])]).filter(([, kb]) => kb !== null);
    const needed = number(judged.needed_kb);
    const highest = Math.max(...marks.map(([, kb]) => kb), needed || 0, 0);
    const scale = highest && free > 4 * highest ? 4 * highest : Math.max(free, highest, 1);
    const x = (kb) => 8 + (364 * Math.min(kb, scale)) / (scale * 1.04);
    const text = [`free ${size(free)}`, ...marks.map(([name, kb]) => `${name} ${size(kb)}`)];
    if (needed !== null) text.push(`needed more than ${size(needed)} (thick line)`);
    const svg = drawn("svg", { viewBox: "0 0 380 46", class: "chart", role: "img", "aria-label": text.join(", ") });
    svg.append(drawn("rect", { class: "fig-box", x: 8, y: 6, width: 364, height: 24 }));
    svg.append(drawn("rect", { class: "fig-free", x: 8, y: 6, width: x(free) - 8, height: 24 }));
    for (const [, kb] of marks) svg.append(drawn("path", { class: "fig-mark", d: `M${x(kb)} 6V36` }));
    if (needed !== null) svg.append(drawn("path", { class: "fig-line", d: `M${x(needed)} 1V40` }));
    return [svg, element("p", `${text.join(", ")}.`, { class: "state" })];
  }

  function blocks(zone, order) {
    const counts = list(zone, "free_blocks").slice(0, 16).map((count) => number(count) || 0);
    if (!counts.length) return [];
    const asked = number(order);
    const text = counts.map((count, at) => `order ${at}: ${count}`).join(", ");
    const largest = counts.reduce((found, count, at) => (count ? at : found), -1);
    const fits = asked === null || largest >= asked ? "" : `; none of order ${asked} or larger`;
    return [element("p", `Free blocks: ${text}${fits}.`, { class: "state" })];
  }

  function zones(found) {
    const box = element("div", "", { class: "zones" });
    for (const zone of list(found, "allocfail.memory.zones").slice(0, 64)) {
      if (zone === null || typeof zone !== "object") continue;
      const judged = list(found, "allocfail.verdict.zones").find((one) => at(one, "node") === zone.node && at(one, "name") === zone.name) || {};
      const part = element("section");
      part.append(element("h4", `${number(zone.node) === null ? "" : `Node ${zone.node} `}${said(zone, "name")}`));
      const state = said(judged, "state");
      if (state) part.append(element("p", Object.hasOwn(words.states, state) ? words.states[state] : state, { class: "state" }));
      part.append(...bar(zone, judged), ...blocks(zone, at(found, "allocfail.order")));
      box.append(part);
    }
    return box.children.length ? [element("h3", "Memory when the dump was printed"), box] : [];
  }

  function answer(found) {
    const severity = said(found, "allocfail.verdict.severity");
    const known = Object.hasOwn(words.severity, severity) ? severity : "unknown";
    const box = element("div", "", { class: `answer ${known}` });
    box.append(element("p", words.severity[known]), element("h3", "What happened"), element("p", said(found, "allocfail.verdict.summary")));
    const actions = list(found, "allocfail.verdict.actions").map((one) => [said(one, "action"), said(one, "command"), said(one, "cost")]);
    const remedies = actions.length ? actions : list(found, "allocfail.verdict.remedies").map((one) => [String(one), "", ""]);
    if (remedies.length) {
      const items = element("ol");
      for (const [text, command, cost] of remedies) {
        const item = element("li", text);
        if (command) item.append(element("pre", command));
        if (cost) item.append(element("span", ` Cost: ${cost}`, { class: "in" }));
        items.append(item);
      }
      box.append(element("h3", "Do this"), items);
    }
    const value = said(found, "allocfail.verdict.zone_reclaim_mode");
    if (Object.hasOwn(words.zone_reclaim, value)) {
      const reason = said(found, "allocfail.verdict.zone_reclaim_reason");
      box.append(element("h3", "Do not do that"), element("p", `${words.zone_reclaim[value]}${reason ? ` ${reason}.` : ""}`));
    }
    return box;
  }

  function shown(found) {
    const box = element("article", "", { class: "event" });
    box.append(element("h2", said(found, "event.reason") || said(found, "message") || "memory-allocation failure"), answer(found));
    const facts = element("dl", "", { class: "facts" });
    for (const [name, path] of words.fields) {
      if (said(found, path)) facts.append(element("dt", name), element("dd", said(found, path)));
    }
    box.append(element("h3", "What the log says"), facts, ...zones(found));
    const links = element("ul");
    for (const entry of list(found, "allocfail.kb").slice(0, 8)) {
      const id = said(entry, "id");
      if (!Object.hasOwn(articles, id)) continue;
      const anchor = /#([a-z0-9-]+)$/.exec(said(entry, "url"));
      const item = element("li");
      item.append(element("a", articles[id], { href: `${id}.html${anchor ? anchor[0] : ""}` }), ` ${said(entry, "why")}`);
      links.append(item);
    }
    if (links.children.length) box.append(element("h3", "What to read"), links);
    return box;
  }

  // One document, a list, a search's response, or one document a line.
  function documents(text) {
    const opened = (one) => (one && typeof one === "object" && one._source && typeof one._source === "object" ? one._source : one);
    let found;
    try {
      const whole = JSON.parse(text);
      found = list(whole, "hits.hits").length ? list(whole, "hits.hits") : [].concat(whole);
    } catch {
      found = text.split("\n").filter((line) => line.trim().startsWith("{")).flatMap((line) => {
        try {
          return [JSON.parse(line)];
        } catch {
          return [];
        }
      });
    }
    return found.map(opened).filter((one) => at(one, "allocfail") !== undefined || at(one, "allocfail.kind") !== undefined);
  }

  function show() {
    const found = documents(field.value);
    place.replaceChildren(...found.slice(0, 20).map(shown));
    if (!found.length && field.value.trim()) {
      place.append(element("p", "No document of allocfail in this text. A log has to be decoded first: allocfail decode FILE.", { class: "error", role: "alert" }));
    }
  }

  field.addEventListener("input", show);
  document.getElementById("file").addEventListener("change", async ({ target }) => {
    if (!target.files.length) return;
    field.value = await target.files[0].text();
    show();
  });
  if (location.hash.startsWith("#doc=")) field.value = decodeURIComponent(location.hash.slice(5));
  if (field.value.trim()) show();
})();
