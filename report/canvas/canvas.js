// Two digits to draw, and what trained networks answer: drawing and arithmetic in one module that asks nobody.
//
// `mount(element, data)` builds it into an element; `data` is what report/canvas/__init__.py calls page_data. Pictures
// are arrays of grey values from 0 to 1, row by row. The pure functions come first; Node tests them against PyTorch.

const SIDE = 14; // of what a network sees, in pixels
const MNIST = 28, BOX = 20; // MNIST's pictures, and the box that its digits fill
const INK = 112; // side of the grid on which strokes become grey values
const PEN = 0.042; // radius of the pen, of the square's side

// ---- numbers

/** Return the numbers of a packed tensor: base64 of 16-bit floats, the lowest byte first. */
export function unpack({ float16 }) {
  const bytes = Uint8Array.from(atob(float16), (letter) => letter.charCodeAt(0));
  return Float64Array.from({ length: bytes.length / 2 }, (_, i) => half(bytes[2 * i] | (bytes[2 * i + 1] << 8)));
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Return a network with its tensors unpacked: layers are arrays of { shape, values }. */
export function ready(network) {
  const layers = (several) => several.map((layer) => layer.map((each) => ({ ...each, values: unpack(each) })));
  const parts = ["extract", "extract_second", "compare", "auxiliary"].filter((part) => network[part]);
  return { ...network, ...Object.fromEntries(parts.map((part) => [part, layers(network[part])])) };
}

// ---- layers

/** 3x3 convolution, batch normalisation by running statistics, 2x2 max pooling, ReLU: maps [channels, side, side]. */
function block(maps, side, [weight, gamma, beta, mean, variance], epsilon) {
  const [outputs, inputs] = weight.shape, wide = side - 2, half = wide >> 1, places = wide * wide;
  const pooled = new Float64Array(outputs * half * half), convolved = new Float64Array(places);
  const columns = new Float64Array(inputs * 9 * places); // what each weight is multiplied by, at each place
  for (let row = 0, at = 0; row < inputs * 9; row++) {
    const from = Math.floor(row / 9) * side * side + Math.floor((row % 9) / 3) * side + (row % 3);
    for (let y = 0; y < wide; y++) {
      for (let x = 0; x < wide; x++) columns[at++] = maps[from + y * side + x];
    }
  }
  for (let out = 0; out < outputs; out++) {
    convolved.fill(0);
    for (let row = 0, at = 0; row < inputs * 9; row++) {
      const factor = weight.values[out * inputs * 9 + row];
      for (let place = 0; place < places; place++) convolved[place] += factor * columns[at++];
    }
    const scale = gamma.values[out] / Math.sqrt(variance.values[out] + epsilon);
    const normal = (value) => (value - mean.values[out]) * scale + beta.values[out];
    for (let y = 0; y < half; y++) {
      for (let x = 0; x < half; x++) {
        const at = 2 * y * wide + 2 * x;
        const four = [at, at + 1, at + wide, at + wide + 1].map((i) => normal(convolved[i]));
        pooled[(out * half + y) * half + x] = Math.max(0, ...four);
      }
    }
  }
  return pooled;
}

const known = new WeakMap(); // features by blocks and picture: of two squares only one changes under the pen

/** The features of one picture of SIDE x SIDE. */
function features(picture, blocks, { mean, sd, epsilon }) {
  if (!known.has(blocks)) known.set(blocks, new WeakMap());
  const kept = known.get(blocks);
  if (!kept.has(picture)) {
    const first = block(picture.map((grey) => (grey - mean) / sd), SIDE, blocks[0], epsilon);
    kept.set(picture, block(first, (SIDE - 2) >> 1, blocks[1], epsilon));
  }
  return kept.get(picture);
}

/** Linear layers with ReLU between them. */
function head(numbers, layers) {
  return layers.reduce((input, [weight, bias], i) => {
    const output = Float64Array.from(bias.values);
    for (let row = 0, at = 0; row < output.length; row++) {
      let sum = output[row];
      for (let k = 0; k < input.length; k++) sum += weight.values[at++] * input[k];
      output[row] = sum;
    }
    return i < layers.length - 1 ? output.map((value) => Math.max(0, value)) : output;
  }, numbers);
}

const sigmoid = (numbers) => numbers.map((value) => 1 / (1 + Math.exp(-value)));

/** Shares that sum to one. */
export function softmax(numbers) {
  const highest = Math.max(...numbers), shares = Array.from(numbers, (value) => Math.exp(value - highest));
  const sum = shares.reduce((a, b) => a + b);
  return shares.map((share) => share / sum);
}

const joined = (a, b) => Float64Array.from([...a, ...b]);

/** What a network that is `ready` says of two pictures: the outputs of its heads, as PyTorch gives them. */
export function outputs(network, [first, second]) {
  const bounded = network.sigmoid ? sigmoid : (numbers) => numbers;
  const seen = [features(first, network.extract, network)];
  seen.push(features(second, network.extract_second ?? network.extract, network));
  const said = {};
  if (network.names) said.auxiliary = seen.map((maps) => bounded(head(maps, network.auxiliary)));
  else if (network.auxiliary) said.auxiliary = bounded(head(joined(...seen), network.auxiliary));
  const names = () => said.auxiliary.map((each) => (network.sigmoid ? each : softmax(each)));
  said.answer = bounded(head(joined(...(network.reads === "names" ? names() : seen)), network.compare));
  return said;
}

const highest = (numbers) => numbers.reduce((best, value, i) => (value > numbers[best] ? i : best), 0);

/** The same in short: whether the first digit is smaller or equal, how sure that is, and the names of a class head. */
export function judge(network, pictures) {
  const said = outputs(network, pictures), shares = softmax(said.answer), smaller = highest(said.answer) === 1;
  const names = network.names ? said.auxiliary.map(highest) : null;
  return { smaller, sure: Math.max(...shares), names };
}

// ---- from strokes to what a network sees

/** Grey values of strokes, each a list of points in a square of side 1, on a grid of INK x INK. */
export function inked(strokes) {
  const ink = new Float64Array(INK * INK), radius = PEN * INK;
  for (const stroke of strokes) {
    stroke.forEach((point, i) => {
      const [ax, ay] = stroke[Math.max(0, i - 1)].map((c) => c * INK), [bx, by] = point.map((c) => c * INK);
      const bounds = (a, b) => [Math.max(0, Math.floor(Math.min(a, b) - radius - 1)), Math.min(INK - 1, Math.ceil(Math.max(a, b) + radius + 1))];
      const [left, right] = bounds(ax, bx), [top, bottom] = bounds(ay, by), length = (bx - ax) ** 2 + (by - ay) ** 2;
      for (let y = top; y <= bottom; y++) {
        for (let x = left; x <= right; x++) {
          const px = x + 0.5 - ax, py = y + 0.5 - ay;
          const along = length ? Math.min(1, Math.max(0, (px * (bx - ax) + py * (by - ay)) / length)) : 0;
          const away = Math.hypot(px - along * (bx - ax), py - along * (by - ay));
          ink[y * INK + x] = Math.max(ink[y * INK + x], Math.min(1, Math.max(0, radius + 0.5 - away)));
        }
      }
    });
  }
  return ink;
}

/**
 * What a network sees of a square of grey values: the digit fitted into MNIST's box of 20 x 20, its centre of mass put
 * into the middle of 28 x 28 by whole pixels, as MNIST's makers did, then averaged to 14 x 14. An empty square: null.
 */
export function seen(grey) {
  const side = Math.round(Math.sqrt(grey.length));
  let [left, right, top, bottom, mass, mx, my] = [side, -1, side, -1, 0, 0, 0];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const value = grey[y * side + x];
      if (!(value > 0)) continue;
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
      [mass, mx, my] = [mass + value, mx + value * (x + 0.5), my + value * (y + 0.5)];
    }
  }
  if (right < 0) return null;
  const scale = BOX / Math.max(right - left + 1, bottom - top + 1); // of a pixel of the square, in MNIST's
  const shift = (centre) => MNIST / 2 - Math.floor((centre / mass) * scale); // so do MNIST's own: from 14 to 15
  const [dx, dy] = [shift(mx), shift(my)], fine = Math.max(4, Math.ceil(1 / scale)), picture = new Float64Array(SIDE * SIDE);
  const points = 2 * fine; // along a side of a pixel of SIDE x SIDE, which is two of MNIST's
  for (let y = 0; y < SIDE * points; y++) {
    for (let x = 0; x < SIDE * points; x++) {
      const sx = Math.floor(((x + 0.5) / fine - dx) / scale), sy = Math.floor(((y + 0.5) / fine - dy) / scale);
      if (sx < 0 || sy < 0 || sx >= side || sy >= side) continue;
      picture[Math.floor(y / points) * SIDE + Math.floor(x / points)] += grey[sy * side + sx] / (points * points);
    }
  }
  return picture;
}

// ---- the page

const STYLE = `
.pair-canvas { --pen: var(--ink, light-dark(#1d2430, #dfe4ec)); --ground: var(--paper, light-dark(#fff, #15191f)); --edge: light-dark(#6b7683, #8b97a5);
  --warn: light-dark(#9a3b00, #f0a070); font: 15px/1.45 system-ui, sans-serif; color: var(--pen); max-width: 44rem; color-scheme: inherit; }
.pair-canvas .squares { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; }
.pair-canvas .aside { display: flex; flex-direction: column; gap: .25rem; width: 5rem; }
.pair-canvas .aside select { margin: 0; padding: .3rem .2rem; }
.pair-canvas canvas { width: min(11rem, 42vw); aspect-ratio: 1; border: 1px solid var(--edge); border-radius: 6px;
  background: var(--ground); touch-action: none; cursor: crosshair; }
.pair-canvas canvas.seen { width: 3.5rem; cursor: default; border-radius: 2px; image-rendering: pixelated; }
.pair-canvas button, .pair-canvas select { font: inherit; padding: .3rem .7rem; margin: .5rem .4rem .5rem 0; color: inherit;
  background: var(--ground); border: 1px solid var(--edge); border-radius: 6px; min-height: 2.2rem; }
.pair-canvas table { border-collapse: collapse; width: 100%; }
.pair-canvas th, .pair-canvas td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--edge); }
.pair-canvas .wrong, .pair-canvas .otherwise { color: var(--warn); font-weight: 600; }
.pair-canvas p { margin: .5rem 0; }
.pair-canvas .bar { display: inline-block; height: .6rem; background: currentColor; vertical-align: middle; opacity: .6; }
`;

const LEGEND = "Draw a digit in each square with mouse, pen or finger, or choose a pair; the first stroke takes a chosen " +
  "digit away. Say which digit it is, beside the square or by its key, and each answer is marked right or wrong. " +
  "Ctrl+Z takes the last step back, Delete clears the square. Beside each square: what the networks see of it, " +
  "14 × 14. Sure: the share of the answer after softmax, of two outputs between 0 and 1 at most 73 %. " +
  "The digits to choose were drawn for this page; nothing that you draw leaves it.";

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

const EMPTY = { strokes: [], digit: "", example: null };

/**
 * One square to draw in; calls `changed` when what it holds is other, once a frame at most. It holds strokes, the digit
 * that they are said to be ("" where nobody said), and the number of the pair that they were chosen from, or null.
 */
function square(label, changed) {
  const canvas = make("canvas", { width: 2 * INK, height: 2 * INK, tabIndex: 0 });
  const small = make("canvas", { width: SIDE, height: SIDE, className: "seen" });
  const digits = Array.from({ length: 10 }, (_, i) => make("option", { textContent: i, value: i }));
  const digit = make("select", {}, make("option", { textContent: "is a …", value: "" }), ...digits);
  digit.setAttribute("aria-label", `which digit the ${label} is`);
  canvas.setAttribute("role", "img");
  small.setAttribute("aria-hidden", "true");
  const self = { canvas, aside: make("div", { className: "aside" }, small, digit), holds: EMPTY, picture: null };
  const past = []; // what it held before, the last at the end
  let drawing = false, waiting = false;
  const show = () => {
    waiting = false;
    const { strokes } = self.holds, ink = inked(strokes), of = canvas.getContext("2d");
    self.picture = seen(ink);
    digit.value = self.holds.digit;
    of.clearRect(0, 0, canvas.width, canvas.height);
    Object.assign(of, { lineWidth: 2 * PEN * canvas.width, lineCap: "round", lineJoin: "round", strokeStyle: getComputedStyle(canvas).color });
    for (const stroke of strokes) {
      of.beginPath();
      [stroke[0], ...stroke].forEach(([x, y], i) => of[i ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
      of.stroke();
    }
    const pixels = small.getContext("2d"), grey = pixels.createImageData(SIDE, SIDE);
    grey.data.forEach((_, i) => { grey.data[i] = i % 4 === 3 ? 255 : 255 * (self.picture?.[i >> 2] ?? 0); });
    pixels.putImageData(grey, 0, 0);
    canvas.setAttribute("aria-label", `${label} digit: ${strokes.length} strokes`);
    changed();
  };
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(show); } };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((c) => Math.min(1, Math.max(0, c)));
  };
  const hold = (changes) => { past.push(self.holds); self.holds = { ...self.holds, ...changes }; };
  self.set = (changes) => { hold(changes); show(); };
  self.undo = () => { self.holds = past.pop() ?? EMPTY; show(); };
  digit.addEventListener("change", () => self.set({ digit: digit.value }));
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drawing = true;
    canvas.setPointerCapture(event.pointerId);
    const before = self.holds.example === null ? self.holds : EMPTY;
    hold({ ...before, strokes: [...before.strokes, [point(event)]] });
    soon();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    const several = event.getCoalescedEvents?.() ?? [];
    self.holds.strokes.at(-1).push(...(several.length ? several : [event]).map(point));
    soon();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { if (drawing) { drawing = false; show(); } }); // the last state, in any case
  }
  canvas.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") self.undo();
    else if (event.key === "Delete" || event.key === "Backspace") self.set(EMPTY);
    else if (/^[0-9]$/.test(event.key)) self.set({ digit: event.key });
    else return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has keys of its own
  });
  return self;
}

const says = (smaller) => (smaller ? "first ≤ second" : "first > second");

const marked = (right) => make("span", right ? { textContent: ", right" } : { textContent: ", wrong", className: "wrong" });

/** A line of the table; of pairs whose digits are said (else null), with what is right and wrong. */
function row(name, { smaller, sure, names }, digits) {
  const answer = make("td", { textContent: says(smaller) }), named = make("td", { textContent: names ? names.join(" and ") : "–" });
  const percent = Math.round(100 * sure), bar = make("span", { className: "bar" });
  bar.style.width = `${(percent - 50) / 20}rem`;
  if (digits) answer.append(marked(digits[0] <= digits[1] === smaller));
  if (digits && names) named.append(marked(digits.every((digit, i) => digit === names[i])));
  if (names && names[0] <= names[1] !== smaller) {
    named.append(": ", make("span", { className: "otherwise", textContent: "comparing these says otherwise" }));
  }
  return make("tr", {}, make("th", { textContent: name, scope: "row" }), answer, make("td", {}, `${percent} % `, bar), named);
}

/** Build squares, buttons and answers into an element. */
export function mount(element, data) {
  const networks = Object.entries(data.networks).map(([name, network]) => [name, ready(network)]);
  const answers = make("tbody"), said = make("p");
  said.setAttribute("aria-live", "polite");
  said.className = "said";
  let squares = [];
  const answer = () => {
    if (squares.length < 2) return;
    const pictures = squares.map((each) => each.picture), empty = pictures.map((each) => !each);
    const examples = squares.map((each) => each.holds.example);
    choice.value = examples[0] !== null && examples[0] === examples[1] ? examples[0] : "";
    answers.replaceChildren();
    if (empty.some(Boolean)) {
      const which = empty.every(Boolean) ? "Both squares are" : `The ${empty[0] ? "first" : "second"} square is`;
      said.textContent = `${which} empty: draw a digit in each.`;
      return;
    }
    const judged = networks.map(([name, network]) => [name, judge(network, pictures)]);
    const named = squares.map((each) => each.holds.digit), digits = named.every(Boolean) ? named.map(Number) : null;
    answers.replaceChildren(...judged.map((each) => row(...each, digits)));
    said.textContent = judged.map(([name, { smaller }]) => `${name}: ${says(smaller)}`).join("; ");
  };
  const act = (text, run) => {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", run);
    return button;
  };
  const choice = make("select", {}, make("option", { textContent: "a pair …", value: "" }));
  choice.setAttribute("aria-label", "choose a pair");
  choice.append(...data.pairs.map(({ label }, i) => make("option", { textContent: label, value: i })));
  choice.addEventListener("change", () => {
    if (choice.value !== "") choose(Number(choice.value));
  });
  const choose = (example) => {
    const { strokes, digits } = data.pairs[example];
    squares.forEach((each, i) => each.set({ strokes: strokes[i], digit: String(digits[i]), example }));
  };
  squares = ["first", "second"].map((label) => square(label, answer));
  const heads = ["network", "says", "sure", "its class head names"].map((text) => make("th", { textContent: text, scope: "col" }));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), answers);
  element.classList.add("pair-canvas");
  element.replaceChildren(
    make("style", { textContent: STYLE }),
    make("div", { className: "squares" }, ...squares.flatMap((each) => [each.canvas, each.aside])),
    make("div", {}, choice, act("Undo first", () => squares[0].undo()), act("Undo second", () => squares[1].undo()),
      act("Clear", () => squares.forEach((each) => each.set(EMPTY)))),
    said, table, make("p", { textContent: LEGEND }),
  );
  choose(0);
  return { squares };
}

export default {
  render({ model, el }) {
    mount(el, JSON.parse(model.get("page")));
  },
};
