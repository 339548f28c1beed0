"use strict";
// The volume in 3D, drawn by NiiVue when it is asked for, or at once where a graphics processor draws it.

class Solid {
  constructor(canvas, view) {
    [this.canvas, this.view] = [canvas, view];
    this.told = canvas.parentElement.querySelector(".told");
    const context = document.createElement("canvas").getContext("webgl2");
    if (!context) {
      this.told.textContent = "3D needs WebGL 2, which this browser doesn't have.";
      return;
    }
    const named = context.getExtension("WEBGL_debug_renderer_info");
    const renderer = String(context.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : context.RENDERER));
    context.getExtension("WEBGL_lose_context")?.loseContext();
    this.isSlow = /swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
    this.can = true;
    if (!this.isSlow) setTimeout(() => this.open(), 100); // after the planes are seen
  }

  async open() {
    if (!this.can || this.nv) return;
    this.nv = new niivue.Niivue({
      logLevel: "error", sliceType: niivue.SLICE_TYPE.RENDER, dragAndDropEnabled: false, isOrientCube: true,
      backColor: [0, 0, 0, 1], viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
    });
    try {
      await this.nv.attachToCanvas(this.canvas, false);
      const [low, high] = this.view.window;
      const image = await niivue.NVImage.new(this.small(this.view.image, false), "image.nii", "gray", 1, null, low, high);
      this.nv.volumes = [image];
      this.nv.setVolume(image, 0);
      this.nv.loadDrawing(await niivue.NVImage.new(this.small(this.view.mask, true), "mask.nii"));
      this.nv.setDrawingEnabled(false);
      this.nv.setRenderAzimuthElevation(160, 10);
      this.setLabels();
      this.told.hidden = true;
    } catch (error) {
      this.can = false;
      this.told.textContent = `3D can't be shown: ${error.message}`;
    }
  }

  setWindow() {
    const image = this.nv?.volumes[0];
    if (!image || !this.told.hidden) return;
    [image.cal_min, image.cal_max] = this.view.window;
    cancelAnimationFrame(this.asked); // a while for a large volume: only the latest window is drawn
    this.asked = requestAnimationFrame(() => {
      this.nv.refreshLayers(image, 0);
      this.nv.drawScene();
    });
  }

  setLabels() {
    if (!this.nv?.drawBitmap) return;
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0] };
    for (const { value, color } of this.view.said.labels) {
      ["R", "G", "B"].forEach((channel, at) => table[channel].push(color[at]));
      table.A.push(this.view.shown.has(value) ? 255 : 0);
      table.I.push(value);
    }
    this.nv.drawLut = niivue.cmapper.makeDrawLut(table);
    this.nv.drawOpacity = this.view.opacity[1];
    this.nv.refreshColormaps();
    this.nv.drawScene();
  }

  enlarge(times) {
    if (!this.nv?.drawBitmap) return;
    this.nv.setScale(times ? Math.min(Math.max(this.nv.volScaleMultiplier * times, 0.5), 5) : 1);
  }

  // a NIfTI file of every so many voxels, or of the largest label among them: rays need no more
  small({ header, dims, spacing, voxels }, isMask) {
    const most = this.isSlow ? 2e6 : 2e7;
    const steps = [1, 1, 1];
    const size = () => dims.map((length, axis) => Math.ceil(length / steps[axis]));
    while (size().reduce((one, other) => one * other) > most) {
      const now = steps.map((step, axis) => (size()[axis] > 1 ? step * spacing[axis] : Infinity));
      steps[now.indexOf(Math.min(...now))]++;
    }
    const [columns, rows, slices] = size();
    const values = new voxels.constructor(columns * rows * slices);
    const [stepX, stepY, stepZ] = steps;
    if (isMask) {
      let at = 0;
      for (let z = 0; z < dims[2]; z++) {
        for (let y = 0; y < dims[1]; y++) {
          const row = columns * (Math.floor(y / stepY) + rows * Math.floor(z / stepZ));
          for (let x = 0; x < dims[0]; x++, at++) {
            if (voxels[at]) {
              const to = row + Math.floor(x / stepX);
              if (voxels[at] > values[to]) values[to] = voxels[at];
            }
          }
        }
      }
    } else {
      let to = 0;
      for (let z = 0; z < dims[2]; z += stepZ) {
        for (let y = 0; y < dims[1]; y += stepY) {
          for (let x = 0; x < dims[0]; x += stepX) values[to++] = voxels[x + dims[0] * (y + dims[1] * z)];
        }
      }
    }
    const file = new Uint8Array(HEADER + values.byteLength);
    file.set(new Uint8Array(header));
    file.set(new Uint8Array(values.buffer), HEADER);
    const fields = new DataView(file.buffer);
    fields.setInt16(252, 0, true); // qform_code: the sform below is what counts
    [columns, rows, slices].forEach((length, axis) => {
      fields.setInt16(42 + 2 * axis, length, true);
      fields.setFloat32(80 + 4 * axis, spacing[axis] * steps[axis], true);
      for (let row = 0; row < 3; row++) {
        const at = 280 + 16 * row + 4 * axis;
        fields.setFloat32(at, fields.getFloat32(at, true) * steps[axis], true);
      }
    });
    return file.buffer;
  }
}
