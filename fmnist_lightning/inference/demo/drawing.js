// A canvas to draw on: its value is a PNG as a data URL, or empty once it is cleared.
const canvas = element.querySelector("canvas"), width = element.querySelector("input");
const pen = canvas.getContext("2d");
const clear = () => { pen.fillStyle = "#fff"; pen.fillRect(0, 0, canvas.width, canvas.height); };
const line = (event) => {
  const box = canvas.getBoundingClientRect();
  pen.lineTo((event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height);
  pen.stroke();
};
let isDrawing = false;
const finish = (value) => { isDrawing = false; props.value = value; trigger("input"); };

clear();
pen.strokeStyle = "#444";
pen.lineCap = pen.lineJoin = "round";
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  isDrawing = true;
  pen.lineWidth = width.value;
  pen.beginPath();
  line(event);
  line(event);
});
canvas.addEventListener("pointermove", (event) => { if (isDrawing) line(event); });
for (const end of ["pointerup", "pointercancel"])
  canvas.addEventListener(end, () => { if (isDrawing) finish(canvas.toDataURL()); });
element.querySelector("button").addEventListener("click", () => { clear(); finish(""); });
