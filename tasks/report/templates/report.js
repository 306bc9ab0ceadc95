"use strict";
(() => {
  const PAGE = 60;
  const bar = document.querySelector(".bar");
  const rows = [...document.querySelectorAll("[data-gallery]")];
  const cards = rows.filter((row) => row.matches("article"));
  const regions = document.getElementById("regions");
  const output = bar.querySelector("output");
  const pages = document.querySelector(".pages");
  let filtered = cards;
  let page = 0;

  const showPage = (to) => {
    page = Math.max(0, Math.min(to, Math.ceil(filtered.length / PAGE) - 1));
    const begin = page * PAGE;
    const end = Math.min(begin + PAGE, filtered.length);
    const visible = new Set(filtered.slice(begin, end));
    for (const card of cards) card.hidden = !visible.has(card);
    pages.hidden = filtered.length <= PAGE;
    pages.querySelector("output").textContent = `${begin + 1} to ${end} of ${filtered.length}`;
    pages.querySelector("[data-step='-1']").disabled = page === 0;
    pages.querySelector("[data-step='1']").disabled = end === filtered.length;
  };

  const applyFilters = () => {
    const filters = new FormData(bar);
    const matches = (row) =>
      ["gallery", "status", "category", "flagged"].every(
        (name) => !filters.get(name) || row.dataset[name] === filters.get(name),
      );
    for (const row of rows) row.hidden = !matches(row);
    filtered = cards.filter(matches);
    output.textContent = filtered.length === cards.length ? "" : `${filtered.length} of ${cards.length}`;
    showPage(0);
  };
  bar.addEventListener("change", (event) => {
    if (event.target !== regions) applyFilters();
    document.body.classList.toggle("regions", regions.checked);
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  pages.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (!step) return;
    showPage(page + step);
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
    const card = filtered[number];
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
      if (!compare(filtered.indexOf(button.closest("article")))) return;
      dialog.showModal();
      slider.focus();
    });
  }
  dialog.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (event.target === dialog) dialog.close();
    for (let to = shown + step; step && to >= 0 && to < filtered.length; to += step) {
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
  applyFilters();
  document.body.classList.toggle("regions", regions.checked);
})();
