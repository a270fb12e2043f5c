/* Load the page again if its program did not come: nobody would ask the service, for good.

   The service may end while a browser loads the page, and Chromium 156 now and then gives up all
   that a page still loads, by itself and without a word. So this stands within the page. */

const AGAIN = 3000; /* ms between two tries */

async function reload() {
  try {
    const answer = await fetch("/health/live", { cache: "no-store", signal: AbortSignal.timeout(AGAIN) });
    if (answer.ok) {
      location.reload();
      return;
    }
  } catch {
    /* It does not answer yet. */
  }
  const why = "This page came without its program, and the service does not answer. It is tried again. "
    + "The plant's local control goes on by itself. On the machine of the service, try: gigatwin status, "
    + "and to stop it: gigatwin hold.";
  document.getElementById("why").textContent = why;
  document.getElementById("word").textContent = "NO ANSWER";
  document.getElementById("word").dataset.level = "bad";
  setTimeout(reload, AGAIN);
}

/* Modules that come at all have run by then. */
window.addEventListener("load", () => {
  if (!document.documentElement.dataset.running) setTimeout(reload, AGAIN);
});
