"use strict";
// Walks through one forward and one backward pass. Small dense networks are computed here and follow what is changed;
// of others the numbers were recorded. Everything on the page comes from #data; nothing is loaded.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const live = data.live;
  const STEP = 1e-5; // of central differences
  const entity = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  const esc = (text) => String(text).replace(/[&<>"']/g, (sign) => entity[sign]);
  const below = (i) => String(i + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
  const above = (i) => "⁽" + String(i).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]) + "⁾";

  function fmt(x, digits = 4) {
    if (typeof x === "string") return x;
    if (!Number.isFinite(x)) return String(x).replace("Infinity", "∞").replace("-", "−");
    const size = Math.abs(x);
    const text = size && (size < 1e-4 || size >= 1e6) ? x.toExponential(digits - 1) : String(Number(x.toPrecision(digits)));
    return text.replace(/-/g, "−");
  }
  // Whether a central difference with step h agrees with a derivative, in words and by a class; rounding of L may hide both
  function compared(found, swept, h, loss) {
    const size = Math.max(Math.abs(found), Math.abs(swept)), rounding = 1e-14 * Math.max(1, Math.abs(loss)) / h;
    if (size <= rounding && size > 0) return { isWrong: false, mark: "(too near 0 to tell, by rounding of L)" };
    const isRight = Math.abs(found - swept) <= 1e-4 * size + rounding;
    return { isWrong: !isRight, mark: isRight ? "✓" : "≠ (a kink, or an error)" };
  }
  const bracketed = (text) => (text.replace(/<[^>]*>/g, "").startsWith("−") ? `(${text})` : text);

  // The small network, computed here -------------------------------------------------------------------------------

  const PHI = {
    Sigmoid: { name: "σ", y: (a) => 1 / (1 + Math.exp(-a)), slope: (a, y) => y * (1 - y), written: "y (1 − y)" },
    Tanh: { name: "tanh", y: Math.tanh, slope: (a, y) => 1 - y * y, written: "1 − y²" },
    ReLU: { name: "ReLU", y: (a) => Math.max(a, 0), slope: (a, y) => (y > 0 ? 1 : 0), written: "1 where y > 0, else 0" },
    "": { name: "", y: (a) => a, slope: () => 1, written: "1" },
  };
  const fresh = () => live && structuredClone({
    x: live.x, target: live.target, rate: data.rate,
    layers: live.layers.map((layer) => ({ weight: layer.weight, bias: layer.bias })),
  });
  let model = fresh();

  function forward(m, moved) { // moved: a unit that gives a little more than it would: {l, kind: "a" or "y", i, by}
    const a = [], y = [], move = (l, kind, list) => { if (moved && moved.l === l && moved.kind === kind) list[moved.i] += moved.by; };
    let x = m.x;
    m.layers.forEach((layer, l) => {
      const phi = PHI[live.layers[l].kind];
      a.push(layer.weight.map((row, i) => row.reduce((sum, w, j) => sum + w * x[j], 0) + (layer.bias ? layer.bias[i] : 0)));
      move(l, "a", a[l]);
      x = a[l].map((value) => phi.y(value));
      move(l, "y", x);
      y.push(x);
    });
    const top = Math.max(...x), powers = x.map((z) => Math.exp(z - top)), total = powers.reduce((s, e) => s + e, 0);
    return { a, y, p: powers.map((e) => e / total), L: Math.log(total) + top - x[m.target] };
  }

  function run(m) {
    const f = forward(m), count = m.layers.length, dA = [], dY = [], dW = [], dB = [];
    let d = f.p.map((p, k) => p - (k === m.target ? 1 : 0));
    for (let l = count - 1; l >= 0; l--) {
      const phi = PHI[live.layers[l].kind], x = l ? f.y[l - 1] : m.x, layer = m.layers[l];
      dY[l] = d;
      dA[l] = d.map((value, i) => value * phi.slope(f.a[l][i], f.y[l][i]));
      dW[l] = dA[l].map((value) => x.map((xj) => value * xj));
      dB[l] = layer.bias ? dA[l].slice() : null;
      d = x.map((_, j) => dA[l].reduce((sum, value, i) => sum + value * layer.weight[i][j], 0));
    }
    return { ...f, dA, dY, dW, dB, dX: d };
  }
  let now = live && run(model);

  // Elements by name: "fc1.weight[0,1]", "x[0,1]", to get and set them in a model; "relu1[0,1]", to move it
  function place(key) {
    const [, name, written] = key.match(/^(.*)\[([\d,]+)\]$/), index = written.split(",").map(Number), last = index[index.length - 1];
    if (name === live.input) return { list: (m) => m.x, i: last, d: (r) => r.dX };
    for (const [l, layer] of live.layers.entries()) {
      if (name === layer.node) return { l, kind: "a", i: last, d: (r) => r.dA[l] };
      if (name === layer.activation) return { l, kind: "y", i: last, d: (r) => r.dY[l] };
    }
    const l = live.layers.findIndex((layer) => name === `${layer.node}.weight` || name === `${layer.node}.bias`);
    if (l < 0) return null;
    if (name.endsWith(".bias")) return { list: (m) => m.layers[l].bias, i: index[0], d: (r) => r.dB[l] };
    return { list: (m) => m.layers[l].weight[index[0]], i: index[1], d: (r) => r.dW[l][index[0]] };
  }
  const changed = new Map();
  function set(key, value) {
    const where = live && place(key);
    if (!where || !where.list || !Number.isFinite(value)) return;
    where.list(model)[where.i] = value;
    changed.set(key, value);
    refresh();
  }
  function refresh() {
    if (live) now = run(model);
    show();
  }
  function difference(key) {
    if (!live) return null;
    const where = place(key), losses = [1, -1].map((sign) => {
      if (!where.list) return forward(model, { ...where, by: sign * STEP }).L;
      const other = structuredClone(model);
      where.list(other)[where.i] += sign * STEP;
      return forward(other).L;
    });
    return { found: (losses[0] - losses[1]) / (2 * STEP), swept: where.d(now)[where.i] };
  }

  // Steps -----------------------------------------------------------------------------------------------------------

  const byName = Object.fromEntries(data.nodes.map((node) => [node.name, node]));
  const steps = [
    { phase: "input", node: data.inputs[0] },
    ...data.nodes.map((node) => ({ phase: "forward", node: node.name })),
    { phase: "loss", node: "loss" },
    ...data.nodes.filter((node) => node.reached).reverse().map((node) => ({ phase: "backward", node: node.name })),
    { phase: "update", node: "update" },
  ];
  const indexOf = (phase, node) => steps.findIndex((step) => step.phase === phase && (!node || step.node === node));
  let current = 0;
  const seen = { hovered: new Set(), checked: new Set(), stepped: 0, targets: 0 };
  const isDone = (phase, node) => { const i = indexOf(phase, node); return i >= 0 && i <= current; };

  function go(i, keep) {
    current = Math.max(0, Math.min(steps.length - 1, i));
    show(keep);
  }
  function otherPass() {
    const step = steps[current];
    const i = step.phase === "forward" ? indexOf("backward", step.node) : step.phase === "backward" ? indexOf("forward", step.node) : -1;
    if (i >= 0) go(i);
  }

  // Numbers that say where they come from ---------------------------------------------------------------------------

  const tips = new Map();
  let count = 0;
  function num(value, tip, { to = -1, key = "", kind = "value", named = "" } = {}) {
    const id = `n${count++}`;
    tips.set(id, { tip, to, key, named: named || key });
    const hint = key ? "; press to change it" : to >= 0 ? "; press to go there" : "";
    return `<span class="n ${kind}${key ? " editable" : ""}" id="${id}" tabindex="0" role="button" data-named="${esc(named || key)}" aria-label="${esc(fmt(value))}${hint}">${esc(fmt(value))}</span>`;
  }
  function tipAt(element) {
    const found = tips.get(element.id || element.dataset.tip), tip = $("tip");
    if (!found) return;
    if (found.named) { seen.hovered.add(found.named); lesson(); }
    tip.textContent = typeof found.tip === "function" ? found.tip() : found.tip;
    tip.hidden = !tip.textContent;
    tip.dataset.of = element.id || element.dataset.tip;
    const box = element.getBoundingClientRect(), own = tip.getBoundingClientRect();
    if (element.dataset.unit && element.closest("svg.picking")) { // whose weights are shown: the tip leaves them to be seen
      const picture = $("graph").getBoundingClientRect(), isBeside = picture.right + own.width + 8 < innerWidth;
      tip.style.left = `${isBeside ? picture.right + 4 : Math.max(4, innerWidth - own.width - 4)}px`;
      tip.style.top = `${isBeside ? Math.min(box.top, innerHeight - own.height - 4) : Math.min(picture.bottom + 4, innerHeight - own.height - 4)}px`;
      return;
    }
    tip.style.left = `${Math.max(4, Math.min(innerWidth - own.width - 4, box.left))}px`;
    tip.style.top = `${box.bottom + own.height + 8 < innerHeight ? box.bottom + 6 : Math.max(4, box.top - own.height - 6)}px`;
  }
  function edit(found, element) {
    const box = element.getBoundingClientRect(), input = document.createElement("input");
    const where = place(found.key);
    input.type = "number"; input.step = "any"; input.id = "editor"; input.value = where.list(model)[where.i];
    input.setAttribute("aria-label", found.key);
    Object.assign(input.style, { position: "fixed", left: `${Math.min(box.left, innerWidth - 130)}px`, top: `${box.top - 6}px`, zIndex: 10 });
    let open = true;
    const mark = markOf(element);
    const close = (keep) => { if (!open) return; open = false; const value = input.valueAsNumber; input.remove(); if (keep) set(found.key, value); };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      close(event.key === "Enter");
      focusAgain(mark);
    });
    input.addEventListener("blur", () => close(true));
    document.body.append(input);
    input.focus(); input.select();
  }
  function press(element) {
    const found = tips.get(element.id || element.dataset.tip);
    if (!found) return;
    $("tip").hidden = true;
    if (found.key) edit(found, element);
    else if (found.to >= 0) go(found.to);
  }

  // Letters of the small network, and its equations -----------------------------------------------------------------

  const L = live && live.layers.map((layer, l) => ({ ...layer.letters, last: l === live.layers.length - 1, node: layer.node, activation: layer.activation, kind: layer.kind }));
  const mark = (l) => (L[l].number && !L[l].last ? above(L[l].number) : "");
  const W = (l, i, j) => L[l].weight + (L[l].number ? above(L[l].number) : "") + [i, j].map(below).join(i > 8 || j > 8 ? "‚" : "");
  const B = (l, i) => L[l].bias + (L[l].number ? above(L[l].number) : "") + below(i);
  const A = (l, i) => L[l].before + mark(l) + below(i);
  const Y = (l, i) => (l < 0 ? "x" + below(i) : (L[l].kind ? L[l].after : L[l].before) + mark(l) + below(i));
  const D = (name) => `∂L/∂${name}`;
  const key = {
    w: (l, i, j) => `${L[l].node}.weight[${i},${j}]`, b: (l, i) => `${L[l].node}.bias[${i}]`, x: (j) => `${live.input}[0,${j}]`,
    a: (l, i) => `${L[l].node}[0,${i}]`, y: (l, i) => (l < 0 ? key.x(i) : `${L[l].kind ? L[l].activation : L[l].node}[0,${i}]`),
  };
  const written = (parts) => parts.join(" + ").replace(/\+ −/g, "− ");
  const affineText = (l, i) => {
    const x = l ? now.y[l - 1] : model.x, layer = model.layers[l];
    const parts = x.map((xj, j) => `${fmt(layer.weight[i][j])}·${bracketed(fmt(xj))}`);
    if (layer.bias) parts.push(fmt(layer.bias[i]));
    const symbols = x.map((_, j) => `${W(l, i, j)} ${Y(l - 1, j)}`).concat(layer.bias ? [B(l, i)] : []);
    return `${A(l, i)} = ${symbols.join(" + ")}\n= ${written(parts)} = ${fmt(now.a[l][i])}`;
  };
  const phiText = (l, i) => `${Y(l, i)} = ${PHI[L[l].kind].name}(${A(l, i)}) = ${PHI[L[l].kind].name}(${fmt(now.a[l][i])}) = ${fmt(now.y[l][i])}`;
  const dYText = (l, i) => {
    const value = l < 0 ? now.dX[i] : now.dY[l][i], up = l + 1;
    if (up === L.length) return `${D(Y(l, i))} = r̂${below(i)} − r${below(i)} = ${fmt(now.p[i])} − ${i === model.target ? 1 : 0} = ${fmt(value)}`;
    const symbols = now.dA[up].map((_, k) => `${D(A(up, k))} ${W(up, k, i)}`);
    const parts = now.dA[up].map((d, k) => `${fmt(d)}·${bracketed(fmt(model.layers[up].weight[k][i]))}`);
    return `${D(Y(l, i))} = ${symbols.join(" + ")}\n= ${written(parts)} = ${fmt(value)}`;
  };
  const dAText = (l, i) => `${D(A(l, i))} = ${D(Y(l, i))} φ′(${A(l, i)}) = ${fmt(now.dY[l][i])}·${bracketed(fmt(PHI[L[l].kind].slope(now.a[l][i], now.y[l][i])))} = ${fmt(now.dA[l][i])}`;
  const dWText = (l, i, j) => `${D(W(l, i, j))} = ${D(A(l, i))} ${Y(l - 1, j)} = ${fmt(now.dA[l][i])}·${bracketed(fmt(l ? now.y[l - 1][j] : model.x[j]))} = ${fmt(now.dW[l][i][j])}`;

  const nodeStep = (phase, l, activation) => indexOf(phase, activation ? L[l].activation : L[l].node);
  const nW = (l, i, j) => num(model.layers[l].weight[i][j], `${W(l, i, j)}: a weight of ${L[l].node}; press to change it`, { key: key.w(l, i, j) });
  const nB = (l, i) => num(model.layers[l].bias[i], `${B(l, i)}: a bias of ${L[l].node}; press to change it`, { key: key.b(l, i) });
  const nY = (l, i) => (l < 0
    ? num(model.x[i], `x${below(i)}: an input; press to change it`, { key: key.x(i) })
    : num(now.y[l][i], () => (L[l].kind ? phiText(l, i) : affineText(l, i)), { to: nodeStep("forward", l, L[l].kind), named: Y(l, i) }));
  const nA = (l, i) => num(now.a[l][i], () => affineText(l, i), { to: nodeStep("forward", l), named: A(l, i) });
  const nDY = (l, i) => num(l < 0 ? now.dX[i] : now.dY[l][i], () => dYText(l, i), { kind: "error", named: D(Y(l, i)), to: l + 1 === L.length ? indexOf("loss") : nodeStep("backward", l + 1) });
  const nDA = (l, i) => num(now.dA[l][i], () => (L[l].kind ? dAText(l, i) : dYText(l, i)), { kind: "error", named: D(A(l, i)), to: L[l].kind ? nodeStep("backward", l, true) : l + 1 === L.length ? indexOf("loss") : nodeStep("backward", l + 1) });
  const plus = (parts) => parts.map((part, i) => (i ? ` + ${part}` : part)).join("");
  const checkButton = (name, at = "") => `<button class="check" data-check="${esc(name)}" data-at="${at}" title="Compare with the central difference (L(+ε) − L(−ε)) / 2ε">check me</button>`;

  function liveForward(node) {
    const l = L.findIndex((layer) => layer.node === node || layer.activation === node);
    if (l < 0) return "";
    if (L[l].activation === node) {
      return now.a[l].map((_, i) => `<p class="line">${Y(l, i)} = ${esc(PHI[L[l].kind].name)}(${A(l, i)}) = ${esc(PHI[L[l].kind].name)}(${nA(l, i)}) = ${nY(l, i)}</p>`).join("");
    }
    return now.a[l].map((_, i) => {
      const x = l ? now.y[l - 1] : model.x, has = model.layers[l].bias;
      const symbols = x.map((_, j) => `${W(l, i, j)} ${Y(l - 1, j)}`).concat(has ? [B(l, i)] : []);
      const numbers = x.map((_, j) => `${bracketed(nW(l, i, j))}·${bracketed(nY(l - 1, j))}`).concat(has ? [bracketed(nB(l, i))] : []);
      return `<p class="line">${A(l, i)} = ${symbols.join(" + ")}<br>&emsp;= ${plus(numbers)} = ${nA(l, i)}</p>`;
    }).join("");
  }
  function liveBackward(node) {
    const l = L.findIndex((layer) => layer.node === node || layer.activation === node);
    if (l < 0) return "";
    if (L[l].activation === node) {
      const slope = (i) => fmt(PHI[L[l].kind].slope(now.a[l][i], now.y[l][i]));
      return `<p class="meta">φ′(a) = ${PHI[L[l].kind].written}</p>` + now.a[l].map((_, i) =>
        `<p class="line">${D(A(l, i))} = ${D(Y(l, i))} φ′(${A(l, i)}) = ${nDY(l, i)} · ${bracketed(slope(i))} = ${nDA(l, i)}${checkButton(key.a(l, i))}</p>`).join("");
    }
    const x = l ? now.y[l - 1] : model.x;
    const inputs = x.map((_, j) => {
      const symbols = now.dA[l].map((_, k) => `${D(A(l, k))} ${W(l, k, j)}`);
      const numbers = now.dA[l].map((_, k) => `${bracketed(nDA(l, k))}·${bracketed(nW(l, k, j))}`);
      return `<p class="line">${D(Y(l - 1, j))} = ${symbols.join(" + ")}<br>&emsp;= ${plus(numbers)} = ${nDY(l - 1, j)}${checkButton(key.y(l - 1, j))}</p>`;
    });
    const weights = now.dW[l].flatMap((row, i) => row.map((d, j) =>
      `<p class="line">${D(W(l, i, j))} = ${D(A(l, i))} ${Y(l - 1, j)} = ${nDA(l, i)} · ${bracketed(nY(l - 1, j))} = ${num(d, () => dWText(l, i, j), { kind: "error", named: D(W(l, i, j)) })}${checkButton(key.w(l, i, j))}</p>`));
    const biases = (now.dB[l] || []).map((d, i) => `<p class="line">${D(B(l, i))} = ${D(A(l, i))} = ${nDA(l, i)}${checkButton(key.b(l, i))}</p>`);
    return `<h3>To its inputs: a sum over all paths</h3>${inputs.join("")}<h3>To its weights and biases</h3>${weights.join("")}${biases.join("")}`;
  }
  function liveLoss() {
    const l = L.length - 1, z = now.y[l];
    const shares = z.map((_, i) => `<p class="line">r̂${below(i)} = exp(${Y(l, i)}) / Σ exp = ${num(now.p[i], `softmax of (${z.map((v) => fmt(v)).join(", ")})`, { named: `r̂${below(i)}` })}</p>`);
    const targets = z.map((_, i) => `<button id="target${i}" data-target="${i}" aria-pressed="${i === model.target}">${i === model.target ? "● " : ""}r = (${z.map((_, k) => (k === i ? 1 : 0)).join(", ")})</button>`);
    const seeds = z.map((_, i) => `<p class="line">${D(Y(l, i))} = r̂${below(i)} − r${below(i)} = ${fmt(now.p[i])} − ${i === model.target ? 1 : 0} = ${nDY(l, i)}${checkButton(key.y(l, i))}</p>`);
    return `${shares.join("")}<p class="line">L = −Σ rᵢ log r̂ᵢ = −log ${fmt(now.p[model.target])} = <b>${fmt(now.L)}</b></p><h3>The target</h3><p>${targets.join(" ")}</p><h3>Where going back begins</h3>${seeds.join("")}`;
  }
  function liveUpdate() {
    const rows = L.flatMap((_, l) => [
      ...now.dW[l].flatMap((row, i) => row.map((d, j) => `<p class="line">${W(l, i, j)} ← ${bracketed(nW(l, i, j))} − ${fmt(model.rate)} · ${bracketed(num(d, () => dWText(l, i, j), { kind: "error" }))} = ${fmt(model.layers[l].weight[i][j] - model.rate * d)}</p>`)),
      ...(now.dB[l] || []).map((d, i) => `<p class="line">${B(l, i)} ← ${bracketed(nB(l, i))} − ${fmt(model.rate)} · ${bracketed(fmt(d))} = ${fmt(model.layers[l].bias[i] - model.rate * d)}</p>`),
    ]);
    const told = seen.told ? `<p><b>${esc(seen.told)}</b></p>` : "";
    return `<p>W ← W − μ ∂L/∂W, with μ = ${fmt(model.rate)}.</p><p><button id="descend">Take the step</button></p>${told}${rows.join("")}`;
  }
  function descend() {
    const before = now.L;
    model.layers.forEach((layer, l) => {
      layer.weight.forEach((row, i) => row.forEach((_, j) => { row[j] -= model.rate * now.dW[l][i][j]; changed.set(key.w(l, i, j), row[j]); }));
      (layer.bias || []).forEach((_, i) => { layer.bias[i] -= model.rate * now.dB[l][i]; changed.set(key.b(l, i), layer.bias[i]); });
    });
    now = run(model);
    seen.stepped += 1;
    seen.told = `The loss was ${fmt(before)}, and is ${fmt(now.L)} now${now.L > before ? ": it grew, the rate is too large here." : "."}`;
    refresh();
  }

  // The picture of the small network --------------------------------------------------------------------------------

  const sized = (text) => Math.min(13.5, 84 / text.length); // so that it stands in its circle
  const LABEL = { wide: 28, above: 12, below: 17 }; // how far a weight and its derivative reach from where they stand
  let weights = new Map(); // by the id of its label: the edge's ends, and where on it the label has room; null if nowhere
  const along = ([x1, y1, x2, y2], share) => [x1 + (x2 - x1) * share, y1 + (y2 - y1) * share];
  // The strongest weights first, each where it covers no other and no unit; the others have to wait for a finger on them
  function findRoom(edges, taken) {
    edges.sort((a, b) => b.strength - a.strength);
    for (const edge of edges) {
      for (const share of [edge.usual, ...Array.from({ length: 27 }, (_, k) => 0.14 + 0.028 * k)]) {
        const [x, y] = along(edge.ends, share);
        const box = [x - LABEL.wide, y - LABEL.above, x + LABEL.wide, y + LABEL.below];
        if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
        taken.push(box);
        edge.home = [x, y];
        break;
      }
    }
  }
  // Shows those weights at the far ends of their edges, where these are apart, and no others; without any, those at home
  function pick(chosen) {
    const svg = $("graph").querySelector("svg.live");
    if (!svg || !(chosen || svg.classList.contains("picking")) || ![...weights.values()].some((edge) => !edge.home)) return;
    svg.classList.toggle("picking", Boolean(chosen));
    for (const label of svg.querySelectorAll(".weight[data-edge]")) {
      const edge = weights.get(label.dataset.tip), share = chosen ? chosen(edge) : 0;
      const at = share ? along(edge.ends, share) : edge.home || along(edge.ends, 0.5);
      label.setAttribute("transform", `translate(${at[0]} ${at[1]})`);
      label.classList.toggle("picked", Boolean(share));
      svg.querySelector(`.edge[data-of="${label.dataset.tip}"]`).classList.toggle("picked", Boolean(share));
    }
  }
  function pickFor(element) {
    const { tip, unit } = element.dataset, edge = weights.get(tip);
    if (edge) return pick((other) => (other === edge ? 0.5 : 0));
    if (!unit) return pick(null);
    const [layer, kind, i] = unit.split(","), up = Number(layer) + 1; // of a sum what it is of, of any other where it goes
    return pick((other) => (kind === "a" ? (other.l === Number(layer) && other.i === Number(i) ? 0.3 : 0) : other.l === up && other.j === Number(i) ? 0.7 : 0));
  }
  function liveGraph() {
    const columns = [{ names: model.x.map((_, j) => Y(-1, j)), l: -1, kind: "y" }];
    L.forEach((layer, l) => {
      columns.push({ l, kind: "a", names: now.a[l].map((_, i) => A(l, i)) });
      if (layer.kind) columns.push({ l, kind: "y", names: now.y[l].map((_, i) => Y(l, i)) });
    });
    const tall = Math.max(...columns.map((column) => column.names.length)), height = Math.max(330, tall * (tall > 6 ? 116 : 146) + 20);
    const wide = (c) => 56 + columns.slice(1, c + 1).reduce((sum, column) => sum + (column.kind === "a" ? 236 : 126), 0);
    const width = wide(columns.length - 1) + 180;
    const x = (c) => wide(c), y = (c, i) => (height / columns[c].names.length) * (i + 0.5);
    const step = steps[current], parts = [], lines = []; // lines stand behind all else
    const at = (l, activation) => step.node === (activation ? L[l].activation : L[l].node);
    columns.forEach((column, c) => {
      if (!c) return;
      const { l, kind } = column;
      column.names.forEach((_, i) => {
        if (kind === "a") return;
        const here = at(l, true) && (step.phase === "forward" || step.phase === "backward");
        const mode = here ? ` now${step.phase === "backward" ? " back" : ""}` : "";
        lines.push(`<path class="edge${mode}" d="M${x(c - 1) + 27} ${y(c - 1, i)}L${x(c) - 27} ${y(c, i)}"/>`);
      });
    });
    const last = columns.length - 1, lx = width - 54, ly = height / 2;
    columns[last].names.forEach((_, i) => lines.push(`<path class="edge${step.phase === "loss" ? " now" : ""}" d="M${x(last) + 27} ${y(last, i)}L${lx - 27} ${ly}"/>`));
    weights = new Map();
    const units = columns.flatMap((column, c) => column.names.map((_, i) => [x(c) - 30, y(c, i) - 44, x(c) + 30, y(c, i) + 62]));
    columns.forEach((column, c) => {
      if (!c || column.kind !== "a") return;
      const { l } = column, edges = [];
      column.names.forEach((_, i) => columns[c - 1].names.forEach((_, j) => {
        const strength = Math.abs(live.layers[l].weight[i][j]), ends = [x(c - 1) + 27, y(c - 1, j), x(c) - 27, y(c, i)];
        edges.push({ l, i, j, ends, strength, usual: 0.2 + 0.17 * (i % 2), home: null });
      }));
      const inOrder = [...edges];
      findRoom(edges, [...units]);
      inOrder.forEach((edge) => {
        const { i, j } = edge, [px, py] = edge.home || along(edge.ends, 0.5);
        const id = `g${count++}`;
        weights.set(id, edge);
        tips.set(id, { key: key.w(l, i, j), named: key.w(l, i, j), tip: () => `${W(l, i, j)} = ${fmt(model.layers[l].weight[i][j])}${isDone("backward", L[l].node) ? `\n${dWText(l, i, j)}` : ""}\npress to change it` });
        const d = isDone("backward", L[l].node) ? `<tspan class="d" x="0" dy="13">${fmt(now.dW[l][i][j], 3)}</tspan>` : "";
        const here = at(l, false) && (step.phase === "forward" || step.phase === "backward");
        const line = `d="M${edge.ends[0]} ${edge.ends[1]}L${edge.ends[2]} ${edge.ends[3]}"`;
        lines.push(`<path class="edge${here ? ` now${step.phase === "backward" ? " back" : ""}` : ""}" data-of="${id}" ${line}/><path class="reach" data-edge="${id}" ${line}/>`);
        parts.push(`<text class="weight${edge.home ? "" : " crowded"}" data-edge="${id}" data-tip="${id}" tabindex="0" role="button" aria-label="${W(l, i, j)} ${fmt(model.layers[l].weight[i][j])}" transform="translate(${px} ${py})">${fmt(model.layers[l].weight[i][j], 3)}${d}</text>`);
      });
    });
    columns.forEach((column, c) => column.names.forEach((name, i) => {
      const { l, kind } = column, isInput = l < 0;
      const known = isInput || isDone("forward", kind === "y" ? L[l].activation : L[l].node);
      const value = isInput ? model.x[i] : kind === "y" ? now.y[l][i] : now.a[l][i];
      const d = isInput ? now.dX[i] : kind === "y" || !L[l].kind ? now.dY[l][i] : now.dA[l][i];
      const dKnown = isInput ? isDone("backward", L[0].node) : kind === "y" || !L[l].kind ? (l + 1 < L.length ? isDone("backward", L[l + 1].node) : isDone("loss")) : isDone("backward", L[l].activation);
      const here = isInput ? step.phase === "input" : (step.phase === "forward" || step.phase === "backward") && at(l, kind === "y");
      const id = `g${count++}`;
      const about = () => [known ? (isInput ? `${name}: an input; press to change it` : kind === "y" ? phiText(l, i) : affineText(l, i)) : `${name}: not computed yet`, dKnown ? (kind === "a" && L[l].kind ? dAText(l, i) : dYText(l, i)) : ""].filter(Boolean).join("\n");
      tips.set(id, { tip: about, named: name, key: isInput ? key.x(i) : "", to: isInput ? -1 : nodeStep("forward", l, kind === "y") });
      const dId = `${id}d`, found = kind === "a" && L[l].kind ? dAText : dYText; // where a derivative was found
      const there = kind === "a" && L[l].kind ? nodeStep("backward", l, true) : l + 1 < L.length ? nodeStep("backward", l + 1) : indexOf("loss");
      if (dKnown) tips.set(dId, { tip: () => found(l, i), named: D(name), to: there });
      const bias = kind === "a" && model.layers[l].bias ? biasText(l, i, x(c), y(c, i) + 58) : "";
      parts.push(`<g class="unit${here ? " now" : ""}" data-tip="${id}" data-unit="${l},${kind},${i}" tabindex="0" role="button" aria-label="${name}"><circle cx="${x(c)}" cy="${y(c, i)}" r="27"/>`
        + `<text x="${x(c)}" y="${y(c, i) - 32}" font-size="15">${name}</text><text class="v" x="${x(c)}" y="${y(c, i) + 5}" font-size="${sized(fmt(value))}">${known ? fmt(value) : "?"}</text>`
        + `</g>${bias}` + (dKnown ? `<text class="d small" data-tip="${dId}" tabindex="0" role="button" aria-label="${D(name)} ${fmt(d)}" x="${x(c)}" y="${y(c, i) + 43}">∂ ${fmt(d, 4)}</text>` : ""));
    }));
    const id = `g${count++}`;
    tips.set(id, { tip: () => (isDone("loss") ? `L = −log ${fmt(now.p[model.target])} = ${fmt(now.L)}` : "L: not computed yet"), named: "L", to: indexOf("loss") });
    parts.push(`<g class="unit${step.phase === "loss" ? " now" : ""}" data-tip="${id}" tabindex="0" role="button" aria-label="L"><circle cx="${lx}" cy="${ly}" r="27"/><text x="${lx}" y="${ly - 32}" font-size="15">L</text><text class="v" x="${lx}" y="${ly + 5}" font-size="${sized(fmt(now.L))}">${isDone("loss") ? fmt(now.L) : "?"}</text></g>`);
    const graph = $("graph");
    const crowded = [...weights.values()].filter((edge) => !edge.home).length;
    const told = crowded ? `<p class="meta" id="crowded">${crowded} of the ${weights.size} weights have no room: rest on a unit for those that it takes or gives to, on an edge for its own.</p>` : "";
    graph.innerHTML = `${told}<svg class="live${weights.size > 40 ? " many" : ""}" viewBox="0 0 ${width} ${height}" role="img" aria-label="The network">${lines.join("")}${parts.join("")}</svg>`;
    const here = graph.querySelector(".unit.now"), box = here && here.getBoundingClientRect(), frame = graph.getBoundingClientRect();
    if (here) graph.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2; // on a phone the picture is wider
  }
  function biasText(l, i, px, py) {
    const id = `g${count++}`;
    tips.set(id, { key: key.b(l, i), named: key.b(l, i), tip: () => `${B(l, i)} = ${fmt(model.layers[l].bias[i])}, a bias; press to change it` });
    return `<text class="weight" data-tip="${id}" tabindex="0" role="button" aria-label="${B(l, i)}" x="${px}" y="${py}">+ ${B(l, i)} = ${fmt(model.layers[l].bias[i], 3)}</text>`;
  }

  // Recorded numbers ------------------------------------------------------------------------------------------------

  const isError = (kind) => (kind === "error" ? " error" : "");
  const checkOf = (name, at) => (data.checks[name] || []).find((check) => check[0] === at);
  const judged = ([, found, swept]) => compared(found, swept, data.step, data.loss);
  function tensorView(title, tensor, { kind = "value", to = -1, from = "", name = "", checked = "" } = {}) {
    if (!tensor) return "";
    const size = tensor.shape.reduce((a, b) => a * b, 1), shape = tensor.shape.join(" × ") || "one number";
    const facts = tensor.norm === undefined ? "" : `, norm ${fmt(tensor.norm)}, from ${fmt(tensor.least)} to ${fmt(tensor.most)}`;
    const tip = (at) => {
      const check = checked && checkOf(checked, at);
      return `${name}[${unravel(at, tensor.shape)}]${from ? `: ${from}` : ""}${check ? `\ncentral difference ${fmt(check[1], 6)} ${judged(check).mark}` : ""}`;
    };
    const rows = tensor.rows.map(([first, end]) => tensor.numbers.slice(first, end).map((value, j) => `<td>${num(value, tip(first + j), { to, kind })}</td>`).join(""));
    const numbers = rows.length ? `<table class="grid">${rows.map((row) => `<tr>${row}</tr>`).join("")}</table>` : "";
    const picture = tensor.picture ? `<p><img class="map" alt="${esc(title)} as a picture" src="${tensor.picture}"></p>` : "";
    const part = size > tensor.rows.reduce((sum, [first, end]) => sum + end - first, 0) ? `<span class="meta">, some of ${size.toLocaleString("en")} numbers</span>` : "";
    return `<h3 class="${isError(kind)}">${esc(title)} <span class="meta">${shape}${facts}</span>${part}</h3>${picture}${numbers}`;
  }
  function unravel(flat, shape) {
    const index = [];
    for (let axis = shape.length - 1; axis >= 0; axis--) { index.unshift(flat % shape[axis]); flat = Math.floor(flat / shape[axis]); }
    return index.join(",");
  }
  const makerOf = (name) => data.nodes.find((node) => node.keys.includes(name));
  const readersOf = (name) => data.nodes.filter((node) => node.inputs.includes(name)).map((node) => node.name);
  function whereMade(name) {
    const maker = makerOf(name);
    return maker ? indexOf("forward", maker.name) : data.inputs.includes(name) ? 0 : -1;
  }
  function whereFound(name) { // its derivative
    const readers = readersOf(name);
    return readers.length ? indexOf("backward", readers[readers.length - 1]) : indexOf("loss");
  }
  function valueOf(name) {
    const maker = makerOf(name), tensor = data.tensors[name];
    const from = maker ? `what ${maker.name} gave, ${maker.about}` : data.inputs.includes(name) ? "an input" : `what ${name} gave, which is not on this page`;
    return tensorView(name, tensor.value, { name, to: whereMade(name), from });
  }
  function errorOf(name) {
    const tensor = data.tensors[name];
    if (!tensor || !tensor.d) return "";
    const readers = readersOf(name);
    const from = readers.length ? `propagated by ${readers.join(" and ")}` : "the derivative of the loss";
    const branches = (tensor.branches || []).map((branch) => tensorView(`from ${branch.from}`, branch.d, { kind: "error", name, from: `what ${branch.from} adds`, to: indexOf(branch.from === "the loss" ? "loss" : "backward", branch.from === "the loss" ? "" : branch.from) })).join("");
    const sum = branches ? `<p class="meta">Its output is read at ${tensor.branches.length} places, so the derivatives of all of them add up:</p>${branches}` : "";
    return tensorView(`∂L/∂${name}`, tensor.d, { kind: "error", name: `∂L/∂${name}`, from, to: whereFound(name), checked: name }) + derivativeFilledIn(name) + recordedChecks(name, tensor.d) + sum;
  }
  // The largest one with its numbers filled in: what single elements add, as [element, its number, slope], and the others
  const tensorOf = (element) => (data.tensors[element] ? element : element.replace(/\[[^[\]]*\]$/, ""));
  function sumOf({ terms, others: [many, rest] }, isDerivative) {
    const parts = terms.map(([element, x, slope]) => {
      const by = isDerivative ? D(element) : element, to = isDerivative ? whereFound(tensorOf(element)) : whereMade(tensorOf(element));
      const told = isDerivative ? `the slope of ${element} by this one` : `the slope by ${element}`;
      return `${bracketed(num(x, by, { to, kind: isDerivative ? "error" : "value" }))}·${bracketed(num(slope, told))}`;
    });
    const others = many === 1 ? "1 other" : `${many.toLocaleString("en")} others`;
    if (many) parts.push(`${bracketed(num(rest, `what ${others} add${many === 1 ? "s" : ""}`, { kind: isDerivative ? "error" : "value" }))} <span class="meta">(${others})</span>`);
    return parts;
  }
  const largest = (lines) => `<p class="meta">The largest one, with its numbers:</p>${lines}`;
  function derivativeFilledIn(name) {
    const found = data.derivatives[name];
    if (!found) return "";
    if (!found.parts) return `<p class="meta">What adds up to the largest one would take long to find: blockprop explain … --of '${esc(name)}[…]' writes it out.</p>`;
    const { shape } = (data.tensors[name] || data.parameters[name]).d, title = `∂L/∂${esc(name)}${shape.length ? `[${unravel(found.at, shape)}]` : ""}`;
    const whole = num(found.d, `${name}: as the backward sweep finds it`, { kind: "error" });
    if (!found.parts.some((part) => part.terms.length || part.others[0])) return "";
    if (found.parts.length === 1) {
      return largest(`<p class="line">${title} = ${plus(sumOf(found.parts[0], true))} = ${whole}</p>`);
    }
    const lines = found.parts.map((part) => {
      const parts = sumOf(part, true);
      return `<p class="line">from ${esc(part.from)}: ${parts.length ? `${plus(parts)} = ` : ""}${num(part.sum, `what ${part.from} adds`, { kind: "error" })}</p>`;
    });
    return largest(`${lines.join("")}<p class="line">${title} = ${plus(found.parts.map((part) => bracketed(fmt(part.sum))))} = ${whole}</p>`);
  }
  function valueFilledIn(name) {
    const found = data.values[name];
    if (!found) return "";
    if (!found.of) return '<p class="meta">What its largest one is made of would take long to find.</p>';
    const whole = num(found.y, found.of);
    if (found.terms) {
      const parts = sumOf(found, false);
      if (found.rest || !parts.length) parts.push(bracketed(num(found.rest, "what its block gives for zeros")));
      return largest(`<p class="line">${esc(found.of)} = ${plus(parts)} = ${whole}</p>`);
    }
    if (!found.steepest) return "";
    const [element, x, slope] = found.steepest;
    return largest(`<p class="line">${esc(found.of)} = ${whole} by the formula above, of ${found.count === 1 ? "" : `${found.count.toLocaleString("en")} numbers, most of all of `}${esc(element)} = ${num(x, element, { to: whereMade(tensorOf(element)) })}, slope ${num(slope, `the slope by ${element}`)}</p>`);
  }
  function updateFilledIn(name) {
    const found = data.derivatives[name];
    if (!found || !found.parts) return "";
    const { shape } = data.parameters[name].d, after = typeof found.d === "number" && typeof found.value === "number" ? fmt(found.value - data.rate * found.d) : "not a number";
    return `<p class="line">${esc(name)}${shape.length ? `[${unravel(found.at, shape)}]` : ""} ← ${fmt(found.value)} − ${fmt(data.rate)}·${bracketed(num(found.d, `∂L/∂${name}`, { kind: "error" }))} = ${after}</p>`;
  }
  // Those that were found beforehand: of all numbers that are shown, or of the largest one and those asked for
  function recordedChecks(name, d) {
    const found = data.checks[name] || [], places = d.rows.flatMap(([first, end]) => Array.from({ length: end - first }, (_, j) => first + j));
    const others = found.filter(([at]) => !places.includes(at));
    const isAll = found.length - others.length === places.length;
    const single = (isAll ? others : found).map(([at, , swept]) => `<p class="meta">[${unravel(at, d.shape)}] ${fmt(swept)} ${checkButton(name, at)}</p>`).join("");
    if (isAll && places.length) return `<p class="meta">all that are shown ${checkButton(name)}</p>${single}`;
    return found.length ? `${single}<p class="meta">Others, if asked for when the page is written: check="${esc(name)}[…]"</p>` : "";
  }
  function recordedVerdict(name, at) {
    const d = (data.tensors[name] || data.parameters[name]).d;
    if (at) return [`central difference ${fmt(checkOf(name, Number(at))[1], 6)}`, judged(checkOf(name, Number(at)))];
    const found = data.checks[name], wrong = found.filter((check) => judged(check).isWrong);
    const told = wrong.map(([place, found, swept]) => `; at [${unravel(place, d.shape)}] ${fmt(found, 6)} beside ${fmt(swept, 6)}`).join("");
    const small = found.filter((check) => judged(check).mark.startsWith("(")).length;
    const verdict = wrong.length ? judged(wrong[0]) : { isWrong: false, mark: small < found.length ? "✓" : "" };
    return [`${found.length} central differences${told}${small ? `, ${small} of them too near 0 to tell` : ""}`, verdict];
  }
  function liveVerdict(asked) {
    const { found, swept } = difference(asked);
    return [`central difference ${fmt(found, 6)}`, compared(found, swept, STEP, now.L)];
  }
  const formulaOf = (text, instead = "") => (text ? `<p class="formula">${esc(text)}</p>` : instead ? "" : '<p class="meta">Its docstring gives no formula.</p>');
  const sourceOf = (node, names) => names.map((name) => [name, data.sources[node.source[name]]]).filter(([, code]) => code).map(([name, code]) => `<details><summary>The code: ${name}</summary><pre>${esc(code)}</pre></details>`).join("");

  function nodePanel(step) {
    const node = byName[step.node], forwards = step.phase === "forward";
    const head = `<h2>${forwards ? "Forward" : "Backward"} through ${esc(node.name)}</h2><p class="meta">${esc(node.about)}${node.sentence ? `. ${esc(node.sentence)}` : ""}</p>`;
    if (forwards) {
      const body = live ? liveForward(node.name) : node.inputs.map(valueOf).join("") + node.keys.map((name) => `<p class="meta">↓</p>${valueOf(name)}${valueFilledIn(name)}`).join("") + node.parameters.map((name) => tensorView(name, data.parameters[name].value, { name, from: "a parameter" })).join("");
      return head + formulaOf(node.forward, node.sentence) + (body || node.inputs.map(valueOf).join("")) + sourceOf(node, ["forward"]);
    }
    const body = live ? liveBackward(node.name) : node.keys.map(errorOf).join("") + node.inputs.map((name) => (data.tensors[name].d ? `<p class="meta">↓</p>${errorOf(name)}` : "")).join("")
      + node.parameters.map((name) => tensorView(`∂L/∂${name}`, data.parameters[name].d, { kind: "error", name: `∂L/∂${name}`, from: `gradients of ${node.sharing.join(" and ")}`, checked: name }) + derivativeFilledIn(name) + recordedChecks(name, data.parameters[name].d)).join("");
    const shared = node.parameters.length && node.sharing.length > 1 ? `<p class="meta">Its block stands at ${node.sharing.map(esc).join(" and ")}: the gradients of all of them add up.</p>` : "";
    return head + formulaOf(node.back) + body + shared + sourceOf(node, ["propagate", "gradients"]);
  }
  function panel() {
    const step = steps[current];
    if (step.phase === "input") {
      const body = live ? model.x.map((_, j) => `<p class="line">x${below(j)} = ${nY(-1, j)}</p>`).join("") + "<p>Press a number, here or in the picture, to change it.</p>" : (data.all > data.nodes.length ? `<p>${data.nodes.length} of the ${data.all.toLocaleString("en")} nodes of a network are on this page.</p>` : "") + data.inputs.filter((name) => data.tensors[name]).map(valueOf).join("");
      return `<h2>The input</h2>${body}<p class="meta">→ goes on, ← back; ↑ or ↓ changes between the two passes of a node. Rest on a number to see where it comes from, press it to go there.</p>`;
    }
    if (step.phase === "loss") {
      const body = live ? liveLoss() : `<p class="line">L = ${esc(data.objective)} = <b>${fmt(data.loss)}</b></p>` + data.outputs.filter((name) => data.tensors[name]).map((name) => valueOf(name) + errorOf(name)).join("");
      return `<h2>The loss</h2>${body}`;
    }
    if (step.phase === "update") {
      const body = live ? liveUpdate() : `<p>W ← W − μ ∂L/∂W, with μ = ${fmt(data.rate)}: the loss goes from ${fmt(data.loss)} to ${fmt(data.lossAfter)}.</p>` + Object.entries(data.parameters).map(([name, p]) => tensorView(`${name}, afterwards`, p.after, { name, from: `${name} − μ ∂L/∂${name}` }) + updateFilledIn(name)).join("");
      return `<h2>The update</h2>${body}`;
    }
    return nodePanel(step);
  }

  // The lesson ------------------------------------------------------------------------------------------------------

  const phiName = live && L[0].kind ? PHI[L[0].kind].name : "φ";
  const LESSON = live && [
    ["A network computes from left to right. Press → (or Next) to let the first layer compute its sums.", () => current >= indexOf("forward", L[0].node)],
    [`Each number says where it comes from. Rest on ${A(0, 0)} in the picture (touch it, or Tab to it), and read its sum.`, () => seen.hovered.has(A(0, 0))],
    [`Go on until the loss: → twice or more. On the way ${phiName} bends each sum.`, () => isDone("loss")],
    ["The loss L says how far the answer r̂ is from the target r. Choose the other target, and see L change.", () => seen.targets > 0],
    ["Now back. Press →: the last layer gets ∂L/∂z = r̂ − r, and passes it on.", () => current >= indexOf("backward", L[L.length - 1].node)],
    [`A unit that feeds several others gets the sum over all paths. Rest on ${D(Y(L.length - 2, 0))} in the text on the right.`, () => seen.hovered.has(D(Y(L.length - 2, 0)))],
    ["Go on back to the first layer: → twice. There each derivative is multiplied by the slope φ′.", () => current >= indexOf("backward", L[0].node)],
    [`Is ${D(W(0, 0, 0))} right? Press "check me" beside it: the loss is computed again with a slightly larger and a slightly smaller weight.`, () => seen.checked.has(key.w(0, 0, 0))],
    ["Go to the update (→), and take the step: every weight moves against its derivative.", () => seen.stepped > 0],
    ["Take more steps, with a larger rate μ above if you like, until the loss L is below 0.1: that is learning.", () => seen.stepped > 1 && now.L < 0.1],
  ];
  let at = 0;
  function lesson() {
    if (!data.lesson) return;
    const box = $("lesson");
    while (at < LESSON.length && LESSON[at][1]()) at += 1;
    box.hidden = false;
    const done = at === LESSON.length;
    const text = done ? "That is back-propagation: sums over paths, products along them, one walk back. All ten steps are done." : LESSON[at][0];
    box.innerHTML = `<progress max="${LESSON.length}" value="${at}" aria-label="Lesson"></progress><p class="${done ? "done" : ""}"><b>${done ? "✓" : `${at + 1} of ${LESSON.length}`}</b> ${esc(text)}</p><nav>${done ? "" : '<button id="skip">Skip this one</button>'}<button id="close">Close the lesson</button></nav>`;
  }

  // Showing it ------------------------------------------------------------------------------------------------------

  function hash() {
    const step = steps[current], parts = [`step=${current}`, `node=${encodeURIComponent(step.node)}`];
    if (changed.size) parts.push(`set=${[...changed].map(([name, value]) => `${encodeURIComponent(name)}:${encodeURIComponent(value)}`).join(";")}`);
    if (live && model.target !== live.target) parts.push(`target=${model.target}`);
    if (live && model.rate !== data.rate) parts.push(`rate=${model.rate}`);
    return `#${parts.join("&")}`;
  }
  // What has the focus is drawn anew with the page: the element by which it is found again, in the picture at any step
  const markOf = (element) => (!element || !element.closest("#graph, #panel") ? "" : element.dataset.tip ? `[data-tip="${element.dataset.tip}"]` : element.id ? `[id="${element.id}"]` : "");
  let drawn = -1, isQuiet = false;
  function focusAgain(mark) {
    const element = mark && document.querySelector(mark);
    if (!element) return;
    isQuiet = true;
    element.focus({ preventScroll: true });
    isQuiet = false;
  }
  function show(keep) {
    const mark = markOf(document.activeElement), stays = mark.startsWith("[data-tip") || drawn === current;
    drawn = current;
    tips.clear();
    count = 0;
    $("tip").hidden = true;
    if (live) liveGraph();
    $("panel").innerHTML = panel();
    $("loss").innerHTML = isDone("loss") ? `L = <b>${fmt(live ? now.L : data.loss)}</b>` : "";
    document.querySelectorAll("#phases li").forEach((item, i) => {
      item.classList.toggle("done", i <= current);
      item.classList.toggle("now", i === current);
      if (i === current) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
    });
    $("first").disabled = $("back").disabled = current === 0;
    $("last").disabled = $("next").disabled = current === steps.length - 1;
    const step = steps[current];
    $("other").disabled = !(step.phase === "forward" && indexOf("backward", step.node) >= 0) && step.phase !== "backward";
    document.querySelectorAll("svg g[data-node]").forEach((group) => {
      const here = group.dataset.node === step.node;
      group.classList.toggle("now", here);
      if (here && !live) group.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    if (!keep && location.protocol !== "about:") history.replaceState(null, "", hash()); // a page in a notebook has no address
    lesson();
    if (stays) focusAgain(mark);
  }
  function restore() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (live) {
      model = fresh();
      changed.clear();
      for (const part of (wanted.get("set") || "").split(";").filter(Boolean)) {
        const cut = part.lastIndexOf(":"), name = part.slice(0, cut), value = Number(part.slice(cut + 1));
        let where = null;
        try { where = place(name); } catch { where = null; }
        if (where && where.list && Number.isFinite(value) && where.list(model) && where.i in where.list(model)) { where.list(model)[where.i] = value; changed.set(name, value); }
      }
      const target = Number(wanted.get("target") ?? model.target), rate = Number(wanted.get("rate") ?? model.rate);
      if (Number.isInteger(target) && target >= 0 && target < now.p.length) model.target = target;
      if (rate >= 0 && Number.isFinite(rate)) model.rate = rate;
      $("rate").value = model.rate;
      now = run(model);
    }
    const i = Number(wanted.get("step"));
    go(Number.isInteger(i) && steps[i] && (!wanted.get("node") || steps[i].node === wanted.get("node")) ? i : Math.max(0, steps.findIndex((step) => step.node === wanted.get("node"))), true);
  }

  $("phases").innerHTML = steps.map((step, i) => `<li class="${step.phase}" data-step="${i}" title="${esc(step.phase)} ${esc(step.phase === step.node ? "" : step.node)}"></li>`).join("");
  $("phases").classList.toggle("many", steps.length > 80);
  if (!live) { $("rates").hidden = true; $("reset").hidden = true; }
  $("first").onclick = () => go(0);
  $("back").onclick = () => go(current - 1);
  $("next").onclick = () => go(current + 1);
  $("last").onclick = () => go(steps.length - 1);
  $("other").onclick = otherPass;
  $("reset").onclick = () => { model = fresh(); changed.clear(); seen.told = ""; $("rate").value = model.rate; refresh(); };
  $("rate").oninput = (event) => { const rate = event.target.valueAsNumber; if (rate >= 0) { model.rate = rate; refresh(); } };
  document.addEventListener("click", (event) => {
    const target = labelOf(event.target.closest("[data-check],[data-target],[data-step],#descend,#skip,#close,.n,[data-tip],[data-edge],g[data-node]"));
    if (!target) return;
    const set_ = target.dataset;
    if (set_.check !== undefined) {
      const [said, { isWrong, mark }] = live ? liveVerdict(set_.check) : recordedVerdict(set_.check, set_.at);
      target.insertAdjacentHTML("afterend", `<span class="checked${isWrong ? " wrong" : ""}" tabindex="-1">${esc(said)} ${mark}</span>`);
      target.nextElementSibling.focus({ preventScroll: true }); // where the button was, for the next Tab
      target.remove();
      seen.checked.add(set_.check);
      lesson();
    } else if (set_.target !== undefined) { if (Number(set_.target) !== model.target) seen.targets += 1; model.target = Number(set_.target); refresh(); }
    else if (set_.step !== undefined) go(Number(set_.step));
    else if (target.id === "descend") descend();
    else if (target.id === "skip") { at += 1; lesson(); }
    else if (target.id === "close") { data.lesson = false; $("lesson").hidden = true; }
    else if (set_.node !== undefined) { const i = indexOf(steps[current].phase === "backward" ? "backward" : "forward", set_.node); if (i >= 0) go(i); }
    else if (isTouch && tipBefore !== (target.id || target.dataset.tip)) tipAt(target); // a first touch tells, a second one does
    else press(target);
  });
  let isTouch = false, tipBefore = "";
  document.addEventListener("pointerdown", (event) => { isTouch = event.pointerType === "touch"; tipBefore = $("tip").hidden ? "" : $("tip").dataset.of; }, true);
  const labelOf = (element) => (element && element.matches(".reach") ? document.querySelector(`.weight[data-tip="${element.dataset.edge}"]`) : element);
  const aim = (event) => {
    const target = labelOf(event.target.closest && event.target.closest(".n,[data-tip],[data-edge]"));
    if (target && target.closest("svg.live")) pickFor(target);
    if (target && !isQuiet) tipAt(target);
  };
  document.addEventListener("mouseover", aim);
  document.addEventListener("focusin", aim);
  for (const name of ["mouseout", "focusout"]) document.addEventListener(name, () => { $("tip").hidden = true; pick(null); });
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = { ArrowRight: () => go(current + 1), ArrowLeft: () => go(current - 1), Home: () => go(0), End: () => go(steps.length - 1), ArrowUp: otherPass, ArrowDown: otherPass };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
    if ((event.key === "Enter" || event.key === " ") && event.target.matches(".n,[data-tip]")) { event.preventDefault(); press(event.target); }
  });
  addEventListener("hashchange", restore);
  window.stepper = {
    numbers: () => (live ? { loss: now.L, x: model.x, layers: L.map((_, l) => ({ a: now.a[l], y: now.y[l], d_a: now.dA[l], d_y: now.dY[l], d_weight: now.dW[l], d_bias: now.dB[l], weight: model.layers[l].weight, bias: model.layers[l].bias })), d_x: now.dX } : data),
    set, go, steps, get step() { return current; }, get lesson() { return at; },
  };
  restore();
})();
