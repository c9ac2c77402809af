// Loads this page anew when a file of the site changes, or only its stylesheets. `doorway --reload` has put it here.
(() => {
  let [page, sheets] = document.currentScript.dataset.stamp.split(" ");
  const leaving = new WeakSet();
  const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  const shown = () =>
    document.hidden && new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));

  async function stamp() {
    const abort = new AbortController();
    const late = setTimeout(() => abort.abort(), 5000);
    try {
      const response = await fetch("/.doorway/stamp", { cache: "no-store", signal: abort.signal });
      return response.ok ? (await response.text()).split(" ") : null;
    } catch {
      return null;
    } finally {
      clearTimeout(late);
    }
  }

  // The new sheet stands beside the old one until it is there, so the page is never without style.
  function swap() {
    const links = [...document.querySelectorAll('link[rel~="stylesheet" i][href]')];
    const own = links.filter((link) => new URL(link.href).origin === location.origin);
    for (const link of own.filter((link) => !leaving.has(link))) {
      const url = new URL(link.href);
      url.searchParams.set("doorway", sheets);
      const next = link.cloneNode();
      next.href = url;
      next.onload = next.onerror = () => link.remove();
      leaving.add(link);
      link.after(next);
    }
    return own.length > 0;
  }

  // A build writes many files: wait until nothing has changed for a moment.
  async function quiet(seen) {
    for (let turn = 0; turn < 20; turn++) {
      await wait(250);
      const now = await stamp();
      if (now && now.join() === seen.join()) return;
      seen = now || seen;
    }
  }

  (async () => {
    for (;;) {
      await shown();
      const now = await stamp();
      if (now && now[0] !== page) {
        await quiet(now);
        return location.reload();
      }
      if (now && now[1] !== sheets) {
        sheets = now[1];
        if (!swap()) return location.reload();
      }
      await wait(now ? 1000 : 3000);
    }
  })();
})();
