"use strict";
// One plane of the image on a canvas: grey, mask and uncertainty over each other, and the crosshair.

class Plane {
  // axes of the patient (0 right, 1 anterior, 2 superior) across, up and through the picture; both decrease from its
  // left and top, as radiologists look at it: the patient's right at the left, anterior or superior at the top
  static axes = { Axial: [0, 1, 2], Coronal: [0, 2, 1], Sagittal: [1, 2, 0] };
  static letters = { Axial: "RLAP", Coronal: "RLSI", Sagittal: "APSI" };

  constructor(name, canvas, view) {
    [this.name, this.canvas, this.view] = [name, canvas, view];
    [this.across, this.up, this.through] = Plane.axes[name];
    const { dims } = view.image;
    this.layers = ["image", "mask", "uncertainty"].map(() => {
      const layer = document.createElement("canvas");
      [layer.width, layer.height] = [dims[this.across], dims[this.up]];
      return layer;
    });
    this.pixels = new ImageData(dims[this.across], dims[this.up]);
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("wheel", (event) => this.rolled(event), { passive: false });
  }

  // colors: 0xAABBGGRR of each value, from `offset` below 0
  paint(layer, { dims, voxels }, colors, offset) {
    const strides = [1, dims[0], dims[0] * dims[1]];
    const [width, height, step] = [dims[this.across], dims[this.up], strides[this.across]];
    const start = this.view.position[this.through] * strides[this.through];
    const words = new Uint32Array(this.pixels.data.buffer);
    for (let row = 0, at = 0; row < height; row++) {
      let voxel = start + (height - 1 - row) * strides[this.up] + (width - 1) * step;
      for (const end = at + width; at < end; at++, voxel -= step) words[at] = colors[voxels[voxel] + offset];
    }
    this.layers[layer].getContext("2d").putImageData(this.pixels, 0, 0);
  }

  // left, top, width and height of the plane on its canvas, in the canvas' pixels; enlarged, it follows the crosshair
  place() {
    const { image, position, zoom } = this.view;
    const { width, height } = this.canvas;
    const [columns, rows] = [image.dims[this.across], image.dims[this.up]];
    const [wide, high] = [columns * image.spacing[this.across], rows * image.spacing[this.up]];
    const scale = Math.min(width / wide, height / high) * zoom;
    const along = (room, size, share) => {
      if (size <= room) return (room - size) / 2;
      return Math.min(0, Math.max(room - size, room / 2 - share * size));
    };
    return [
      along(width, wide * scale, 1 - (position[this.across] + 0.5) / columns),
      along(height, high * scale, 1 - (position[this.up] + 0.5) / rows),
      wide * scale,
      high * scale,
    ];
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const size = [this.canvas.clientWidth, this.canvas.clientHeight].map((length) => Math.round(length * ratio));
    if (!size[0] || !size[1]) return;
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) [this.canvas.width, this.canvas.height] = size;
    const context = this.canvas.getContext("2d", { alpha: false });
    context.fillStyle = "#000";
    context.fillRect(0, 0, ...size);
    const { image, mask, doubt, colors, opacity } = this.view;
    const place = this.place();
    [image, mask, doubt].forEach((source, layer) => {
      if (!source || !opacity[layer]) return;
      this.paint(layer, source, colors[layer], layer ? 0 : 32768);
      // labels end where their voxels end
      context.imageSmoothingEnabled = layer === 0 || place[2] < this.layers[0].width;
      context.imageSmoothingQuality = "high";
      context.globalAlpha = opacity[layer];
      context.drawImage(this.layers[layer], ...place);
    });
    context.globalAlpha = 1;
    if (!this.view.isPicture) this.mark(context, place, ratio);
  }

  mark(context, [left, top, width, height], ratio) {
    const { image, position } = this.view;
    const x = left + width * (1 - (position[this.across] + 0.5) / image.dims[this.across]);
    const y = top + height * (1 - (position[this.up] + 0.5) / image.dims[this.up]);
    const [end, bottom, gap] = [this.canvas.width, this.canvas.height, 10 * ratio];
    const [from, to] = [Math.max(left, 0), Math.min(left + width, end)];
    const [above, below] = [Math.max(top, 0), Math.min(top + height, bottom)];
    context.strokeStyle = "#ffd180b0";
    context.lineWidth = ratio;
    context.beginPath();
    for (const [fromX, fromY, toX, toY] of [
      [from, y, x - gap, y], [x + gap, y, to, y], [x, above, x, y - gap], [x, y + gap, x, below],
    ]) {
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
    }
    context.stroke();
    context.font = `${14 * ratio}px system-ui, sans-serif`;
    [context.textAlign, context.textBaseline, context.fillStyle] = ["center", "middle", "#fff"];
    [context.strokeStyle, context.lineWidth] = ["#000", 3 * ratio];
    const edge = 12 * ratio;
    const places = [[edge, bottom / 2], [end - edge, bottom / 2], [end / 2, edge], [end / 2, bottom - edge]];
    places.forEach((at, side) => {
      context.strokeText(Plane.letters[this.name][side], ...at);
      context.fillText(Plane.letters[this.name][side], ...at);
    });
  }

  // the voxel under the pointer
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const [left, top, width, height] = this.place();
    const { dims } = this.view.image;
    const shares = [
      (((event.clientX - box.left) * this.canvas.width) / box.width - left) / width,
      (((event.clientY - box.top) * this.canvas.height) / box.height - top) / height,
    ];
    const voxel = [...this.view.position];
    [this.across, this.up].forEach((axis, at) => {
      const index = dims[axis] - 1 - Math.floor(shares[at] * dims[axis]);
      voxel[axis] = Math.min(Math.max(index, 0), dims[axis] - 1);
    });
    return voxel;
  }

  pressed(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.view.chosen = this;
    this.grabbed = this.under(event);
    if (this.view.zoom === 1) this.view.goTo(this.grabbed);
  }

  moved(event) {
    const here = this.under(event);
    if (!(event.buttons & 1)) {
      if (this.view.isPicture) this.view.tell(here);
    } else if (this.view.zoom === 1) {
      this.view.goTo(here);
    } else if (this.grabbed) {
      // enlarged, the picture is dragged along
      this.view.goTo(this.view.position.map((at, axis) => at + this.grabbed[axis] - here[axis]));
      this.grabbed = this.under(event);
    }
  }

  rolled(event) {
    event.preventDefault();
    const towards = event.deltaY < 0 ? 1 : -1;
    if (event.ctrlKey || this.view.isPicture) this.view.enlarge(towards > 0 ? 1.25 : 0.8);
    else this.view.step(this.through, towards);
  }
}
