"use strict";
(() => {
  const cloud = document.getElementById("cloud");
  if (cloud) scatter(cloud);
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll(".command").forEach(copyable);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((it) => { it.open = true; }));

  function scatter(cloud) {
    const { photographs, pictures } = JSON.parse(document.getElementById("cloud-data").textContent);
    const svg = cloud.querySelector("svg");
    const tip = document.getElementById("cloud-tip");
    const groups = new Map([...svg.querySelectorAll("g.of")].map((group) => [group.dataset.label, group]));
    const buttons = [...document.querySelectorAll("#cloud-key button")];
    const circles = [...svg.querySelectorAll("circle")];
    const places = circles.map((circle) => [circle, Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
    let picked = null;
    let at = null;

    function pick(label) {
      picked = label === picked ? null : label;
      svg.classList.toggle("picked", picked !== null);
      groups.forEach((group, name) => group.classList.toggle("on", name === picked));
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.label === picked)));
      if (picked !== null) svg.append(groups.get(picked)); // above the others
    }

    function show(circle) {
      if (at) at.classList.remove("at");
      at = circle;
      tip.hidden = !circle;
      if (!circle) return;
      circle.classList.add("at");
      const [name, label, picture] = photographs[circle.dataset.i];
      tip.replaceChildren();
      if (picture >= 0) {
        const image = new Image();
        image.src = pictures[picture];
        image.alt = `Photograph ${name}`;
        tip.append(image);
      }
      const bold = document.createElement("b");
      bold.textContent = label;
      const path = document.createElement("span");
      path.textContent = name;
      tip.append(bold, path);
      const box = cloud.getBoundingClientRect();
      const dot = circle.getBoundingClientRect();
      const x = dot.right - box.left + 8;
      const y = dot.top - box.top;
      tip.style.left = `${x + tip.offsetWidth > box.width ? Math.max(0, x - tip.offsetWidth - dot.width - 16) : x}px`;
      tip.style.top = `${Math.max(0, Math.min(y, box.height - tip.offsetHeight))}px`;
    }

    // The dot nearest to a pointer: a finger is wider than a dot.
    function near(event, reach) {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let [found, least] = [null, reach * scale];
      for (const [circle, cx, cy] of places) {
        const away = Math.hypot(cx - x, cy - y);
        if (away < least && (picked === null || circle.parentNode.dataset.label === picked)) {
          [found, least] = [circle, away];
        }
      }
      return found;
    }

    let reach = 8; // pixels
    const point = (event) => {
      reach = event.pointerType === "touch" ? 22 : 8;
      show(near(event, reach));
    };
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("pointermove", point);
    // A finger that is lifted leaves too: what it tapped stays shown until the next tap.
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") show(null); });
    document.addEventListener("pointerdown", (event) => { if (!svg.contains(event.target)) show(null); });
    svg.addEventListener("click", (event) => {
      const circle = near(event, reach);
      if (circle) pick(circle.parentNode.dataset.label);
      else if (picked !== null) pick(picked);
    });
    buttons.forEach((button) => button.addEventListener("click", () => pick(button.dataset.label)));
    cloud.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") {
        show(null);
        if (picked !== null) pick(picked);
      } else if (event.key === "Enter" && at) {
        pick(at.parentNode.dataset.label);
      } else if (step) {
        event.preventDefault();
        const among = picked === null ? circles : [...groups.get(picked).querySelectorAll("circle")];
        const now = among.indexOf(at);
        const next = now < 0 && step < 0 ? -1 : now + step; // the first step back is to the last one
        show(among.at(next % among.length));
      }
    });
    cloud.addEventListener("blur", () => show(null));
    const find = document.getElementById("cloud-find");
    if (find) find.addEventListener("input", () => {
      const wanted = find.value.trim().toLowerCase();
      buttons.forEach((button) => { button.hidden = !button.dataset.label.toLowerCase().includes(wanted); });
    });
  }

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const number = head.classList.contains("num");
        const up = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : !number;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
        const compare = number ? (a, b) => Number(key(a)) - Number(key(b)) : (a, b) => key(a).localeCompare(key(b));
        const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? compare(a, b) : compare(b, a)));
        table.tBodies[0].append(...rows);
      });
    });
  }

  function copyable(command) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    const text = command.querySelector("pre");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch { // a page from a disk may not: select it instead
        getSelection().selectAllChildren(text);
      }
    });
    command.append(button);
  }
})();
