// Client side of the page: uploads, keys, the settings in the address, the color theme, and reconnection.
(function () {
  "use strict";

  const ALIVE_INTERVAL_MS = 2500;
  let serverId = null;

  function trame() {
    return window.trame && window.trame.state ? window.trame : null;
  }

  function state(name) {
    return trame().state.get(`PageState__${name}`);
  }

  function setState(name, value) {
    trame().state.set(`PageState__${name}`, value);
  }

  function notify(text) {
    setState("notice", text);
    setState("notice_open", true);
  }

  // Files ------------------------------------------------------------------------------------------------------------

  async function upload(field, files) {
    if (!files.length) return;
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    try {
      const answer = await fetch(`explorer/upload/${field}`, {
        method: "POST",
        body: form,
        headers: { "X-SPR-Explorer": "1" },
      });
      const result = await answer.json().catch(() => ({ reason: `The upload was refused (${answer.status}).` }));
      if (!answer.ok) notify(result.reason);
    } catch (error) {
      notify("The upload was interrupted: it is too large, or the connection was lost.");
    }
  }

  document.addEventListener("click", (event) => {
    const pick = event.target.closest("[data-spr-pick]");
    if (pick) document.getElementById(pick.dataset.sprPick).click();
  });

  document.addEventListener("change", (event) => {
    const field = event.target.dataset && event.target.dataset.sprUpload;
    if (field) {
      upload(field, [...event.target.files]);
      event.target.value = "";
    }
  });

  for (const kind of ["dragover", "drop", "dragleave"]) {
    document.addEventListener(kind, (event) => {
      const target = event.target.closest && event.target.closest("[data-spr-drop]");
      event.preventDefault(); // otherwise the browser would open the file
      document.querySelectorAll(".spr-drop-here").forEach((each) => each.classList.remove("spr-drop-here"));
      if (!target) return;
      if (kind === "dragover") target.classList.add("spr-drop-here");
      if (kind === "drop") upload(target.dataset.sprDrop, [...event.dataTransfer.files]);
    });
  }

  // Keys -------------------------------------------------------------------------------------------------------------

  document.addEventListener("keydown", (event) => {
    const isText = event.target.closest("input:not([type=checkbox]):not([type=file]), textarea, [contenteditable]");
    if (!trame() || isText || event.altKey || event.metaKey) return;
    if (event.ctrlKey) {
      const key = { z: event.shiftKey ? "Z" : "z", y: "Z" }[event.key.toLowerCase()];
      if (key) trame().trigger("key", [key]);
      return;
    }
    if (event.key === "?") setState("help", !state("help"));
    else if ("acdwvugfzr[]-=,.".includes(event.key) || event.key === "Z") trame().trigger("key", [event.key]);
    else return;
    event.preventDefault();
  });

  // The settings in the address ----------------------------------------------------------------------------------------

  function updateAddress(link) {
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
    setState("theme", remembered || system);
    if (asked) page.trigger("link", [asked]);
    let theme = remembered || system;
    setInterval(() => {
      updateAddress(state("link"));
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

  // Lost connection ----------------------------------------------------------------------------------------------------

  // The connection is lost after a failed request or a closed socket, not while a slow server delays its response. The
  // page reloads when the server responds again, or another one does.
  async function watch() {
    let alive = null;
    try {
      alive = await (await fetch("explorer/alive", { cache: "no-store" })).json();
    } catch (error) {
      alive = null;
    }
    if (alive && (socketLost || (serverId && alive.server !== serverId))) {
      location.reload();
      return;
    }
    serverId = alive ? alive.server : serverId;
    document.getElementById("spr-lost")?.classList.toggle("on", !alive || socketLost);
    setTimeout(watch, ALIVE_INTERVAL_MS);
  }

  // trame does not expose its socket, so it is intercepted at its first message: to detect its closing, and to receive
  // array buffers. The bytes of blobs come from another process of the browser, which delays each image. `ArrayBuffer`
  // gets the one method of `Blob` that trame calls and it lacks.
  let socketLost = false;
  ArrayBuffer.prototype.arrayBuffer ||= function () {
    return Promise.resolve(this);
  };
  const send = WebSocket.prototype.send;
  const intercepted = new WeakSet();
  WebSocket.prototype.send = function (...data) {
    if (!intercepted.has(this)) {
      intercepted.add(this);
      this.addEventListener("close", () => (socketLost = true));
      this.binaryType = "arraybuffer";
    }
    return send.apply(this, data);
  };

  begin();
})();
