// What a listing can do more with a script than without: times of the reader's own zone, a box that filters while one types, and uploads
// that show how far they are.
const two = (number) => String(number).padStart(2, "0");
for (const time of document.querySelectorAll("time")) {
  const at = new Date(time.dateTime);
  const date = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  time.title = time.textContent + " UTC";
  time.textContent = date + " " + two(at.getHours()) + ":" + two(at.getMinutes());
}
const zone = document.querySelector("#zone");
if (zone) zone.hidden = true;
const box = document.querySelector("#filter");
if (box) {
  const rows = [...document.querySelectorAll("tbody tr:has(bdi)")].map((row) => [row, row.firstChild.textContent.toLowerCase()]);
  box.oninput = () => {
    const wanted = box.value.toLowerCase();
    for (const [row, name] of rows) row.hidden = !name.includes(wanted);
  };
  box.oninput();
}
const form = document.querySelector("#upload");
if (form) {
  const [progress, stop, output] = ["progress", "button[type=button]", "output"].map((part) => form.querySelector(part));
  let sending = null;
  const send = (list) => {
    if (sending || !list.length) return;
    const data = new FormData();
    for (const file of list) data.append("file", file);
    const request = (sending = new XMLHttpRequest());
    const end = (text) => {
      sending = null;
      progress.hidden = stop.hidden = true;
      output.textContent = text;
    };
    request.upload.onprogress = (event) => {
      progress.value = event.total ? event.loaded / event.total : 0;
      output.textContent = Math.floor(100 * progress.value) + " %";
    };
    request.onload = () => {
      if (request.status < 300) location.reload();
      end(request.status + ": " + request.responseText);
    };
    request.onerror = () => end("The connection broke.");
    request.onabort = () => end("Stopped; nothing of what was not whole is left.");
    progress.hidden = stop.hidden = false;
    request.open("POST", "./");
    request.send(data);
  };
  stop.onclick = () => sending && sending.abort();
  form.onsubmit = (event) => {
    event.preventDefault();
    send(form.querySelector("input").files);
  };
  const isFile = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  document.ondragover = (event) => {
    if (isFile(event)) event.preventDefault(), document.body.classList.add("over");
  };
  document.ondragleave = (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  };
  document.ondrop = (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    document.body.classList.remove("over");
    send(event.dataTransfer.files);
  };
}
