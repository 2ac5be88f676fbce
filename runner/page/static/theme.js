// Before anything is drawn: the theme that was chosen last, so that nothing flashes. Not a module on purpose.
(() => {
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("vicinal-theme") || "auto";
  } catch {
    // Storage is switched off; the system's theme it is.
  }
  document.documentElement.dataset.theme = chosen;
})();
