const REFRESH_MS = 2000;
const element = (tag, text, name) => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
};
const tile = ([name, value, share]) => {
  const made = element("div", "", "tile");
  made.append(element("small", name), element("b", value));
  if (share !== undefined) {
    const meter = element("div", "", "meter"), bar = document.createElement("i");
    bar.style.width = Math.min(100, 100 * share) + "%";
    meter.append(bar);
    made.append(meter);
  }
  return made;
};
const refresh = async show => {
  try {
    const answer = await fetch("status", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
  } catch {
    const state = document.getElementById("state");
    state.textContent = "no answer from the service";
    state.className = "state away";
  }
  setTimeout(refresh, REFRESH_MS, show);
};
