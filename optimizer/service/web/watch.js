/* Reload the page if its scripts did not load; otherwise it would never poll the service.

   The service may end while a browser loads the page, and Chromium 156 sometimes cancels pending
   loads without an error. So this script is inline. */

const RETRY_MS = 3000;

async function reload() {
  try {
    const answer = await fetch("/health/live", { cache: "no-store", signal: AbortSignal.timeout(RETRY_MS) });
    if (answer.ok) {
      location.reload();
      return;
    }
  } catch {
    /* no answer yet */
  }
  const why = "The scripts of this page did not load, and the service does not answer. The page tries again. "
    + "The plant's local control continues. On the machine of the service, try: gigatwin status, "
    + "and to stop it: gigatwin hold.";
  document.getElementById("why").textContent = why;
  document.getElementById("word").textContent = "NO ANSWER";
  document.getElementById("word").dataset.level = "bad";
  setTimeout(reload, RETRY_MS);
}

/* Loaded modules have run by then. */
window.addEventListener("load", () => {
  if (!document.documentElement.dataset.running) setTimeout(reload, RETRY_MS);
});
