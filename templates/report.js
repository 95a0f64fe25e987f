// The linked matrix, tables that can be sorted, downloads; without it the page reads as it stands.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("choices"), table = document.getElementById("matrix"), box = document.getElementById("cell");
  const bodies = [...table.tBodies];
  const cellsOf = body => [...body.rows].filter(row => !row.className).map(row => [...row.cells].slice(1));
  const state = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const arms = Object.keys(data.cells), text = value => value.toFixed(2).replace("-", "\u2212");
  const score = value => value == null ? "" : (value = value / 100, Math.abs(value) < 9.995 ? text(value) :
    value.toFixed(Math.abs(value) < 99.95 ? 1 : 0).replace("-", "\u2212")).replace(/^\u2212(0\.00)$/, "$1");
  const has = (options, value) => options.includes(value) ? value : options[0];
  const escaped = value => String(value).replace(/[&<>"]/g, sign => `&#${sign.charCodeAt()};`);

  // What is chosen, made possible: an arm lacks some levels, and a level cannot be subtracted from itself.
  function settle() {
    state.arm = has(arms, state.arm);
    const levels = data.levels.filter(level => data.cells[state.arm][level]);
    state.level = has(levels, state.level);
    state.set = has(data.sets.map((_, i) => String(i)), state.set);
    state.minus = has(["", ...levels.filter(level => level !== state.level)], state.minus);
    state.colours = has(Object.keys(data.scales).filter(name => name !== "signed"), state.colours || data.colours);
    return levels;
  }
  // Means and half intervals of a level in an arm; of a difference, those of the pairs, seed by seed.
  function values(level) {
    const set = Number(state.set), pairs = data.pairs[state.arm] || {};
    if (!state.minus) return data.cells[state.arm][level][set];
    const known = pairs[`${level}|${state.minus}`], turned = pairs[`${state.minus}|${level}`];
    if (known) return known[set];
    if (turned) return {mean: turned[set].mean.map(value => value == null ? null : -value), half: turned[set].half};
    return {mean: [], half: []};
  }
  function draw() {
    const levels = settle(), set = Number(state.set), shown = values(state.level);
    const signed = data.sets[set].signed || state.minus !== "", shades = data.scales[signed ? "signed" : state.colours];
    const [low, high] = signed ? [-50, 50] : [0, 100];
    bodies.forEach((body, i) => { body.hidden = i !== set; });
    cellsOf(bodies[set]).flat().forEach((cell, i) => {
      const value = shown.mean[i], place = Math.round((shades.length - 1) * Math.min(Math.max((value - low) / (high - low), 0), 1));
      const [color, ink] = value == null ? ["", ""] : shades[place];
      cell.className = value == null ? "none" : "";
      cell.style.background = color;
      cell.style.color = ink;
      const sign = cell.querySelector("b");
      cell.textContent = score(value);
      if (sign) cell.append(sign);
      cell.tabIndex = -1;
    });
    table.caption.textContent = [state.minus ? `${state.level} \u2212 ${state.minus}` : state.level, data.arms[state.arm],
      data.sets[set].title].filter(Boolean).join(", ");
    for (const input of form.elements) if (input.type === "radio") {
      input.checked = state[input.name] === input.value;
      if (input.name === "level") input.disabled = !levels.includes(input.value);
      if (input.name === "minus") input.disabled = input.value !== "" && (!levels.includes(input.value) || input.value === state.level);
    }
    choose(...(state.cell || "0.0").split(".").map(Number), false);
    keep();
  }
  function keep() {
    history.replaceState(null, "", `#${new URLSearchParams(state)}`);
  }
  // What is known about a cell, at every level.
  function choose(row, column, focus) {
    const rows = cellsOf(bodies[Number(state.set)]);
    row = Math.min(Math.max(row || 0, 0), rows.length - 1);
    column = Math.min(Math.max(column || 0, 0), data.tasks.length - 1);
    const cell = rows[row][column], set = Number(state.set), i = row * data.tasks.length + column;
    table.querySelectorAll(".chosen").forEach(one => { one.classList.remove("chosen"); one.tabIndex = -1; });
    cell.classList.add("chosen");
    cell.tabIndex = 0;
    if (focus) cell.focus();
    state.cell = `${row}.${column}`;
    const name = cell.parentElement.cells[0].textContent, task = data.tasks[column], levels = settle();
    const lines = levels.filter(level => level !== state.minus).map(level => {
      const own = values(level), mean = own.mean[i], raw = state.minus ? null : own.raw[i];
      const half = own.half[i] == null ? "none" : `\u00b1 ${score(own.half[i])}`;
      const head = state.minus ? `${level} \u2212 ${state.minus}` : level;
      return `<tr${level === state.level ? ' aria-current="true"' : ""}><th scope="row">${escaped(head)}</th><td>${mean == null ? "n.m." : score(mean)}</td>` +
        `<td>${half}</td>${state.minus ? "" : `<td>${raw ?? "\u2013"}</td>`}</tr>`;
    }).join("");
    const constant = data.constants[state.arm][state.level][column];
    const last = state.minus || / on ordinary cities$/.test(data.sets[set].title) || data.sets[set].signed || constant == null ? "" :
      `<tr><th scope="row">best constant</th><td></td><td></td><td>\u2248 ${constant}</td></tr>`;
    box.innerHTML = `<table class="data"><caption>Fine-tuned on ${escaped(name)}, evaluated on ${escaped(task)}</caption><thead><tr>` +
      `<th scope="col">${escaped(data.noun)}</th><th scope="col">score</th><th scope="col">95 % interval</th>` +
      `${state.minus ? "" : '<th scope="col">raw</th>'}</tr></thead><tbody>${lines}${last}</tbody></table>`;
  }
  const placeOf = cell => [[...cell.parentElement.parentElement.rows].filter(row => !row.className).indexOf(cell.parentElement), cell.cellIndex - 1];
  const cellAt = event => { const cell = event.target.closest("td"); return cell && table.contains(cell) ? cell : null; };
  for (const kind of ["mouseover", "click", "focusin"]) table.addEventListener(kind, event => {
    const cell = cellAt(event);
    if (!cell) return;
    choose(...placeOf(cell), kind === "click");
    if (kind !== "mouseover") keep();
  });
  table.addEventListener("keydown", event => {
    const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key], cell = cellAt(event);
    if (!step || !cell) return;
    event.preventDefault();
    const [row, column] = placeOf(cell);
    choose(row + step[0], column + step[1], true);
    keep();
  });
  form.addEventListener("change", event => { state[event.target.name] = event.target.value; draw(); });
  form.hidden = false;
  draw();

  // Tables: a click on a heading sorts, numbers as numbers.
  const amount = cell => { const found = cell.textContent.replace(/\u2212/g, "-").replace(/,/g, "").match(/-?\d+(\.\d+)?/); return found ? Number(found[0]) : NaN; };
  function sort(head, cells, body) {
    const down = head.getAttribute("aria-sort") === "descending", i = head.cellIndex;
    [...head.parentElement.cells].forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "ascending" : "descending");
    const order = (a, b) => { const [x, y] = [amount(a.cells[i]), amount(b.cells[i])];
      return isNaN(x) || isNaN(y) || i === 0 ? b.cells[i].textContent.localeCompare(a.cells[i].textContent) : y - x; };
    [...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)).forEach(row => body.append(row));
  }
  function offer(name, kind, content, after) {
    const button = document.createElement("button");
    Object.assign(button, {type: "button", className: "save", textContent: name});
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([content()], {type: kind}));
      link.download = `${document.title} ${name}`.replace(/\W+/g, "-").toLowerCase() + (kind === "text/csv" ? ".csv" : ".svg");
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    after.after(button);
  }
  const csv = own => [...own.rows].map(row => [...row.cells].map(cell => `"${cell.textContent.replace(/"/g, '""')}"`).join(",")).join("\n");
  document.querySelectorAll("main table").forEach(own => {
    if (own.closest("#cell")) return;
    offer(`CSV: ${own.id === "matrix" ? "matrix" : own.caption.textContent}`, "text/csv", () => csv(own), own.id === "matrix" ? own.closest(".cells") : own.parentElement);
    if (own.id !== "matrix") [...own.tHead.rows[0].cells].forEach(head => {
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(head, own.rows, own.tBodies[0]));
    });
  });
  // A drawing as a file of its own: with the page's colours and rules inside, and as wide as it is here.
  function drawing(svg) {
    const copy = svg.cloneNode(true), size = svg.getBoundingClientRect(), rules = document.createElement("style");
    rules.textContent = document.querySelector("style").textContent;
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    Object.entries({width: size.width, height: size.height}).forEach(([key, value]) => copy.setAttribute(key, value));
    copy.prepend(rules, ...(svg.querySelector("use") ? [document.getElementById("land").parentElement.cloneNode(true)] : []));
    return new XMLSerializer().serializeToString(copy);
  }
  document.querySelectorAll("main figure > svg").forEach(svg => {
    if (!svg.classList.contains("map")) offer("SVG", "image/svg+xml", () => drawing(svg), svg);
  });
  // All of it is printed.
  const closed = () => document.querySelectorAll("details:not([open])");
  addEventListener("beforeprint", () => closed().forEach(one => { one.open = true; one.dataset.printed = ""; }));
  addEventListener("afterprint", () => document.querySelectorAll("[data-printed]").forEach(one => { one.open = false; delete one.dataset.printed; }));

  // Maps of base models at a checkpoint; without a script the finished models stand there.
  for (const steps of document.querySelectorAll(".steps")) {
    const input = steps.querySelector("input"), maps = [...steps.nextElementSibling.querySelectorAll("figure[data-notes]")];
    const show = () => {
      for (const map of maps) {  // one of fewer checkpoints lacks the earliest
        const notes = JSON.parse(map.dataset.notes), at = Math.max(0, notes.length - 1 - (input.max - input.value));
        map.querySelector("span").textContent = notes[at];
        [...map.querySelectorAll("g")].forEach((state, i) => state.classList.toggle("early", i !== at));
      }
      input.setAttribute("aria-valuetext", maps.length ? maps[0].querySelector("span").textContent : "");
    };
    input.addEventListener("input", show);
    steps.hidden = false;
    show();
  }
})();
