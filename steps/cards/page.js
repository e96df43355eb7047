// Transcripts of a run: filters, and groups that are drawn when they are opened. Whatever a model
// wrote becomes text by textContent alone; nothing here makes HTML of a string.
"use strict";
(() => {
  // Metaflow's viewer asks a card for these, and loads it anew when the token changes
  const token = document.querySelector('meta[name="reload-token"]');
  window.METAFLOW_RELOAD_TOKEN = token ? token.content : "final";
  window.metaflow_card_update = () => true;

  const COLOURS = JSON.parse(document.body.dataset.colours || "{}");
  const PAGE = 40; // groups shown at once

  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined) continue;
      if (name === "class") node.className = value;
      else node.setAttribute(name, value);
    }
    for (const child of children.flat()) {
      if (child === null || child === undefined || child === "") continue;
      node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
    return node;
  }

  const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(100 * share)} %`);
  const kindTag = (kind) => {
    const tag = el("span", { class: "tag kind" }, kind);
    tag.style.background = COLOURS[kind] || "#666";
    return tag;
  };
  const verdict = (reward, outcome) =>
    el("span", { class: `tag ${reward > 0 ? "good" : "bad"}` }, `${reward > 0 ? "✓" : "✗"} ${outcome}`);

  async function unpack(script) {
    if (script.dataset.encoding !== "gzip") return JSON.parse(script.textContent);
    const bytes = Uint8Array.from(atob(script.textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  function pictures(list) {
    const safe = (list || []).filter((source) => source.startsWith("data:image/"));
    return safe.length
      ? el("div", { class: "pictures" }, safe.map((source) => el("img", { src: source, alt: "picture of the question" })))
      : null;
  }

  function outcomeOf(group) {
    const right = group.r.filter((r) => r[1] > 0).length;
    if (right === group.r.length) return "all right";
    return right === 0 ? "all wrong" : "mixed";
  }

  function life(data, group, look) {
    const question = data.questions[group.q] || {};
    const lines = [];
    for (const [step, event, accuracy] of question.life || [])
      lines.push([step, `${event}${accuracy === null ? "" : `, accuracy ${percent(accuracy)}`}`]);
    for (const other of question.asked || []) lines.push([other[0], `asked as ${other[1]}, accuracy ${percent(other[2])}`]);
    lines.sort((a, b) => a[0] - b[0]);
    const button = el("button", { type: "button" }, "only this question");
    button.addEventListener("click", () => look(group.q));
    return el("div", {},
      el("h3", {}, "The question's life"),
      el("div", { class: "facts" }, lines.map(([step, text]) => el("span", { class: "tag" }, `step ${step}: ${text}`)), button));
  }

  function candidates(group) {
    if (!(group.candidates || []).length) return null;
    // of two candidates right_first tells which is right, those of an NCQ are all wrong; of other
    // kinds nothing is recorded
    const told = group.right_first !== null && group.right_first !== undefined;
    const right = (i) => (told ? i === (group.right_first ? 0 : 1) : group.kind === "ncq" ? false : null);
    const mark = (i) => (right(i) === null ? null
      : el("span", { class: `tag ${right(i) ? "good" : "bad"}` }, right(i) ? "✓ right" : "✗ wrong"));
    return el("div", {},
      el("h3", {}, "Candidates in the prompt"),
      el("div", { class: "pair" }, group.candidates.map((text, i) =>
        el("div", {},
          el("div", { class: "facts" }, el("b", {}, `Candidate ${i + 1}`), mark(i)),
          el("pre", {}, text)))));
  }

  function inside(data, group, look) {
    const question = data.questions[group.q] || {};
    const draws = (question.draws || []).filter((d) => d[0] <= group.step);
    return el("div", { class: "inside" },
      pictures(question.img),
      el("h3", {}, `Prompt, ${group.prompt_tokens} tokens`), el("pre", {}, group.prompt),
      el("div", { class: "facts" }, el("b", {}, "Gold answer"), el("code", {}, question.gold || ""),
        el("span", { class: "dim" }, `question ${group.q}`)),
      candidates(group),
      el("h3", {}, `${group.r.length} responses`),
      el("div", { class: "pair" }, group.r.map(([text, reward, outcome, answer, finish, advantage, tokens], i) =>
        el("div", {},
          el("div", { class: "facts" }, el("b", {}, `#${i + 1}`), verdict(reward, outcome),
            el("span", { class: "tag" }, `reward ${reward}`),
            advantage === null ? null : el("span", { class: "tag" }, `advantage ${advantage > 0 ? "+" : ""}${advantage.toFixed(2)}`),
            el("span", { class: "tag" }, `${tokens} tokens${finish === "length" ? ", cut" : ""}`),
            answer === null ? null : el("code", {}, answer)),
          el("pre", {}, text)))),
      draws.length ? el("h3", {}, "What the teacher wrote") : null,
      draws.length ? el("div", { class: "pair" }, draws.map(([step, purpose, text, reward, outcome, tokens, cached]) =>
        el("div", {},
          el("div", { class: "facts" }, el("span", { class: "tag" }, `step ${step}, ${purpose}`),
            reward === null ? null : verdict(reward, outcome || ""),
            el("span", { class: "tag" }, `${tokens} tokens${cached ? ", from the cache" : ""}`)),
          el("pre", {}, text)))) : null,
      life(data, group, look));
  }

  function row(data, group, look) {
    const question = data.questions[group.q] || {};
    const details = el("details", { class: "group" },
      el("summary", {},
        el("span", { class: "mono" }, `step ${group.step}`), kindTag(group.kind), el("b", {}, percent(group.acc)),
        el("span", { class: "dots", "aria-hidden": "true" }, group.r.map((r) => el("i", { class: r[1] > 0 ? "good" : "" }))),
        el("span", { class: "lead" }, `gold ${question.gold || ""} · ${group.prompt.trim().split("\n")[0].slice(0, 160)}`)));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(inside(data, group, look));
    });
    return details;
  }

  function select(name, values, label) {
    return el("select", { name, "aria-label": label }, el("option", { value: "" }, label),
      values.map((value) => el("option", { value }, value)));
  }

  function viewer(place, data) {
    const steps = [...new Set(data.groups.map((g) => g.step))].sort((a, b) => a - b).map(String);
    const kinds = [...new Set(data.groups.map((g) => g.kind))];
    const step = select("step", steps, "every step");
    const kind = select("kind", kinds, "every kind");
    const outcome = select("outcome", ["mixed", "all right", "all wrong", "a response cut"], "every outcome");
    const search = el("input", { type: "search", placeholder: "question, prompt or response", "aria-label": "search" });
    const count = el("span", { class: "dim" });
    const list = el("div", {});
    const more = el("button", { type: "button" }, "more");
    const inputs = { step, kind, outcome, search };
    const key = `zppo:${place.dataset.key}`;
    let shown = PAGE;

    function matches(group) {
      if (step.value && String(group.step) !== step.value) return false;
      if (kind.value && group.kind !== kind.value) return false;
      if (outcome.value === "a response cut" && !group.r.some((r) => r[4] === "length")) return false;
      if (outcome.value && outcome.value !== "a response cut" && outcomeOf(group) !== outcome.value) return false;
      const wanted = search.value.toLowerCase();
      return !wanted || group.q.toLowerCase().includes(wanted) || group.prompt.toLowerCase().includes(wanted)
        || group.r.some((r) => r[0].toLowerCase().includes(wanted));
    }
    function draw() {
      const found = data.groups.filter(matches);
      list.replaceChildren(...found.slice(0, shown).map((g) => row(data, g, look)));
      count.textContent = `${found.length} of ${data.groups.length} groups`;
      more.hidden = found.length <= shown;
      try {
        sessionStorage.setItem(key, JSON.stringify(Object.fromEntries(Object.entries(inputs).map(([n, i]) => [n, i.value]))));
      } catch (error) { /* a sandboxed frame keeps nothing */ }
    }
    function look(question) {
      for (const input of [step, kind, outcome]) input.value = "";
      search.value = question;
      shown = PAGE;
      draw();
      place.scrollIntoView();
    }
    try {
      const kept = JSON.parse(sessionStorage.getItem(key) || "{}");
      for (const [name, value] of Object.entries(kept)) if (inputs[name]) inputs[name].value = value;
    } catch (error) { /* as above */ }
    for (const input of Object.values(inputs))
      input.addEventListener("input", () => { shown = PAGE; draw(); });
    more.addEventListener("click", () => { shown += PAGE; draw(); });
    place.replaceChildren(el("div", { class: "filters" }, step, kind, outcome, search, count), list, more);
    draw();
    if (list.firstChild && place.dataset.open === "first") list.firstChild.open = true;
  }

  for (const place of document.querySelectorAll(".transcripts")) {
    const script = document.getElementById(place.dataset.source);
    unpack(script).then((data) => {
      viewer(place, data);
      document.documentElement.dataset.ready = "yes";
    }, (fault) => {
      place.textContent = `The transcripts cannot be read by this browser: ${fault}`;
      document.documentElement.dataset.ready = "no";
    });
  }
})();
