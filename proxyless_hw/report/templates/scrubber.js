"use strict";
for (const box of document.querySelectorAll("[data-frames]")) {
  const frames = JSON.parse(document.getElementById(box.dataset.frames).textContent);
  const slider = box.querySelector("input");
  const button = box.querySelector("button");
  const label = box.querySelector("output");
  const cells = new Map();
  for (const cell of box.querySelectorAll("rect[data-key]")) cells.set(cell.dataset.key, cell);
  const show = () => {
    const frame = frames[Number(slider.value)];
    label.textContent = frame.name;
    frame.alpha.forEach((row, slot) => row.forEach((p, column) => {
      const cell = cells.get(slot + "-" + column);
      if (!cell || p === null) return;
      cell.setAttribute("fill-opacity", p);
      const title = cell.querySelector("title");
      if (title) title.textContent = title.textContent.replace(/[\d.]+%$/, (100 * p).toFixed(1) + "%");
    }));
  };
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
  slider.addEventListener("input", () => { stop(); show(); });
  button.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (Number(slider.value) === frames.length - 1) slider.value = 0;
    button.textContent = "Stop";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === frames.length - 1) stop();
    }, 150);
  });
  show();
}
