"use strict";
// Ranks the articles for the words in the search field, as `allocfail kb search` does.
(() => {
  const index = JSON.parse(document.getElementById("articles").textContent);
  const field = document.getElementById("q");
  const list = document.getElementById("list");
  const found = document.getElementById("found");
  const items = new Map([...list.children].map((item) => [item.dataset.article, item]));
  const order = [...list.children];
  const words = (text) => text.toLowerCase().match(/[a-z0-9]+/g) || [];

  function rank(wanted) {
    const hits = [];
    for (const article of index.articles) {
      let score = 0;
      let matched = 0;
      for (const word of wanted) {
        let here = 0;
        for (const [name, weight] of Object.entries(index.weights)) {
          const count = article[name].filter((token) => token.startsWith(word)).length;
          if (count) here += name === "body" ? weight * Math.min(count, index.cap) : weight;
        }
        if (here) matched += 1;
        score += here;
      }
      if (matched) hits.push({ id: article.id, matched, score, place: article.place });
    }
    const most = Math.max(0, ...hits.map((hit) => hit.matched));
    const kept = most === wanted.length ? hits.filter((hit) => hit.matched === most) : hits;
    return kept.sort((a, b) => b.matched - a.matched || b.score - a.score || a.place - b.place);
  }

  function show() {
    const wanted = [...new Set(words(field.value))];
    if (!wanted.length) {
      order.forEach((item) => { item.hidden = false; list.append(item); });
      found.textContent = "";
      return;
    }
    const hits = rank(wanted);
    order.forEach((item) => { item.hidden = true; });
    hits.forEach((hit) => { const item = items.get(hit.id); item.hidden = false; list.append(item); });
    found.textContent = hits.length ? `${hits.length} of ${order.length} articles` : "Nothing found. Try a word from the log line.";
  }

  document.getElementById("find").hidden = false;
  field.value = new URLSearchParams(location.search).get("q") || "";
  field.addEventListener("input", show);
  show();
})();
