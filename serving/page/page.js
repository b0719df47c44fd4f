// Uploads a file, follows its job by server-sent events, and draws the result over the video.

const byId = id => document.getElementById(id);
const COLOURS = ["#1a9aa3", "#c77d2b", "#8c7ae0", "#8a8a8a"]; // readable on white and on black
const FINAL_STATES = ["done", "failed", "cancelled"];
const show = (id, shown = true) => { byId(id).hidden = !shown; };
let job = null, result = null, heatmaps = new Map(), hiddenTracks = new Set(), stream = null, upload = null, pendingFile = null;

async function request(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  throw new Error(await errorMessage(response));
}

async function errorMessage(response) {
  try { return (await response.json()).detail; } catch { return `the server answered with status ${response.status}`; }
}

function showWarning(text) {
  byId("warning").textContent = text ?? "";
  show("warning", Boolean(text));
}

function showError(text) {
  show("working", false);
  byId("error").textContent = text;
  show("error");
}

// ---- Upload and progress

function send(file) {
  leaveJob();
  byId("working-name").textContent = file.name;
  showProgress("uploading", 0, 1);
  show("working");
  upload = new XMLHttpRequest();
  upload.open("POST", `/api/jobs?name=${encodeURIComponent(file.name.slice(0, 400))}`);
  upload.upload.onprogress = event => showProgress("uploading", event.loaded, event.total);
  upload.onerror = () => showError("the connection was lost; send the file again");
  upload.onload = () => {
    const answer = JSON.parse(upload.responseText || "{}"), status = upload.status;
    upload = null;
    if (status === 401) { pendingFile = file; show("working", false); show("token-form"); byId("token").focus(); }
    else if (status !== 202) showError(answer.detail ?? `the server answered with status ${status}`);
    else { history.pushState(null, "", `#${answer.id}`); follow(answer); } // a reload finds the job, "back" the one before
  };
  upload.send(file);
}

// The job of the page's address, if there is one.
async function openJob() {
  leaveJob();
  const hash = location.hash;
  if (!hash) return;
  try {
    const knownJob = await (await request(`/api/jobs/${hash.slice(1)}`)).json();
    if (location.hash !== hash) return; // the user went on meanwhile
    byId("working-name").textContent = knownJob.name;
    show("working");
    follow({ ...knownJob, verdict: null });
  } catch (error) { showError(error.message); }
}

function follow(submittedJob) {
  job = submittedJob;
  const events = stream = new EventSource(job.links.events);
  let updates = Promise.resolve();
  events.onmessage = event => {
    const status = JSON.parse(event.data);
    if (FINAL_STATES.includes(status.state)) events.close(); // at once, else the end of the stream looks like a lost connection
    updates = updates.then(() => stream === events && update(status)).catch(error => stream === events && showError(error.message));
  };
  events.onerror = () => { events.close(); showError("the connection was lost; the job continues: reload the page later"); };
}

// A JSON document of the job that is shown. What arrives after the user has left that job is never used.
async function jsonOfJob(path) {
  const events = stream, content = await (await request(path)).json();
  return stream === events ? content : new Promise(() => {});
}

async function update(status) {
  const hadVerdict = job.verdict;
  job = status;
  showProgress(status.doing ?? (status.state === "queued" ? "waiting in the queue" : status.state), status.done, status.total);
  if (status.verdict && !hadVerdict) showVerdict(await jsonOfJob(status.links.result));
  if (status.state === "failed") showError(status.error);
  if (status.state === "cancelled") show("working", false);
  if (status.state === "done") { show("working", false); await showEvidence(); }
}

function showProgress(step, done, total) {
  if (byId("doing").textContent !== step) byId("doing").textContent = step;
  if (total) byId("progress").value = done / total; else byId("progress").removeAttribute("value");
}

// Shows nothing of the job any more. The server continues it, and keeps its result.
function leaveJob() {
  upload?.abort();
  stream?.close();
  upload = job = result = stream = null;
  byId("video").removeAttribute("src");
  for (const id of ["working", "error", "result", "viewer", "downloads"]) show(id, false);
}

function cancel() {
  if (job) fetch(job.links.self, { method: "DELETE", keepalive: true });
  leaveJob();
  history.replaceState(null, "", location.pathname);
}

// ---- Verdict

const verdictLabel = verdict => verdict.verdict + (verdict.uncertain ? ", but uncertain" : "");

function showVerdict(record) {
  result = record;
  const probability = record.fake_probability, segment = record.most_suspicious_segment;
  showWarning(probability === null ? null : record.warning);
  byId("verdict").className = `verdict ${record.uncertain ? "uncertain" : record.verdict}`;
  byId("verdict-name").textContent = record.file;
  byId("verdict-word").textContent = verdictLabel(record);
  byId("verdict-numbers").textContent = probability === null ? record.reason
    : `fake probability ${probability.toFixed(3)}, fake above ${record.judged_by.threshold.toFixed(3)}`
      + (record.uncertain ? `; ${record.reason}` : "");
  const notes = record.people.length > 1
    ? record.people.map(person => `person ${person.track}: ${verdictLabel(person)} (${person.fake_probability.toFixed(3)})`) : [];
  if (segment) notes.push(`most suspicious segment: person ${segment.track} ${segment.when}, ${verdictLabel(segment)} (${segment.fake_probability.toFixed(3)})`);
  if (record.people.length) notes.push(`${record.video.frames_scored} of the ${record.video.frames_looked_at} sampled frames were scored`);
  byId("verdict-note").textContent = notes.join("; ");
  show("result");
  byId("verdict").focus({ preventScroll: true });
}

// ---- Evidence

async function showEvidence() {
  result = await jsonOfJob(job.links["report.json"]);
  byId("report").href = job.links.report;
  byId("report").download = job.name.replace(/\.[^.]*$/, "") + ".html";
  byId("facts").href = job.links["report.json"];
  byId("facts").download = job.name.replace(/\.[^.]*$/, "") + ".json";
  show("downloads");
  if (!result.people.length) return;
  heatmaps = new Map();
  hiddenTracks = new Set();
  byId("video").src = job.links.video;
  show("viewer");
  byId("time").max = String(result.video.seconds || 1);
  listPeople();
  drawTimeline();
  listTopFrames();
  for (const person of result.people) for (const frame of person.frames) {
    const picture = new Image();
    picture.onload = drawOverlay;
    picture.src = `${job.links.self}/heat/${person.track}/${frame.frame}`;
    heatmaps.set(`${person.track} ${frame.frame}`, picture);
  }
}

const frameRate = () => result.video.frame_rate || 25;

function goTo(frame) {
  byId("video").pause();
  byId("video").currentTime = (frame + 0.5) / frameRate();
}

// The top-scoring frame for the verdict on the person with the highest fake probability.
function topFrame() {
  const person = result.people.reduce((a, b) => b.fake_probability > a.fake_probability ? b : a);
  const sign = person.verdict === "fake" ? 1 : -1, frames = person.frames.filter(frame => frame.decided);
  return frames.reduce((a, b) => sign * b.fake_probability > sign * a.fake_probability ? b : a);
}

function listPeople() {
  const fieldset = byId("people");
  fieldset.querySelectorAll("label").forEach(label => label.remove());
  for (const { track } of result.people) {
    const label = document.createElement("label"), input = document.createElement("input");
    input.type = "checkbox";
    input.checked = true;
    input.onchange = () => { input.checked ? hiddenTracks.delete(track) : hiddenTracks.add(track); drawTimeline(); drawOverlay(); };
    label.append(input, ` person ${track}`);
    input.style.accentColor = COLOURS[track % COLOURS.length];
    fieldset.append(label);
  }
}

// Left, top, right, bottom, and the degrees by which the crop is rotated in the frame.
const rotatedWindow = frame => [...frame.window, frame.angle ?? 0];

// The nearest sampled frame, and the face's window at this moment, interpolated between sampled frames.
function faceAt(person, frame) {
  const frames = person.frames, following = frames.findIndex(sampled => sampled.frame >= frame);
  if (following < 0) return frame - frames.at(-1).frame < 1 ? [frames.at(-1), rotatedWindow(frames.at(-1))] : null;
  if (following === 0) return frames[0].frame - frame < 1 ? [frames[0], rotatedWindow(frames[0])] : null;
  const [before, after] = [frames[following - 1], frames[following]], share = (frame - before.frame) / (after.frame - before.frame);
  const ends = rotatedWindow(after), window = rotatedWindow(before).map((side, index) => (1 - share) * side + share * ends[index]);
  return [share < 0.5 ? before : after, window];
}

function drawOverlay() {
  const video = byId("video"), canvas = byId("overlay"), context = canvas.getContext("2d");
  if (!result || !video.videoWidth) return;
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const scale = video.videoWidth / result.video.width, frame = video.currentTime * frameRate() - 0.5;
  for (const person of result.people) {
    const face = hiddenTracks.has(person.track) ? null : faceAt(person, frame);
    if (!face) continue;
    const [nearest, window] = face, [left, top, right, bottom] = window.slice(0, 4).map(side => side * scale);
    const centre = [(left + right) / 2, (top + bottom) / 2];
    context.save();
    context.translate(...centre);
    context.rotate(window[4] * Math.PI / 180);
    context.translate(...centre.map(side => -side));
    const heatmap = heatmaps.get(`${person.track} ${nearest.frame}`);
    context.globalAlpha = Number(byId("opacity").value);
    if (heatmap?.complete && heatmap.naturalWidth) context.drawImage(heatmap, left, top, right - left, bottom - top);
    context.globalAlpha = 1;
    context.lineWidth = Math.max(2, video.videoWidth / 320);
    context.strokeStyle = COLOURS[person.track % COLOURS.length];
    context.strokeRect(left, top, right - left, bottom - top);
    context.restore();
    context.font = `600 ${Math.max(12, video.videoWidth / 32)}px system-ui, sans-serif`;
    context.lineWidth = 3;
    context.strokeStyle = "#000a";
    context.fillStyle = "#fff";
    const text = nearest.fake_probability.toFixed(2), y = Math.max(top - 6, 20);
    context.strokeText(text, left + 2, y);
    context.fillText(text, left + 2, y);
  }
  byId("time").value = String(video.currentTime);
  const cursor = byId("timeline").querySelector("#cursor");
  if (cursor) for (const end of ["x1", "x2"]) cursor.setAttribute(end, timelineX(frame));
}

const timelineWidth = () => byId("timeline").clientWidth < 600 ? 500 : 1000; // in units of the SVG's viewBox
const timelineX = frame => 40 + (timelineWidth() - 60) * Math.min(1, Math.max(0, frame) / Math.max(1, result.video.frames_present - 1));
const timelineY = probability => 180 - 160 * probability;

function svgElement(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

function drawTimeline() {
  const svg = byId("timeline"), ends = { x1: 40, x2: timelineWidth() - 20 };
  svg.setAttribute("viewBox", `0 0 ${timelineWidth()} 200`);
  svg.replaceChildren();
  for (const level of [0, 1]) {
    const y = timelineY(level);
    svg.append(svgElement("line", { ...ends, y1: y, y2: y, stroke: "currentColor", "stroke-opacity": 0.25 }));
    svg.append(svgElement("text", { x: 4, y: y + 6 }, String(level)));
  }
  const threshold = timelineY(result.judged_by.threshold_raw);
  svg.append(svgElement("line", { ...ends, y1: threshold, y2: threshold, stroke: "currentColor", "stroke-dasharray": "8 6" }));
  svg.append(svgElement("text", { x: timelineWidth() - 22, y: threshold - 6, "text-anchor": "end" }, "fake above"));
  for (const person of result.people) {
    if (hiddenTracks.has(person.track)) continue;
    const colour = COLOURS[person.track % COLOURS.length];
    const points = person.frames.map(frame => `${timelineX(frame.frame)},${timelineY(frame.fake_probability)}`).join(" ");
    svg.append(svgElement("polyline", { points, fill: "none", stroke: colour, "stroke-width": 3 }));
    for (const frame of person.frames) {
      const circle = { cx: timelineX(frame.frame), cy: timelineY(frame.fake_probability), r: frame.decided ? 8 : 4 };
      svg.append(svgElement("circle", { ...circle, fill: frame.decided ? "none" : colour, stroke: colour, "stroke-width": 3 }));
    }
  }
  svg.append(svgElement("line", { id: "cursor", x1: 40, x2: 40, y1: 10, y2: 190, stroke: "currentColor", "stroke-width": 2 }));
}

function listTopFrames() {
  const list = byId("deciding");
  list.replaceChildren();
  for (const person of result.people) for (const frame of person.frames) {
    if (!frame.decided) continue;
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = `person ${person.track}, ${(frame.frame / frameRate()).toFixed(2)} s: ${frame.fake_probability.toFixed(3)}`;
    button.onclick = () => goTo(frame.frame);
    item.append(button);
    list.append(item);
  }
}

// ---- Event handlers

byId("file").onchange = event => { if (event.target.files[0]) send(event.target.files[0]); };
byId("file").onclick = event => { event.target.value = ""; }; // so that choosing the same file again counts as a change
byId("cancel").onclick = cancel;
byId("opacity").oninput = drawOverlay;
byId("time").oninput = event => { byId("video").pause(); byId("video").currentTime = Number(event.target.value); };
byId("timeline").onclick = event => {
  const box = byId("timeline").getBoundingClientRect(), x = timelineWidth() * (event.clientX - box.left) / box.width;
  goTo(Math.round((result.video.frames_present - 1) * Math.min(1, Math.max(0, (x - 40) / (timelineWidth() - 60)))));
};
byId("video").addEventListener("loadeddata", () => { if (result) goTo(topFrame().frame); }); // it may come after the job was left
for (const type of ["loadeddata", "seeked", "timeupdate"]) byId("video").addEventListener(type, drawOverlay);
(function drawWhilePlaying() { if (!byId("video").paused) drawOverlay(); requestAnimationFrame(drawWhilePlaying); })();
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(type, event => {
    event.preventDefault();
    byId("drop").classList.toggle("over", type === "dragenter" || type === "dragover");
    if (type === "drop" && event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
  });
}
byId("token-form").onsubmit = async event => {
  event.preventDefault();
  try {
    await request("/session", { method: "POST", headers: { Authorization: `Bearer ${byId("token").value}` } });
    show("token-form", false);
    show("error", false);
    if (pendingFile) send(pendingFile);
    pendingFile = null;
  } catch { showError("this token is not valid"); }
};
window.onpopstate = openJob;
if (location.hash) openJob();
request("/version").then(response => response.json()).then(version => {
  showWarning(version.refusal ? `No verdicts here: ${version.refusal}. Start the server with --demo to see how it works.` : version.warning);
}, () => {}); // a server with tokens answers after the first one
