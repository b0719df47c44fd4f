// A file goes to the server; what becomes of it is told by events; what was found is drawn over the video.

const at = id => document.getElementById(id);
const COLOURS = ["#1a9aa3", "#c77d2b", "#8c7ae0", "#8a8a8a"]; // seen on white and on black
const OVER = ["done", "failed", "cancelled"];
const show = (id, shown = true) => { at(id).hidden = !shown; };
let job = null, found = null, heats = new Map(), hidden = new Set(), stream = null, upload = null, unsent = null;

async function asked(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  throw new Error(await inWords(answer));
}

async function inWords(answer) {
  try { return (await answer.json()).detail; } catch { return `the server answered ${answer.status}`; }
}

function warn(words) {
  at("warning").textContent = words ?? "";
  show("warning", Boolean(words));
}

function complain(words) {
  show("working", false);
  at("error").textContent = words;
  show("error");
}

// ---- sending

function send(file) {
  giveUp();
  for (const id of ["error", "result", "viewer", "downloads"]) show(id, false);
  at("working-name").textContent = file.name;
  tellProgress("sending it", 0, 1);
  show("working");
  upload = new XMLHttpRequest();
  upload.open("POST", `/api/jobs?name=${encodeURIComponent(file.name.slice(0, 400))}`);
  upload.upload.onprogress = event => tellProgress("sending it", event.loaded, event.total);
  upload.onerror = () => complain("the connection was lost; send the file again");
  upload.onload = () => {
    const answer = JSON.parse(upload.responseText || "{}"), status = upload.status;
    upload = null;
    if (status === 401) { unsent = file; show("working", false); show("token-form"); at("token").focus(); }
    else if (status !== 202) complain(answer.detail ?? `the server answered ${status}`);
    else follow(answer);
  };
  upload.send(file);
}

function follow(begun) {
  job = begun;
  history.replaceState(null, "", `#${job.id}`); // loaded again, the page finds it
  const events = stream = new EventSource(job.links.events);
  let steps = Promise.resolve();
  events.onmessage = event => {
    const now = JSON.parse(event.data);
    if (OVER.includes(now.state)) events.close(); // before any step waits: when the server ends the stream, nothing is lost
    steps = steps.then(() => stream === events && noted(now)).catch(error => complain(error.message));
  };
  events.onerror = () => { events.close(); complain("the connection was lost; the job goes on, load the page again later"); };
}

async function noted(now) {
  const hadVerdict = job.verdict;
  job = now;
  tellProgress(now.doing ?? (now.state === "queued" ? "waiting for its turn" : now.state), now.done, now.total);
  if (now.verdict && !hadVerdict) tellVerdict(await (await asked(now.links.found)).json());
  if (now.state === "failed") complain(now.error);
  if (now.state === "cancelled") show("working", false);
  if (now.state === "done") { show("working", false); await look(); }
}

function tellProgress(doing, done, total) {
  if (at("doing").textContent !== doing) at("doing").textContent = doing;
  if (total) at("progress").value = done / total; else at("progress").removeAttribute("value");
}

function giveUp() {
  upload?.abort();
  stream?.close();
  if (job) fetch(job.links.self, { method: "DELETE", keepalive: true });
  upload = job = found = stream = null;
  history.replaceState(null, "", location.pathname);
  at("video").removeAttribute("src");
  show("working", false);
}

// ---- the verdict

const label = finding => finding.verdict + (finding.uncertain ? ", but uncertain" : "");

function tellVerdict(facts) {
  found = facts;
  const probability = facts.fake_probability, worst = facts.most_suspicious_segment;
  warn(probability === null ? null : facts.warning);
  at("verdict").className = `verdict ${facts.uncertain ? "uncertain" : facts.verdict}`;
  at("verdict-name").textContent = facts.file;
  at("verdict-word").textContent = label(facts);
  at("verdict-numbers").textContent = probability === null ? facts.reason
    : `fake probability ${probability.toFixed(3)}, fake above ${facts.judged_by.threshold.toFixed(3)}`
      + (facts.uncertain ? `; ${facts.reason}` : "");
  const notes = facts.people.length > 1
    ? facts.people.map(one => `person ${one.track}: ${label(one)} (${one.fake_probability.toFixed(3)})`) : [];
  if (worst) notes.push(`most suspicious segment: person ${worst.track} ${worst.when}, ${label(worst)} (${worst.fake_probability.toFixed(3)})`);
  if (facts.people.length) notes.push(`${facts.video.frames_scored} of the ${facts.video.frames_looked_at} frames looked at were scored`);
  at("verdict-note").textContent = notes.join("; ");
  show("result");
  at("verdict").focus({ preventScroll: true });
}

// ---- what it looked at

async function look() {
  found = await (await asked(job.links["report.json"])).json();
  at("report").href = job.links.report;
  at("report").download = job.name.replace(/\.[^.]*$/, "") + ".html";
  at("facts").href = job.links["report.json"];
  at("facts").download = job.name.replace(/\.[^.]*$/, "") + ".json";
  show("downloads");
  if (!found.people.length) return;
  heats = new Map();
  hidden = new Set();
  const video = at("video");
  video.src = job.links.video;
  show("viewer");
  at("time").max = String(found.video.seconds || 1);
  choosePeople();
  drawTimeline();
  listDeciding();
  video.addEventListener("loadeddata", () => goTo(topFrame().frame), { once: true });
  for (const person of found.people) for (const frame of person.frames) {
    const picture = new Image();
    picture.onload = draw;
    picture.src = `${job.links.self}/heat/${person.track}/${frame.frame}`;
    heats.set(`${person.track} ${frame.frame}`, picture);
  }
}

const rate = () => found.video.frame_rate || 25;

function goTo(frame) {
  at("video").pause();
  at("video").currentTime = (frame + 0.5) / rate();
}

// Of the person who looks most like a fake, the frame that its verdict rests on most.
function topFrame() {
  const person = found.people.reduce((one, other) => other.fake_probability > one.fake_probability ? other : one);
  const sign = person.verdict === "fake" ? 1 : -1, frames = person.frames.filter(one => one.decided);
  return frames.reduce((one, other) => sign * other.fake_probability > sign * one.fake_probability ? other : one);
}

function choosePeople() {
  const box = at("people");
  box.querySelectorAll("label").forEach(one => one.remove());
  for (const { track } of found.people) {
    const label = document.createElement("label"), input = document.createElement("input");
    input.type = "checkbox";
    input.checked = true;
    input.onchange = () => { input.checked ? hidden.delete(track) : hidden.add(track); drawTimeline(); draw(); };
    label.append(input, ` person ${track}`);
    input.style.accentColor = COLOURS[track % COLOURS.length];
    box.append(label);
  }
}

// The nearest frame that was looked at, and where the face is at this moment: between two such frames boxes move evenly.
function seenAt(person, frame) {
  const frames = person.frames, after = frames.findIndex(one => one.frame >= frame);
  if (after < 0) return frame - frames.at(-1).frame < 1 ? [frames.at(-1), frames.at(-1).window] : null;
  if (after === 0) return frames[0].frame - frame < 1 ? [frames[0], frames[0].window] : null;
  const [one, other] = [frames[after - 1], frames[after]], share = (frame - one.frame) / (other.frame - one.frame);
  const between = one.window.map((side, number) => (1 - share) * side + share * other.window[number]);
  return [share < 0.5 ? one : other, between];
}

function draw() {
  const video = at("video"), canvas = at("overlay"), pen = canvas.getContext("2d");
  if (!found || !video.videoWidth) return;
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const scale = video.videoWidth / found.video.width, frame = video.currentTime * rate() - 0.5;
  for (const person of found.people) {
    const seen = hidden.has(person.track) ? null : seenAt(person, frame);
    if (!seen) continue;
    const [nearest, window] = seen, [left, top, right, bottom] = window.map(side => side * scale);
    const heat = heats.get(`${person.track} ${nearest.frame}`);
    pen.globalAlpha = Number(at("opacity").value);
    if (heat?.complete && heat.naturalWidth) pen.drawImage(heat, left, top, right - left, bottom - top);
    pen.globalAlpha = 1;
    pen.lineWidth = Math.max(2, video.videoWidth / 320);
    pen.strokeStyle = COLOURS[person.track % COLOURS.length];
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.font = `600 ${Math.max(12, video.videoWidth / 32)}px system-ui, sans-serif`;
    pen.lineWidth = 3;
    pen.strokeStyle = "#000a";
    pen.fillStyle = "#fff";
    const words = nearest.fake_probability.toFixed(2), y = Math.max(top - 6, 20);
    pen.strokeText(words, left + 2, y);
    pen.fillText(words, left + 2, y);
  }
  at("time").value = String(video.currentTime);
  const cursor = at("timeline").querySelector("#cursor");
  if (cursor) for (const end of ["x1", "x2"]) cursor.setAttribute(end, across(frame));
}

const breadth = () => at("timeline").clientWidth < 600 ? 500 : 1000; // of the drawing, in its own units
const across = frame => 40 + (breadth() - 60) * Math.min(1, Math.max(0, frame) / Math.max(1, found.video.frames_present - 1));
const up = probability => 180 - 160 * probability;

function part(name, attributes, words = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = words;
  return made;
}

function drawTimeline() {
  const svg = at("timeline"), ends = { x1: 40, x2: breadth() - 20 };
  svg.setAttribute("viewBox", `0 0 ${breadth()} 200`);
  svg.replaceChildren();
  for (const level of [0, 1]) {
    svg.append(part("line", { ...ends, y1: up(level), y2: up(level), stroke: "currentColor", "stroke-opacity": 0.25 }));
    svg.append(part("text", { x: 4, y: up(level) + 6 }, String(level)));
  }
  const limit = up(found.judged_by.threshold_raw);
  svg.append(part("line", { ...ends, y1: limit, y2: limit, stroke: "currentColor", "stroke-dasharray": "8 6" }));
  svg.append(part("text", { x: breadth() - 22, y: limit - 6, "text-anchor": "end" }, "called fake above"));
  for (const person of found.people) {
    if (hidden.has(person.track)) continue;
    const colour = COLOURS[person.track % COLOURS.length];
    const points = person.frames.map(one => `${across(one.frame)},${up(one.fake_probability)}`).join(" ");
    svg.append(part("polyline", { points, fill: "none", stroke: colour, "stroke-width": 3 }));
    for (const one of person.frames) {
      const circle = { cx: across(one.frame), cy: up(one.fake_probability), r: one.decided ? 8 : 4 };
      svg.append(part("circle", { ...circle, fill: one.decided ? "none" : colour, stroke: colour, "stroke-width": 3 }));
    }
  }
  svg.append(part("line", { id: "cursor", x1: 40, x2: 40, y1: 10, y2: 190, stroke: "currentColor", "stroke-width": 2 }));
}

function listDeciding() {
  const list = at("deciding");
  list.replaceChildren();
  for (const person of found.people) for (const one of person.frames) {
    if (!one.decided) continue;
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = `person ${person.track}, ${(one.frame / rate()).toFixed(2)} s: ${one.fake_probability.toFixed(3)}`;
    button.onclick = () => goTo(one.frame);
    item.append(button);
    list.append(item);
  }
}

// ---- the page

at("file").onchange = event => { if (event.target.files[0]) send(event.target.files[0]); };
at("file").onclick = event => { event.target.value = ""; }; // else the same file, chosen again, would be no change
at("cancel").onclick = giveUp;
at("opacity").oninput = draw;
at("time").oninput = event => { at("video").pause(); at("video").currentTime = Number(event.target.value); };
at("timeline").onclick = event => {
  const box = at("timeline").getBoundingClientRect(), x = breadth() * (event.clientX - box.left) / box.width;
  goTo(Math.round((found.video.frames_present - 1) * Math.min(1, Math.max(0, (x - 40) / (breadth() - 60)))));
};
for (const happened of ["loadeddata", "seeked", "timeupdate"]) at("video").addEventListener(happened, draw);
(function keepDrawing() { if (!at("video").paused) draw(); requestAnimationFrame(keepDrawing); })();
for (const happened of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(happened, event => {
    event.preventDefault();
    at("drop").classList.toggle("over", happened === "dragenter" || happened === "dragover");
    if (happened === "drop" && event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
  });
}
at("token-form").onsubmit = async event => {
  event.preventDefault();
  try {
    await asked("/session", { method: "POST", headers: { Authorization: `Bearer ${at("token").value}` } });
    show("token-form", false);
    show("error", false);
    if (unsent) send(unsent);
    unsent = null;
  } catch { complain("that is none of its tokens"); }
};
if (location.hash) asked(`/api/jobs/${location.hash.slice(1)}`).then(async answer => {
  const known = await answer.json();
  at("working-name").textContent = known.name;
  show("working");
  follow({ ...known, verdict: null });
}, error => complain(error.message));
asked("/version").then(answer => answer.json()).then(about => {
  warn(about.refusal ? `No verdicts here: ${about.refusal}. Start the server with --demo to see how it works.` : about.warning);
});
