// What the page does by itself: files, keys, the settings in the address, light and dark, and a lost connection.
(function () {
  "use strict";

  const PATIENCE_MS = 2500;
  let server = null;

  function trame() {
    return window.trame && window.trame.state ? window.trame : null;
  }

  function state(name) {
    return trame().state.get(name);
  }

  function tell(text) {
    trame().state.update({ notice: text, notice_open: true });
  }

  // Files ------------------------------------------------------------------------------------------------------------

  async function upload(side, files) {
    if (!files.length) return;
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    try {
      const answer = await fetch(`explorer/upload/${side}`, {
        method: "POST",
        body: form,
        headers: { "X-SPR-Explorer": "1" },
      });
      const said = await answer.json().catch(() => ({ why: `The upload was refused (${answer.status}).` }));
      if (!answer.ok) tell(said.why);
    } catch (error) {
      tell("The upload was interrupted: it is too large, or the connection is lost.");
    }
  }

  document.addEventListener("click", (event) => {
    const pick = event.target.closest("[data-spr-pick]");
    if (pick) document.getElementById(pick.dataset.sprPick).click();
  });

  document.addEventListener("change", (event) => {
    const side = event.target.dataset && event.target.dataset.sprUpload;
    if (side) {
      upload(side, [...event.target.files]);
      event.target.value = "";
    }
  });

  for (const kind of ["dragover", "drop", "dragleave"]) {
    document.addEventListener(kind, (event) => {
      const place = event.target.closest && event.target.closest("[data-spr-drop]");
      event.preventDefault(); // a file that misses is not to replace the page
      document.querySelectorAll(".spr-drop-here").forEach((each) => each.classList.remove("spr-drop-here"));
      if (!place) return;
      if (kind === "dragover") place.classList.add("spr-drop-here");
      if (kind === "drop") upload(place.dataset.sprDrop, [...event.dataTransfer.files]);
    });
  }

  // Keys -------------------------------------------------------------------------------------------------------------

  document.addEventListener("keydown", (event) => {
    const writes = event.target.closest("input:not([type=checkbox]):not([type=file]), textarea, [contenteditable]");
    if (!trame() || writes || event.altKey || event.metaKey) return;
    if (event.ctrlKey) {
      const key = { z: event.shiftKey ? "Z" : "z", y: "Z" }[event.key.toLowerCase()];
      if (key) trame().trigger("key", [key]);
      return;
    }
    if (event.key === "?") trame().state.set("help", !state("help"));
    else if ("acdwvgfzr[]-=,.".includes(event.key) || event.key === "Z") trame().trigger("key", [event.key]);
    else return;
    event.preventDefault();
  });

  // The settings in the address ----------------------------------------------------------------------------------------

  function keepLink(link) {
    const hash = link ? `#${link}` : "";
    if (hash !== location.hash) history.replaceState(null, "", location.pathname + location.search + hash);
  }

  // Start ------------------------------------------------------------------------------------------------------------

  function begin() {
    const page = trame();
    if (!page || !document.querySelector(".spr-page")) {
      setTimeout(begin, 100);
      return;
    }
    const asked = location.hash.slice(1);
    const remembered = localStorage.getItem("spr-theme");
    const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
    page.state.set("theme", remembered || system);
    if (asked) page.trigger("link", [asked]);
    let theme = remembered || system;
    setInterval(() => {
      keepLink(state("link"));
      if (state("theme") !== theme) {
        theme = state("theme");
        localStorage.setItem("spr-theme", theme);
      }
    }, 500);
    window.addEventListener("hashchange", () => page.trigger("link", [location.hash.slice(1)]));
    document.documentElement.dataset.sprReady = "1";
    page.trigger("ready", []);
    watch();
  }

  // A lost connection --------------------------------------------------------------------------------------------------

  // A server that is slow is not lost: only a refused request or a closed socket says so. The page is made anew when the
  // socket has closed, or another server answers.
  async function watch() {
    let answers = null;
    try {
      answers = await (await fetch("explorer/alive", { cache: "no-store" })).json();
    } catch (error) {
      answers = null;
    }
    if (answers && (socketLost || (server && answers.server !== server))) {
      location.reload();
      return;
    }
    server = answers ? answers.server : server;
    document.getElementById("spr-lost")?.classList.toggle("on", !answers || socketLost);
    setTimeout(watch, PATIENCE_MS);
  }

  // The socket of the page cannot be asked for, so it is noted when it sends. That it closes is to be known; and it hands
  // messages over as blobs, whose bytes come from another process of the browser, in two parts: each picture waits for
  // that. Memory has the same two methods, but for one.
  let socketLost = false;
  ArrayBuffer.prototype.arrayBuffer ||= function () {
    return Promise.resolve(this);
  };
  const send = WebSocket.prototype.send;
  const watched = new WeakSet();
  WebSocket.prototype.send = function (...data) {
    if (!watched.has(this)) {
      watched.add(this);
      this.addEventListener("close", () => (socketLost = true));
      this.binaryType = "arraybuffer";
    }
    return send.apply(this, data);
  };

  begin();
})();
