"use strict";
(() => {
  const PAGE = 60;
  const bar = document.querySelector(".bar");
  const rows = [...document.querySelectorAll("[data-gallery]")];
  const cards = rows.filter((row) => row.matches("article"));
  const regions = document.getElementById("regions");
  const output = bar.querySelector("output");
  const pages = document.querySelector(".pages");
  let wanted = cards;
  let page = 0;

  const turn = (to) => {
    page = Math.max(0, Math.min(to, Math.ceil(wanted.length / PAGE) - 1));
    const begin = page * PAGE;
    const end = Math.min(begin + PAGE, wanted.length);
    const here = new Set(wanted.slice(begin, end));
    for (const card of cards) card.hidden = !here.has(card);
    pages.hidden = wanted.length <= PAGE;
    pages.querySelector("output").textContent = `${begin + 1} to ${end} of ${wanted.length}`;
    pages.querySelector("[data-step='-1']").disabled = page === 0;
    pages.querySelector("[data-step='1']").disabled = end === wanted.length;
  };

  const show = () => {
    const asked = new FormData(bar);
    const fits = (row) =>
      ["gallery", "status", "category", "flagged"].every(
        (name) => !asked.get(name) || row.dataset[name] === asked.get(name),
      );
    for (const row of rows) row.hidden = !fits(row);
    wanted = cards.filter(fits);
    output.textContent = wanted.length === cards.length ? "" : `${wanted.length} of ${cards.length}`;
    turn(0);
  };
  bar.addEventListener("change", (event) => {
    if (event.target !== regions) show();
    document.body.classList.toggle("regions", regions.checked);
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  pages.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (!step) return;
    turn(page + step);
    bar.scrollIntoView();
  });

  const dialog = document.querySelector("dialog");
  const over = dialog.querySelector(".over");
  const under = dialog.querySelector(".under");
  const slider = dialog.querySelector("input");
  const caption = dialog.querySelector("p");
  let shown = 0;
  const slide = () => {
    over.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
  };
  slider.addEventListener("input", slide);
  const compare = (number) => {
    const card = wanted[number];
    const button = card?.querySelector(".compare");
    if (!button) return false;
    shown = number;
    const before = document.getElementById(button.dataset.before ?? "");
    over.src = button.querySelector("img").src;
    under.src = before ? before.querySelector("image").getAttribute("href") : over.src;
    const where = card.querySelector("header p").textContent;
    caption.textContent = `${card.querySelector("h3").textContent} in ${where}`;
    slider.value = 50;
    slide();
    return true;
  };
  for (const button of document.querySelectorAll(".compare")) {
    button.addEventListener("click", () => {
      if (!compare(wanted.indexOf(button.closest("article")))) return;
      dialog.showModal();
      slider.focus();
    });
  }
  dialog.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (event.target === dialog) dialog.close();
    for (let to = shown + step; step && to >= 0 && to < wanted.length; to += step) {
      if (compare(to)) break;
    }
  });
  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (plain && event.key.toLowerCase() === "r" && !dialog.open) {
      regions.checked = !regions.checked;
      document.body.classList.toggle("regions", regions.checked);
    }
  });
  show();
  document.body.classList.toggle("regions", regions.checked);
})();
