// What a careful eye would find on the page; each probe returns a list of what is wrong.
({
  overflows() {
    return document.documentElement.scrollWidth > window.innerWidth ? ["the page is wider than its window"] : [];
  },

  // Cards that lie on one another.
  overlaps() {
    const boxes = [...document.querySelectorAll(".card, .top, .banner, footer")]
      .filter((node) => node.checkVisibility())
      .map((node) => [node.id || node.className, node.getBoundingClientRect()]);
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    return boxes.flatMap(([one, a], i) =>
      boxes.slice(i + 1).filter(([, b]) => meet(a, b)).map(([other]) => `${one} on ${other}`));
  },

  // Texts that leave their card.
  cut() {
    const wrong = [];
    for (const card of document.querySelectorAll(".card, .top, .banner, dialog[open]")) {
      const box = card.getBoundingClientRect();
      const walk = document.createTreeWalker(card, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        const { data, parentElement } = walk.currentNode;
        if (!data.trim() || !parentElement.checkVisibility()) continue;
        if (parentElement.closest(".clamped")) continue; // a click shows the rest
        const range = document.createRange();
        range.selectNodeContents(walk.currentNode);
        const leaves = ({ left, right, top, bottom }) =>
          left < box.left + 4 || right > box.right - 4 || top < box.top || bottom > box.bottom;
        if ([...range.getClientRects()].some(leaves)) wrong.push(`${card.id}: ${data}`);
      }
    }
    return wrong;
  },

  // Texts that leave their chart, or lie on another text of it.
  crowded() {
    const wrong = [];
    for (const svg of document.querySelectorAll("svg.plot")) {
      const { width, height } = svg.viewBox.baseVal;
      const texts = [...svg.querySelectorAll("text")].filter((node) => node.checkVisibility())
        .map((node) => [node.textContent, node.getBBox()]);
      for (const [text, box] of texts) {
        if (box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height) wrong.push(`${text} is cut`);
      }
      const meet = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y + 2 < b.y + b.height - 2 && b.y + 2 < a.y + a.height - 2;
      texts.forEach(([text, a], i) => texts.slice(i + 1)
        .forEach(([other, b]) => { if (meet(a, b)) wrong.push(`${text} on ${other}`); }));
    }
    return wrong;
  },

  // Texts of less contrast than WCAG 2.2 AA asks for, 4.5 to 1.
  faint() {
    const channel = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const light = (color) => {
      const [r, g, b] = color.match(/[\d.]+/g).map(Number);
      return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    };
    const ground = (node) => {
      const color = getComputedStyle(node).backgroundColor;
      return color === "rgba(0, 0, 0, 0)" && node.parentElement ? ground(node.parentElement) : color;
    };
    const contrast = (node) => {
      const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    return [...document.querySelectorAll("h1, h2, h3, p, b, th, td, dt, dd, li, a, button, label, span")]
      .filter((node) => node.checkVisibility() && node.textContent.trim() && contrast(node) < 4.5)
      .map((node) => `${node.textContent}: ${contrast(node).toFixed(2)}`);
  },
})
