// Elements from data. Text is inserted as text, so nothing from a person or a partner is executed.

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  return fill(node, attributes, children);
}

export function shape(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  return fill(node, attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// columns: [title, is number, cell of a row]; a cell is text or an element.
export function table(rows, columns, { foot = null } = {}) {
  const cell = (tag, isNumber, content) => element(tag, isNumber ? { class: "number" } : {}, content);
  const head = columns.map(([title, isNumber]) => {
    const node = cell("th", isNumber, title);
    node.scope = "col";
    return node;
  });
  const body = rows.map((row) => element("tr", {}, ...columns.map(([, isNumber, get]) => cell("td", isNumber, get(row)))));
  return element("table", {},
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
    foot && element("tfoot", {}, element("tr", {}, ...foot.map((text, i) => cell("td", columns[i][1], text)))));
}

export function pairs(rows) {
  return element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export const empty = (text) => element("p", { class: "empty" }, text);
