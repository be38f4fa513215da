// Records movements of the mouse with a pressed button with the value of the slider, and images with changed pixels.
// Result: `sprWatch`; times in milliseconds since 1970.
(function () {
  "use strict";
  const now = () => performance.timeOrigin + performance.now();
  const watch = (window.sprWatch = { moves: [], pictures: [], field: null });
  const sizes = new Map();
  const last = new WeakMap();

  window.addEventListener(
    "mousemove",
    (event) => {
      if (!(event.buttons & 1) || !watch.field) return;
      const at = performance.timeOrigin + event.timeStamp;
      const field = watch.field;
      setTimeout(() => watch.moves.push({ at, field, value: window.trame.state.get(field) }));
    },
    true,
  );

  const make = URL.createObjectURL;
  URL.createObjectURL = function (blob) {
    const url = make.call(URL, blob);
    if (blob.type === "image/jpeg") sizes.set(url, blob.size);
    return url;
  };

  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });

  // Reading pixels is slow: of images that differ in size, only two of four are compared.
  function changed(image) {
    const bytes = sizes.get(image.src);
    const before = last.get(image) || { count: 0 };
    const now = { bytes, count: before.count + 1, pixels: null };
    last.set(image, now);
    if (before.bytes === bytes) return false;
    if (now.count % 4 > 1) return true;
    [canvas.width, canvas.height] = [160, 120];
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    now.pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    return !before.pixels || now.pixels.some((value, index) => value !== before.pixels[index]);
  }

  document.addEventListener(
    "load",
    (event) => {
      const image = event.target;
      if (image.tagName !== "IMG") return;
      const slices = [...document.querySelectorAll(".layout-grid-item")].filter((each) => each.querySelector(".spr-edge"));
      const view = slices.findIndex((each) => each.contains(image));
      if (view < 0) return;
      const other = changed(image);
      const bytes = sizes.get(image.src);
      requestAnimationFrame(() => watch.pictures.push({ at: now(), view, bytes, changed: other }));
    },
    true,
  );
})();
