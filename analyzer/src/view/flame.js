(function () {
  "use strict";
  var W = 1180, M = 10, CH = 7;
  var frames = Array.prototype.slice.call(document.querySelectorAll("g.f"));
  var byId = function (id) { return document.getElementById(id); };
  var title = function (g) { return g.querySelector("title").textContent; };
  var name = function (g) { return title(g).split("\n")[0]; };
  var num = function (g, key) { return parseFloat(g.getAttribute("data-" + key)); };
  var row = function (g) { return parseFloat(g.querySelector("rect").getAttribute("y")); };
  var EPS = 0.0000015;

  function layout(from, width, base) {
    frames.forEach(function (g) {
      var x = num(g, "x"), w = num(g, "w"), rect = g.querySelector("rect"), text = g.querySelector("text");
      var below = base !== null && row(g) > base;
      var inside = x >= from - EPS && x + w <= from + width + EPS;
      var holds = x <= from + EPS && x + w >= from + width - EPS;
      if (below ? !holds : !inside) { g.style.display = "none"; return; }
      g.style.display = "";
      g.classList.toggle("dim", below && base !== null);
      var px = below ? M : M + (x - from) / width * W;
      var pw = below ? W : Math.max(w / width * W, 0.1);
      rect.setAttribute("x", px.toFixed(2));
      rect.setAttribute("width", pw.toFixed(2));
      text.setAttribute("x", (px + 3).toFixed(2));
      var room = Math.floor((pw - 6) / CH), full = name(g);
      text.textContent = full.length <= room ? full : room < 4 ? "" : full.slice(0, room - 1) + "\u2026";
    });
    byId("reset").setAttribute("visibility", base === null ? "hidden" : "visible");
  }

  function search(term) {
    var hits = [], test;
    frames.forEach(function (g) { g.classList.remove("hit"); });
    byId("found").textContent = "";
    if (!term) { return; }
    try { var re = new RegExp(term, "i"); test = function (s) { return re.test(s); }; }
    catch (e) { test = function (s) { return s.toLowerCase().indexOf(term.toLowerCase()) >= 0; }; }
    frames.forEach(function (g) {
      if (!test(name(g))) { return; }
      g.classList.add("hit");
      hits.push([num(g, "x"), num(g, "x") + num(g, "w")]);
    });
    hits.sort(function (a, b) { return a[0] - b[0] || b[1] - a[1]; });
    var end = 0, sum = 0;
    hits.forEach(function (h) { if (h[1] > end + EPS) { sum += h[1] - Math.max(h[0], end); end = h[1]; } });
    byId("found").textContent = hits.length + " frames, " + (sum * 100).toFixed(1) + " %";
  }

  frames.forEach(function (g) {
    g.addEventListener("click", function () { layout(num(g, "x"), num(g, "w"), row(g)); });
    g.addEventListener("mouseover", function () { byId("about").textContent = title(g).replace("\n", ": "); });
  });
  byId("reset").addEventListener("click", function () { layout(0, 1, null); });
  byId("search").addEventListener("click", function () {
    search(window.prompt("Function (part of its name, or a regular expression):", "") || "");
  });
  window.addEventListener("keydown", function (e) {
    if (e.key === "Escape") { layout(0, 1, null); search(""); }
  });
})();
