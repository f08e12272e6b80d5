// Handles on the ends of the chosen needle in the scene. The browser tells along which line of
// sight it was let go; the server finds the point on it, measures, and puts the needle there.
"use strict";

(() => {
  const ENDS = ["entry", "tip"];
  const TREMOR_PX = 3; // a hand that moves less meant to press, not to drag

  class Hand {
    constructor(scene, stage, tell) {
      this.scene = scene;
      this.stage = stage;
      this.tell = tell;
      this.allowed = false;
      this.waiting = null;
      this.held = null;
      this.handles = ENDS.map((end, k) => this.handle(end, k));
      const { k3d } = scene;
      k3d.on(k3d.events.RENDERED, () => this.place());
      this.place();
    }

    /** Put handles into the element of an id; tell: called with end, phase, eye and a point. */
    static attach(id, tell) {
      const stage = document.getElementById(id);
      window.plannerHand = new Hand(window.plannerScene, stage, tell);
    }

    allow(allowed) {
      this.allowed = allowed;
      this.place();
    }

    handle(end, k) {
      const made = document.createElement("div");
      made.className = `grip grip-${end}`;
      made.title = `Drag the ${end} across the line of sight`;
      made.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        event.preventDefault();
        made.setPointerCapture(event.pointerId);
        const box = made.getBoundingClientRect();
        const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
        this.held = { x: event.clientX, y: event.clientY, moved: false };
        this.held.off = [event.clientX - x, event.clientY - y];
        this.send(k, "take", event);
      });
      made.addEventListener("pointermove", (event) => {
        if (!this.held || !made.hasPointerCapture(event.pointerId)) return;
        const far = Math.hypot(event.clientX - this.held.x, event.clientY - this.held.y);
        this.held.moved ||= far >= TREMOR_PX;
        if (!this.held.moved) return;
        if (!this.waiting) requestAnimationFrame(() => this.sendWaiting());
        this.waiting = [k, event];
      });
      const drop = (event) => {
        if (!this.held) return;
        this.sendWaiting();
        const meant = event.type === "pointerup" && this.held.moved;
        this.send(k, meant ? "drop" : "lose", event);
        this.held = null;
      };
      made.addEventListener("pointerup", drop);
      made.addEventListener("pointercancel", drop);
      this.stage.append(made);
      return made;
    }

    sendWaiting() {
      if (!this.waiting) return;
      const [k, event] = this.waiting;
      this.waiting = null;
      this.send(k, "move", event);
    }

    /** Tell a line of sight: the eye, and a point behind the mouse, patient LPS mm. */
    send(k, phase, event) {
      const { camera } = this.scene.k3d.getWorld();
      const box = this.stage.getBoundingClientRect();
      const [offX, offY] = this.held.off; // where in the handle the hand took hold of it
      const x = ((event.clientX - offX - box.left) / box.width) * 2 - 1;
      const y = 1 - ((event.clientY - offY - box.top) / box.height) * 2;
      camera.updateMatrixWorld();
      const behind = camera.position.clone().set(x, y, 0.5).unproject(camera);
      this.tell({ end: ENDS[k], phase, eye: camera.position.toArray(), behind: behind.toArray() });
    }

    /** Put the handles where the ends of the chosen needle are seen. */
    place() {
      const { camera } = this.scene.k3d.getWorld();
      const ends = this.scene.facts.needles[this.scene.chosen]?.ends;
      this.handles.forEach((handle, k) => {
        handle.hidden = !this.allowed || !ends;
        if (handle.hidden) return;
        const seen = camera.position.clone().fromArray(ends[k]).project(camera);
        handle.style.left = `${(seen.x + 1) * 50}%`;
        handle.style.top = `${(1 - seen.y) * 50}%`;
      });
    }
  }

  window.PlannerHand = Hand;
})();
