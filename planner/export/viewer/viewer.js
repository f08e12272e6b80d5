// Switches of the scene. Every point, plane and distance was computed before; here they are only
// shown: which objects, how opaque, where the camera stands, how far the slice is moved.
"use strict";

(() => {
  const TURN_DEG = 15;

  /** The place of a unit square in a plane, as K3D takes it: 16 numbers, row by row. */
  function planeMatrix(plane, offset, size) {
    const rows = [];
    for (let k = 0; k < 3; k += 1) {
      const place = plane.centre[k] + offset * plane.normal[k];
      rows.push(size * plane.right[k], size * plane.up[k], plane.normal[k], place);
    }
    return new Float32Array([...rows, 0, 0, 0, 1]);
  }

  function turned(vector, axis, degrees) {
    const angle = (degrees * Math.PI) / 180;
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    const dot = vector[0] * axis[0] + vector[1] * axis[1] + vector[2] * axis[2];
    const cross = [
      axis[1] * vector[2] - axis[2] * vector[1],
      axis[2] * vector[0] - axis[0] * vector[2],
      axis[0] * vector[1] - axis[1] * vector[0],
    ];
    return vector.map((v, k) => v * c + cross[k] * s + axis[k] * dot * (1 - c));
  }

  /** Coordinates in a row as K3D takes points. */
  function points(row) {
    return { data: new Float32Array(row), shape: [row.length / 3, 3] };
  }

  function unit(vector) {
    const length = Math.hypot(...vector);
    return vector.map((v) => v / length);
  }

  function bytesOf(base64) {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  }

  class Scene {
    constructor(k3d, facts) {
      this.k3d = k3d;
      this.facts = facts;
      this.chosen = 0;
      this.plane = 0;
      this.offset = 0;
      this.sliceShown = true;
      this.linesShown = true;
    }

    /** Make the scene that an address holds, in the element of an id, once that is on the page. */
    static async mount(id, address) {
      const stage = document.getElementById(id);
      const able = document.createElement("canvas").getContext("webgl2");
      const answer = able && stage ? await fetch(address) : null;
      if (!answer?.ok) return false;
      const { data, facts } = await answer.json();
      stage.replaceChildren();
      window.plannerScene = await Scene.open(stage, data, facts);
      stage.dataset.state = "ready";
      return true;
    }

    /** Make a scene in an element; resolves when the first picture stands. */
    static async open(stage, data, facts) {
      const k3d = await window.k3dLibrary.CreateK3DAndLoadBinarySnapshot(
        bytesOf(data).buffer,
        stage,
      );
      const scene = new Scene(k3d, facts);
      await scene.cut(0, null);
      return scene;
    }

    /** Change objects, each given as [id, changes], and draw once. */
    async change(pairs) {
      const { ObjectsListJson } = this.k3d.getWorld();
      await Promise.all(
        pairs.map(([id, changes]) => {
          const item = Object.assign(ObjectsListJson[id], changes);
          return this.k3d.reload(item, changes, true);
        }),
      );
      return this.k3d.render();
    }

    look(camera) {
      this.k3d.setCamera(camera);
      return this.k3d.render();
    }

    /** Look along the chosen needle, from its hub. */
    lookAlong() {
      return this.look(this.facts.needles[this.chosen].camera);
    }

    /** Turn the camera about its own up or right axis. */
    turn(sideways, upwards) {
      const camera = Array.from(this.k3d.getWorld().controls.getCameraArray());
      const eye = camera.slice(0, 3);
      const centre = camera.slice(3, 6);
      let up = unit(camera.slice(6, 9));
      let arm = eye.map((v, k) => v - centre[k]);
      arm = turned(arm, up, sideways * TURN_DEG);
      const right = unit([
        up[1] * arm[2] - up[2] * arm[1],
        up[2] * arm[0] - up[0] * arm[2],
        up[0] * arm[1] - up[1] * arm[0],
      ]);
      arm = turned(arm, right, -upwards * TURN_DEG);
      up = turned(up, right, -upwards * TURN_DEG);
      return this.look([...centre.map((v, k) => v + arm[k]), ...centre, ...up]);
    }

    choose(number) {
      this.chosen = number;
      const pairs = [];
      this.facts.needles.forEach((needle, k) => {
        const shown = k === number;
        pairs.push([needle.object, { opacity: shown ? 1 : this.facts.other_opacity }]);
        pairs.push([needle.lines, { visible: shown && this.linesShown }]);
      });
      return this.cut(this.plane, null, pairs);
    }

    /** Put the slice into a plane of the chosen needle; offset null: where it begins. */
    cut(plane, offset, others = []) {
      this.plane = plane;
      const { object, size_mm: size } = this.facts.slice;
      const where = this.facts.needles[this.chosen]?.planes[plane];
      if (!where) return this.change([...others, [object, { visible: false }]]);
      this.offset = offset === null ? where.start : offset;
      const matrix = { data: planeMatrix(where, this.offset, size), shape: [4, 4] };
      const changes = { visible: this.sliceShown, model_matrix: matrix };
      return this.change([...others, [object, changes]]);
    }

    /** Put a needle elsewhere: its shaft, its lines, and the planes of its slice. */
    reshape(number, { ends, planes, camera, shaft, lines }) {
      const needle = Object.assign(this.facts.needles[number], { ends, planes, camera });
      return this.change([
        [needle.object, { vertices: points(shaft) }],
        [needle.lines, { vertices: points(lines) }],
      ]);
    }

    fade(group, opacity) {
      return this.change(group.objects.map((id) => [id, { opacity, visible: opacity > 0 }]));
    }
  }

  function element(kind, settings, ...children) {
    const made = Object.assign(document.createElement(kind), settings);
    made.append(...children);
    return made;
  }

  function labelled(text, input) {
    return element("label", {}, element("span", { textContent: text }), input);
  }

  /** Build the switches of a scene beside it. */
  function controls(scene, titles) {
    const { facts } = scene;
    const needle = element("select", { name: "needle" });
    titles.forEach((title, k) => needle.append(new Option(title, k)));
    const plane = element("select", { name: "plane" });
    plane.append(new Option("none", -1));
    facts.needles[0]?.planes.forEach((each, k) => plane.append(new Option(each.title, k)));
    plane.value = 0;
    const offset = element("input", { type: "range", step: 0.5, name: "offset" });
    const where = element("output", { name: "where" });
    const lines = element("input", { type: "checkbox", checked: true, name: "lines" });

    const showPlace = () => {
      const each = facts.needles[scene.chosen].planes[scene.plane];
      Object.assign(offset, { min: each.from, max: each.to, disabled: !scene.sliceShown });
      offset.value = scene.offset;
      const base = each.title === "across" ? "from the bone entry" : "beside the needle";
      where.textContent = `${scene.offset.toFixed(1)} mm ${base}`;
    };
    needle.addEventListener("change", () => scene.choose(Number(needle.value)).then(showPlace));
    plane.addEventListener("change", () => {
      scene.sliceShown = Number(plane.value) >= 0;
      scene.cut(Math.max(Number(plane.value), 0), null).then(showPlace);
    });
    offset.addEventListener("input", () => {
      scene.cut(scene.plane, Number(offset.value)).then(showPlace);
    });
    lines.addEventListener("change", () => {
      scene.linesShown = lines.checked;
      scene.choose(scene.chosen).then(showPlace);
    });
    const box = element("fieldset", {}, element("legend", { textContent: "Scene" }));
    if (facts.needles.length) {
      box.append(labelled("Needle", needle), labelled("Slice", plane), labelled("Move", offset));
      box.append(where, labelled("Lines to the nearest points", lines));
      showPlace();
    }
    for (const group of facts.groups) {
      const slider = element("input", { type: "range", min: 0, max: 1, step: 0.05 });
      slider.name = group.name;
      slider.value = group.opacity;
      slider.addEventListener("input", () => scene.fade(group, Number(slider.value)));
      box.append(labelled(group.title, slider));
    }
    box.append(cameraButtons(scene));
    return box;
  }

  function cameraButtons(scene) {
    const row = element("div", { className: "cameras" });
    const add = (text, act) => {
      row.append(element("button", { type: "button", textContent: text, onclick: act }));
    };
    for (const [title, camera] of Object.entries(scene.facts.cameras)) {
      add(title, () => scene.look(camera));
    }
    if (scene.facts.needles.length) add("Along the needle", () => scene.lookAlong());
    add("Turn left", () => scene.turn(-1, 0));
    add("Turn right", () => scene.turn(1, 0));
    add("Turn up", () => scene.turn(0, 1));
    add("Turn down", () => scene.turn(0, -1));
    return row;
  }

  /** Start the scene of a page, where there is one; without WebGL its still picture remains. */
  async function start() {
    const place = document.getElementById("scene");
    const data = document.getElementById("scene-data");
    if (!place || !data) return;
    const test = document.createElement("canvas").getContext("webgl2");
    if (!test) {
      place.dataset.state = "still";
      return;
    }
    const facts = JSON.parse(document.getElementById("scene-facts").textContent);
    const stage = place.querySelector(".stage");
    stage.hidden = false;
    try {
      const scene = await Scene.open(stage, data.textContent, facts);
      place.querySelector(".switches").append(controls(scene, facts.titles));
      place.dataset.state = "ready";
      window.plannerScene = scene;
    } catch (error) {
      console.error(error);
      stage.hidden = true;
      place.dataset.state = "still";
    }
  }

  window.PlannerScene = Scene;
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
