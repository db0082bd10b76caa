// Light or dark: the system's choice until the reader makes another, which is kept where the browser allows it.
"use strict";
(function () {
  const root = document.documentElement;
  const key = "unlearnbench-theme";
  root.classList.add("scripted");

  function kept() {
    try { return window.localStorage.getItem(key); } catch { return null; }
  }
  function keep(theme) {
    try { window.localStorage.setItem(key, theme); } catch { /* it lasts for this page */ }
  }
  function current() {
    const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    return root.dataset.theme || system;
  }

  const before = kept();
  if (before === "light" || before === "dark") root.dataset.theme = before;

  document.addEventListener("DOMContentLoaded", function () {
    const button = document.getElementById("theme");
    function show() {
      const other = current() === "dark" ? "light" : "dark";
      button.textContent = other === "dark" ? "Dark" : "Light";
      button.setAttribute("aria-label", "Switch to the " + other + " colours");
    }
    button.hidden = false;
    button.addEventListener("click", function () {
      root.dataset.theme = current() === "dark" ? "light" : "dark";
      keep(root.dataset.theme);
      show();
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    show();
  });
})();
