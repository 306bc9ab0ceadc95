"use strict";
(() => {
  const bar = document.querySelector(".bar");
  const rows = [...document.querySelectorAll("[data-gallery]")];
  const cards = rows.filter((row) => row.matches("article"));
  const regions = document.getElementById("regions");
  const output = bar.querySelector("output");

  const show = () => {
    const wanted = new FormData(bar);
    const gallery = wanted.get("gallery");
    const status = wanted.get("status");
    for (const row of rows) {
      row.hidden = Boolean(
        (gallery && row.dataset.gallery !== gallery) || (status && row.dataset.status !== status),
      );
    }
    const left = cards.filter((card) => !card.hidden).length;
    output.textContent = left === cards.length ? "" : `${left} of ${cards.length}`;
    document.body.classList.toggle("regions", regions.checked);
  };
  bar.addEventListener("change", show);
  bar.addEventListener("submit", (event) => event.preventDefault());

  const dialog = document.querySelector("dialog");
  const over = dialog.querySelector(".over");
  const under = dialog.querySelector(".under");
  const slider = dialog.querySelector("input");
  const slide = () => {
    over.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
  };
  slider.addEventListener("input", slide);
  for (const button of document.querySelectorAll(".compare")) {
    button.addEventListener("click", () => {
      const before = document.getElementById(button.dataset.before ?? "");
      over.src = button.querySelector("img").src;
      under.src = before ? before.querySelector("image").getAttribute("href") : over.src;
      slider.value = 50;
      slide();
      dialog.showModal();
      slider.focus();
    });
  }
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (plain && event.key.toLowerCase() === "r" && !dialog.open) {
      regions.checked = !regions.checked;
      show();
    }
  });
  show();
})();
