// What a listing can do more with a script than without: times of the reader's own zone, and a box that filters.
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
