// The verdict desk: the original's claims, judged anew at the reader's setting, in one module that asks nobody.
//
// `mount(element, data)` builds it into an element; `data` is what report/desk/__init__.py calls page_data. The pure
// functions come first: they are those of report/statistics.py and report/claims.py, and Node tests them against these.

// ---- the results

/** Return the data with its counts unpacked: `curves[reading][network]`, one array of percentages per trial. */
export async function ready(data) {
  const { trials, epochs, readings, networks } = data;
  const bytes = Uint8Array.from(atob(data.counts), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer()), size = planes.length / 2;
  let at = 0;
  const trial = () => {
    const percent = new Float64Array(epochs);
    let count = data.before;
    for (let epoch = 0; epoch < epochs; epoch++, at++) {
      const folded = planes[at] | (planes[size + at] << 8); // 0, -1, 1, -2, ... are written as 0, 1, 2, 3, ...
      count += folded & 1 ? -(folded + 1) / 2 : folded / 2;
      percent[epoch] = (100 * count) / data.pairs;
    }
    return percent;
  };
  const named = (names, value) => Object.fromEntries(names.map((name) => [name, value(name)]));
  const curves = named(readings, () => named(networks, () => Array.from({ length: trials }, trial)));
  if (at !== size) throw new Error("the curves of this page are not whole");
  return { ...data, curves };
}

// ---- numbers

/** Sum in NumPy's order, eight at a time and in halves: so the last digit is the same, on which a rounding may hang. */
export function sum(values, from = 0, n = values.length) {
  if (n > 128) {
    const half = (n >> 1) - ((n >> 1) % 8);
    return sum(values, from, half) + sum(values, from + half, n - half);
  }
  let total = 0, i = 0;
  if (n >= 8) {
    const r = Array.from(values.slice(from, from + 8));
    for (i = 8; i + 8 <= n; i += 8) for (let k = 0; k < 8; k++) r[k] += values[from + i + k];
    total = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
  }
  for (; i < n; i++) total += values[from + i];
  return total;
}

const mean = (values) => sum(values) / values.length;
const squares = (values) => {
  const middle = mean(values), off = values.map((value) => value - middle);
  return sum(off.map((value) => value * value));
};
const spread = (values) => Math.max(...values) - Math.min(...values);

/** Two-sided p of Student's t: the incomplete beta function, by its continued fraction (Lentz), precise in the tail. */
export function twoSided(t, degrees) {
  const square = t * t, x = degrees / (degrees + square), y = square / (degrees + square); // x + y = 1
  let ratio = degrees % 2 ? 1 / Math.PI : 1 / 2; // gamma((degrees + 1) / 2) / gamma(degrees / 2) / gamma(1 / 2)
  for (let k = degrees % 2 ? 3 : 4; k <= degrees; k += 2) ratio *= (k - 1) / (k - 2);
  const a = degrees / 2, front = Math.exp(a * Math.log(x)) * Math.sqrt(y) * ratio;
  if (x < (a + 1) / (a + 2.5)) return (front * fraction(a, 0.5, x)) / a;
  return 1 - 2 * front * fraction(0.5, a, y);
}

function fraction(a, b, x) {
  const away = (value) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
  let c = 1, d = 1 / away(1 - ((a + b) * x) / (a + 1)), result = d;
  for (let m = 1; m < 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let step = 1;
    for (const term of [even, odd]) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      step = c * d;
      result *= step;
    }
    if (Math.abs(step - 1) < 1e-16) break;
  }
  return result;
}

const above = (t, degrees) => (t < 0 ? 1 - twoSided(t, degrees) / 2 : twoSided(t, degrees) / 2);

const quantiles = new Map();

/** The t beyond which, on both sides together, lies `alpha`: by halving. */
export function quantile(alpha, degrees) {
  const key = `${alpha} ${degrees}`;
  if (!quantiles.has(key)) {
    let low = 0, high = 1;
    while (twoSided(high, degrees) > alpha) high *= 2;
    for (let middle = high / 2; low < middle && middle < high; middle = (low + high) / 2) {
      if (twoSided(middle, degrees) > alpha) low = middle;
      else high = middle;
    }
    quantiles.set(key, high);
  }
  return quantiles.get(key);
}

/** p values of one family, adjusted by Holm's method, in the order given. */
export function holm(p) {
  const order = p.map((_, i) => i).sort((i, k) => p[i] - p[k] || i - k), adjusted = [];
  let most = 0;
  order.forEach((i, rank) => { adjusted[i] = Math.min(1, most = Math.max(most, (p.length - rank) * p[i])); });
  return adjusted;
}

// ---- two networks, paired by trial

/** b - a of each trial: 0 where only rounding keeps it from 0, all the same where only rounding parts them. */
function differences(a, b, { rounding }) {
  const found = b.map((value, i) => (Math.abs(value - a[i]) > rounding ? value - a[i] : 0));
  if (spread(found) > rounding) return found;
  const sorted = [...found].sort((x, y) => x - y), middle = sorted.length >> 1;
  return found.fill(sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2);
}

/** The mean of b - a, its interval by Student's t, the p of the difference, and in what share of trials b is better. */
function compared([a, b], data) {
  const d = differences(a, b, data), n = d.length;
  const superiority = mean(d.map((value) => (value > 0 ? 1 : value === 0 ? 0.5 : 0)));
  if (spread(d) === 0) return { d, n, superiority, estimate: d[0], low: d[0], high: d[0], p: d[0] === 0 ? 1 : 0 };
  const estimate = mean(d), error = Math.sqrt(squares(d) / (n - 1) / n), half = quantile(data.alpha, n - 1) * error;
  return { d, n, superiority, estimate, low: estimate - half, high: estimate + half, p: twoSided(estimate / error, n - 1) };
}

/** The p of "not the same to within `margin` points": the larger of two one-sided tests. */
function equivalence([a, b], margin, data) {
  const d = differences(a, b, data), n = d.length, room = margin - Math.abs(mean(d));
  if (spread(d) === 0) return room <= data.rounding ? 1 : 0;
  return above((room * Math.sqrt(n)) / Math.sqrt(squares(d) / (n - 1)), n - 1);
}

// ---- the ledger

/** The quantity of each trial of two networks, from their curves: arrays of one percentage per epoch. */
function quantity(name, curves) {
  const epochs = curves[0][0].length, share = (part) => Math.max(1, Math.floor(epochs / part));
  const [first, width, lag] = [share(10), share(20), share(5)];
  const of = {
    end: (curve) => curve[epochs - 1],
    overall: (curve) => mean(curve),
    start: (curve) => mean(curve.subarray(0, first)),
    plateau: (curve) => mean(curve.subarray(epochs - width)) - mean(curve.subarray(epochs - lag - width, epochs - lag)),
    slope: (curve) => (curve[steps] - curve[0]) / steps,
  };
  const steps = name === "slope" ? rise(curves) : null;
  return curves.map((several) => Float64Array.from(several, of[name]));
}

/** Epochs after the first until the mean curve of two networks has made 90 % of its gain; all where it gains nothing. */
function rise(curves) {
  const [a, b] = curves.map((several) => {
    const total = new Float64Array(several[0].length);
    for (const curve of several) curve.forEach((value, epoch) => { total[epoch] += value; });
    return total.map((value) => value / several.length);
  });
  const both = a.map((value, epoch) => (value + b[epoch]) / 2), gained = both.map((value) => value - both[0]);
  return gained.at(-1) > 1e-9 ? gained.findIndex((value) => value >= 0.9 * gained.at(-1)) : gained.length - 1;
}

const general = (value) => String(Number(value.toPrecision(6))); // as Python's format g

/**
 * Judge every claim at a setting: `reading`, the first `trials` and `epochs`, the `margin` in points, and the `fewest`
 * trials that get a verdict.
 */
export function ledger(data, { reading, trials, epochs, margin, fewest }) {
  const cut = (network) => data.curves[reading][network].slice(0, trials).map((curve) => curve.subarray(0, epochs));
  const curves = Object.fromEntries(data.networks.map((network) => [network, cut(network)]));
  const judged = data.claims.map((claim) => {
    const pair = quantity(claim.quantity, [curves[claim.a], curves[claim.b]]);
    return { ...claim, pair, ...compared(pair, data) };
  });
  // Three families: differences and equivalences after the last epoch, and the words that are about other quantities.
  const ends = Object.entries(data.figures).map(([figure, names]) => [figure, quantity("end", names.map((name) => curves[name]))]);
  const different = holm(ends.map(([, pair]) => compared(pair, data).p));
  const alike = holm(ends.map(([, pair]) => equivalence(pair, margin, data)));
  const words = judged.filter((claim) => claim.quantity !== "end");
  const others = holm(words.map(({ claimed, pair, p }) => (claimed ? p : equivalence(pair, margin, data))));
  return judged.map((claim) => {
    const place = ends.findIndex(([figure]) => figure === claim.figure);
    const p = claim.quantity === "end" ? (claim.claimed ? different : alike)[place] : others[words.indexOf(claim)];
    const few = trials < fewest, { estimate } = claim;
    const side = estimate > 0 ? "higher" : estimate < 0 ? "lower" : "equal";
    const verdict = few ? `${claim.b} ${side}; too few trials for a verdict` : verdictOf(claim, p, margin, data);
    const { claim: name, quote, figure, a, b, quantity: about, claimed, low, high, superiority } = claim;
    const unit = about === "slope" ? "points per epoch" : "points", why = few ? "" : whyOf(claim, verdict, margin, data);
    return { claim: name, quote, figure, a, b, claimed, unit, estimate, low, high, superiority, adjusted_p: few ? null : p, verdict, why };
  });
}

function verdictOf({ quantity: about, claimed, pair, estimate, low, high }, p, margin, { alpha, chance }) {
  if (claimed) return p >= alpha || estimate === 0 ? "undecided" : Math.sign(estimate) === claimed ? "reproduced" : "contradicted";
  if (about === "start" && Math.max(...pair.map(mean)) <= chance + 1) return "vacuous";
  return p < alpha ? "reproduced" : low > margin || high < -margin ? "contradicted" : "undecided";
}

function whyOf({ claimed, b, estimate, superiority }, verdict, margin, { alpha, chance }) {
  const within = `±${general(margin)} points`;
  if (verdict === "vacuous") return `neither is more than a point above ${general(chance)} %, always answering “smaller or equal”: nothing to compare`;
  if (!claimed && verdict === "reproduced") return `both one-sided tests place the difference within ${within}`;
  if (!claimed && verdict === "contradicted") return `the whole interval lies outside ${within}`;
  if (!claimed) return `the interval reaches across ${general(margin)} points on one side`;
  const better = `${b} is the higher one in ${fixed(100 * superiority, 0)} % of the trials`;
  if (verdict === "undecided") return `p after Holm is not below ${general(alpha)}: this mean could be chance; ${better}`;
  return `p after Holm is below ${general(alpha)}, and ${b} is the ${estimate > 0 ? "higher" : "lower"} one`;
}

/** A number with so many decimals; what lies exactly halfway goes to the even digit, as in Python. */
export function fixed(value, digits) {
  const size = Math.abs(value), halves = size * 2 ** (digits + 1);
  const even = halves % 2 === 1 ? 2 * Math.round((size * 10 ** digits) / 2) / 10 ** digits : size;
  return (value < 0 ? "−" : "") + even.toFixed(digits);
}

const signed = (value, digits) => (value < 0 ? "" : "+") + fixed(value, digits);

/** A row of the table, as report.claims writes it: the difference with its interval, the adjusted p, the verdict. */
export function row({ a, b, unit, estimate, low, high, adjusted_p: p, verdict, why }) {
  const slope = unit !== "points", [m, l, h] = [estimate, low, high].map((value) => signed(value, slope ? 3 : 2));
  const difference = `${b} − ${a}: ${m} (${l} to ${h})${slope ? " per epoch" : ""}`;
  return [difference, p === null ? "–" : p < 0.001 ? "< 0.001" : fixed(p, 3), verdict, why];
}

// ---- the page

const STYLE = `
.verdict-desk { --pen: var(--ink, light-dark(#1d2430, #dfe4ec)); --ground: var(--paper, light-dark(#fff, #15191f)); --edge: light-dark(#6b7683, #8b97a5);
  --faint: var(--soft, light-dark(#56606e, #a3aebc)); --warn: light-dark(#9a3b00, #f0a070); font: 15px/1.45 system-ui, sans-serif;
  color: var(--pen); color-scheme: inherit; container-type: inline-size; }
.verdict-desk .setting { display: grid; grid-template-columns: max-content minmax(6rem, 1fr) 6rem; gap: .3rem .8rem; align-items: center; }
.verdict-desk .setting > :is(select, .over) { grid-column: 2 / -1; justify-self: start; }
.verdict-desk .setting > .wrong { grid-column: 1 / -1; }
.verdict-desk :is(button, select, input[type=number]) { font: inherit; padding: .3rem .7rem; color: inherit; box-sizing: border-box;
  background: var(--ground); border: 1px solid var(--edge); border-radius: 6px; min-height: 2.2rem; max-width: 100%; }
.verdict-desk input[type=range] { width: 100%; min-height: 2rem; accent-color: var(--link, light-dark(#14569a, #86bdf5)); }
.verdict-desk input[aria-invalid=true] { border: 2px solid var(--warn); }
.verdict-desk table { border-collapse: collapse; width: 100%; }
.verdict-desk caption { text-align: left; font-weight: 600; padding: .3rem 0; }
.verdict-desk :is(th, td) { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--edge); font-weight: 400; }
.verdict-desk thead th { font-weight: 600; }
.verdict-desk td:nth-child(3) { white-space: nowrap; }
.verdict-desk small { display: block; color: var(--faint); font-size: 13px; font-weight: 400; }
.verdict-desk .otherwise, .verdict-desk .wrong { color: var(--warn); font-weight: 600; }
.verdict-desk p { margin: .5rem 0; }
.verdict-desk .wrong:empty { display: none; }
.verdict-desk .scale { display: block; position: relative; height: 14px; min-width: 9rem; margin-top: .2rem; overflow: hidden; }
.verdict-desk .scale i { position: absolute; top: 6px; height: 2px; background: var(--pen); }
.verdict-desk .scale i:nth-child(1) { top: 0; height: 100%; background: var(--edge); opacity: .3; }
.verdict-desk .scale i:nth-child(2) { top: 0; height: 100%; width: 1px; left: 50%; background: var(--edge); }
.verdict-desk .scale i:nth-child(4) { top: 3px; height: 8px; width: 8px; margin-left: -4px; border-radius: 4px; }
@container (max-width: 36rem) {
  .verdict-desk .setting { grid-template-columns: minmax(0, 1fr) 6rem; }
  .verdict-desk .setting > :is(label, select, .over) { grid-column: 1 / -1; }
  .verdict-desk thead { position: absolute; clip-path: inset(50%); height: 1px; width: 1px; overflow: hidden; }
  .verdict-desk :is(table, caption, tbody, tr, tbody :is(th, td)) { display: block; }
  .verdict-desk tbody :is(th, td) { border: 0; padding: .1rem 0; }
  .verdict-desk tbody th { font-weight: 600; }
  .verdict-desk tbody tr { border-bottom: 1px solid var(--edge); padding: .4rem 0; }
  .verdict-desk td:nth-child(3)::before { content: "p (Holm): "; }
}
`;

const HEADER = ["the original", "difference (95 % interval)", "p (Holm)", "verdict, and why"];
const [REACH, STEEP] = [3, 0.15]; // of the drawn scale, to each side: in points, and in points per epoch

const legend = (data) => `The bars reach from −${REACH} to +${REACH} points (slopes: from −${STEEP} to +${STEEP} per epoch), with 0 in the ` +
  "middle, and are cut off beyond; grey is the margin, where sameness is claimed. Fewer trials are the first ones. A training stopped earlier has the same first epochs; its “start” is the " +
  "first tenth of what is left, and its plateau compares the same shares. The p values of a setting that was chosen by what comes " +
  `out promise nothing; the published one is ${data.trials} trials, ${data.epochs} epochs and ±${general(data.margin)} points.`;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** A number to move and to type: keeps a valid `value` and calls `changed`; what is not allowed is said in a sentence. */
function field(id, label, { min, max, step, whole }, changed) {
  const allowed = `${label}: a ${whole ? "whole " : ""}number from ${min} to ${max}.`;
  const slider = make("input", { type: "range", id, min, max, step });
  const typed = make("input", { type: "number", id: `${id}-typed`, min, max, step, inputMode: whole ? "numeric" : "decimal" });
  const wrong = make("p", { className: "wrong", id: `${id}-wrong` });
  wrong.setAttribute("role", "alert");
  typed.setAttribute("aria-label", `${label}, typed`);
  typed.setAttribute("aria-describedby", wrong.id);
  const self = { parts: [make("label", { htmlFor: id, textContent: label }), slider, typed, wrong], value: null };
  self.set = (value) => {
    self.value = value;
    slider.value = value;
    if (Number(typed.value) !== value || typed.value === "") typed.value = value;
    typed.removeAttribute("aria-invalid");
    wrong.textContent = "";
  };
  const read = (last) => {
    const value = typed.value === "" ? NaN : Number(typed.value);
    if (value >= min && value <= max && (!whole || Number.isInteger(value))) {
      self.set(value);
      changed();
    } else if (last) { // said when the number is finished, not while it is typed
      typed.setAttribute("aria-invalid", "true");
      wrong.textContent = `${allowed} The table is still of ${general(self.value)}.`;
    }
  };
  slider.addEventListener("input", () => { self.set(Number(slider.value)); changed(); });
  typed.addEventListener("input", () => read(false));
  typed.addEventListener("change", () => read(true));
  return self;
}

/** An interval on its scale; the numbers stand beside it, so it is not read out. */
function drawn({ estimate, low, high, unit, claimed }, margin) {
  const reach = unit === "points" ? REACH : STEEP;
  const at = (value) => 50 + 50 * Math.min(1.1, Math.max(-1.1, value / reach)); // percent, and a little beyond the ends
  const part = (from, to) => {
    const span = make("i");
    span.style.left = `${at(from)}%`;
    if (to !== undefined) span.style.width = `${at(to) - at(from)}%`;
    return span;
  };
  const band = claimed ? part(0, 0) : part(-margin, margin);
  const scale = make("span", { className: "scale" }, band, make("i"), part(low, high), part(estimate));
  scale.setAttribute("aria-hidden", "true");
  return scale;
}

/** What the table says, in a sentence. */
function summary(judged, before, setting, published) {
  const turned = judged.filter((claim, i) => claim.verdict !== before[i].verdict), count = turned.length;
  const few = setting.trials < setting.fewest ? `With fewer than ${setting.fewest} trials there is no verdict, only a direction. ` : "";
  if (Object.keys(setting).every((key) => key === "reading" || setting[key] === published[key])) return "This is the published setting.";
  const which = few ? "" : `: ${turned.map(({ claim }) => claim).join("; ")}`;
  if (!count) return "No verdict differs from the published ones.";
  return `${few}${count} verdict${count > 1 ? "s differ" : " differs"} from the published ones${which}.`;
}

/** Build the desk into an element; resolves when it stands there. */
export async function mount(element, given) {
  let data;
  try {
    data = await ready(given);
  } catch (error) {
    element.replaceChildren(make("p", { textContent: `The desk is not shown, for its results cannot be unpacked here: ${error.message}` }));
    return;
  }
  const name = (part) => `${element.id || "verdicts"}-${part}`;
  const published = { trials: data.trials, epochs: data.epochs, margin: data.margin, fewest: data.fewest };
  const said = make("p", { className: "said" }), body = make("tbody");
  said.setAttribute("role", "status");
  const reading = make("select", { id: name("reading") }, ...data.readings.map((each) => make("option", { textContent: each })));
  const few = make("input", { type: "checkbox", id: name("few") });
  const cell = (text, role, ...more) => {
    const it = make(role === "rowheader" ? "th" : "td", {}, text, ...more);
    if (role === "rowheader") it.scope = "row";
    it.setAttribute("role", role); // said again, for a narrow table is laid out as blocks
    return it;
  };
  const line = (claim, before, margin) => {
    const [difference, p, verdict, why] = row(claim), turned = verdict !== before.verdict;
    const differs = turned ? [make("span", { className: "otherwise", textContent: ` (published: ${before.verdict})` })] : [];
    const cells = [
      cell(claim.claim, "rowheader", make("small", { textContent: `“${claim.quote}”, figure ${claim.figure}` })),
      cell(difference, "cell", drawn(claim, margin)), cell(p, "cell"),
      cell(make(turned ? "strong" : "span", { textContent: verdict }), "cell", ...differs, make("small", { textContent: why })),
    ];
    const it = make("tr", {}, ...cells);
    it.setAttribute("role", "row");
    return it;
  };
  const judge = () => {
    const setting = { reading: reading.value, trials: trials.value, epochs: epochs.value, margin: margin.value, fewest: few.checked ? 2 : data.fewest };
    const judged = ledger(data, setting), before = ledger(data, { ...published, reading: reading.value });
    body.replaceChildren(...judged.map((claim, i) => line(claim, before[i], setting.margin)));
    const sentence = summary(judged, before, setting, published);
    if (said.textContent !== sentence) said.textContent = sentence; // a sentence said again is not read out again
  };
  const trials = field(name("trials"), "Number of trials", { min: 2, max: data.trials, step: 1, whole: true }, judge);
  const epochs = field(name("epochs"), "Stopped after epoch", { min: 2, max: data.epochs, step: 1, whole: true }, judge);
  const margin = field(name("margin"), "Margin of sameness, in points", { min: 0.05, max: 5, step: 0.05, whole: false }, judge);
  const back = () => {
    trials.set(published.trials);
    epochs.set(published.epochs);
    margin.set(published.margin);
    few.checked = false;
    judge();
  };
  const again = make("button", { type: "button", textContent: "Back to the published setting", className: "over" });
  again.addEventListener("click", back);
  for (const each of [reading, few]) each.addEventListener("change", judge);
  const others = make("label", { className: "over" }, few, ` judge fewer than ${data.fewest} trials too, which the report does not`);
  const setting = make("div", { className: "setting" }, make("label", { htmlFor: reading.id, textContent: "Reading" }), reading,
    ...[trials, epochs, margin].flatMap((each) => each.parts), others, again);
  setting.setAttribute("role", "group");
  setting.setAttribute("aria-label", "the setting");
  const heads = make("tr", {}, ...HEADER.map((text) => make("th", { textContent: text, scope: "col" })));
  const table = make("table", {}, make("caption", { textContent: "The ledger of claims at this setting" }), make("thead", {}, heads), body);
  [[table, "table"], [table.tHead, "rowgroup"], [heads, "row"], [body, "rowgroup"]].forEach(([it, role]) => it.setAttribute("role", role));
  for (const head of heads.cells) head.setAttribute("role", "columnheader");
  element.classList.add("verdict-desk");
  element.replaceChildren(make("style", { textContent: STYLE }), setting, said, table, make("p", {}, make("small", { textContent: legend(data) })));
  back();
}
