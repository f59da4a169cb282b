"use strict";
// Answers the words of the search field as `allocfail kb search` does: articles/search.py says why, this only repeats it.
function allocfailEngine(made) {
  const { constants, parts } = made;
  const index = lunr.Index.load(made.lunr);
  const vocabulary = Object.keys(index.invertedIndex).sort();
  const known = new Set(vocabulary);
  const stop = new Set(constants.stop);
  const word = /[a-z0-9]+(?:_+[a-z0-9]+)*|[\u3400-\u9fff]+/g;
  const han = /[\u3400-\u9fff]/;
  const stem = (text) => lunr.stemmer(new lunr.Token(text)).toString();

  function words(text) {
    const found = [];
    for (const [one] of text.toLowerCase().matchAll(word)) {
      if (han.test(one[0])) {
        if (one.length === 1) found.push(one);
        for (let at = 0; at + 1 < one.length; at += 1) found.push(one.slice(at, at + 2));
        continue;
      }
      found.push(one);
      if (one.includes("_")) found.push(...one.split("_").filter(Boolean));
    }
    return found;
  }

  function exactOrBegun(one) {
    const terms = new Map();
    if (one.length > 2) for (const term of vocabulary) if (term.startsWith(one)) terms.set(term, constants.begins);
    if (known.has(stem(one))) terms.set(stem(one), constants.exact);
    return terms;
  }

  function speltAlike(one) {
    const base = stem(one);
    if (base.length < 4 || base.length > 24 || /^[0-9]+$/.test(base)) return new Map();
    const like = lunr.TokenSet.fromFuzzyString(base, base.length < 8 ? 1 : 2);
    return new Map(index.tokenSet.intersect(like).toArray().map((term) => [term, constants.alike]));
  }

  function expanded(text) {
    const found = [];
    let unknown = 0;
    for (const one of new Set(words(text).filter((each) => !stop.has(each)))) {
      let terms = exactOrBegun(one);
      if (!terms.size && /^0x[0-9a-f]+$/.test(one)) terms = exactOrBegun(constants.mask_word);
      if (!terms.size && unknown < constants.most_unknown && !one.includes("_")) {
        unknown += 1;
        terms = speltAlike(one);
      }
      if (terms.size && found.push(terms) === constants.most_known) break;
    }
    return found;
  }

  function search(text) {
    const wanted = expanded(text);
    if (!wanted.length) return [];
    const language = han.test(text) ? "zh" : "en";
    const boosts = new Map();
    for (const terms of wanted) {
      for (const [term, boost] of terms) boosts.set(term, Math.max(boost, boosts.get(term) || 0));
    }
    const found = index.query((query) => {
      for (const [term, boost] of boosts) query.term(term, { boost, usePipeline: false });
    });
    const hits = found.map((hit) => {
      const matched = new Set(Object.keys(hit.matchData.metadata));
      const share = wanted.filter((terms) => [...terms.keys()].some((term) => matched.has(term))).length / wanted.length;
      const part = parts[Number(hit.ref)];
      const weight = share * share * (part.lang === language ? 1 : constants.other_language);
      return { part, matched, number: Number(hit.ref), score: hit.score * weight };
    });
    const shown = new Map();
    return hits.sort((a, b) => b.score - a.score || a.number - b.number).filter(({ part, score }) => {
      shown.set(part.article, (shown.get(part.article) || 0) + 1);
      return score > 0 && shown.get(part.article) <= constants.most_sections;
    });
  }

  const matches = (one, matched) => words(one).some((piece) => matched.has(stem(piece)));

  function snippet(text, matched) {
    const sentences = text
      .split(/(?<=[.;?!])\s+|(?<=[。；！？])|\n+/)
      .filter((part) => part.trim())
      .map((part) => part.trim().replace(/^- /, ""));
    const counts = sentences.map((part) => new Set(words(part).map(stem).filter((each) => matched.has(each))).size);
    let best = "";
    for (const sentence of sentences.slice(Math.max(0, counts.indexOf(Math.max(...counts))))) {
      best = `${best} ${sentence}`.trim();
      if (best.length >= constants.snippet_least) break;
    }
    const size = constants.snippet;
    if (best.length > size) {
      const first = [...best.toLowerCase().matchAll(word)].find(([one]) => matches(one, matched));
      const start = Math.max(0, Math.min((first ? first.index : 0) - Math.floor(size / 4), best.length - size));
      best = (start ? "…" : "") + best.slice(start, start + size) + (start + size < best.length ? "…" : "");
    }
    const pieces = [];
    let at = 0;
    for (const match of best.toLowerCase().matchAll(word)) {
      if (!matches(match[0], matched)) continue;
      pieces.push([best.slice(at, match.index), false], [best.slice(match.index, match.index + match[0].length), true]);
      at = match.index + match[0].length;
    }
    pieces.push([best.slice(at), false]);
    return pieces.filter(([piece]) => piece);
  }

  return { search, snippet };
}

function allocfailSearchPage(made) {
  const field = document.getElementById("q");
  const list = document.getElementById("hits");
  const found = document.getElementById("found");
  const engine = allocfailEngine(made);
  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  function item(hit) {
    const { part } = hit;
    const shown = element("li", "", { lang: part.lang });
    const address = `${part.article}.html${part.anchor ? `#${part.anchor}` : ""}`;
    shown.append(element("a", part.anchor ? part.heading : part.title, { href: address }));
    if (part.anchor) shown.append(element("span", ` ${part.title}`, { class: "in" }));
    const text = element("p", "");
    for (const [piece, marked] of engine.snippet(part.text, hit.matched)) {
      text.append(marked ? element("mark", piece) : piece);
    }
    shown.append(text);
    return shown;
  }

  function show() {
    const question = field.value.trim();
    const hits = question ? engine.search(question).slice(0, 20) : [];
    list.replaceChildren(...hits.map(item));
    document.getElementById("list").hidden = Boolean(hits.length);
    if (!question) found.textContent = "";
    else if (hits.length) found.textContent = hits.length === 1 ? "1 section" : `${hits.length} sections, the best first`;
    else found.textContent = "Nothing found. Try a word from the log line.";
  }

  field.value = new URLSearchParams(location.search).get("q") || field.value;
  field.addEventListener("input", show);
  if (field.value) show();
}

if (document.getElementById("search-index")) {
  allocfailSearchPage(JSON.parse(document.getElementById("search-index").textContent));
}
