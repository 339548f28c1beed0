"use strict";
// What is seen of the image: where, in which window, with which labels. Volumes in three planes and 3D, pictures in one.

class View {
  constructor(said) {
    this.said = said;
    this.isPicture = said.kind === "picture";
    this.isFlat = Boolean(said.flat);
    this.zoom = 1;
    this.opacity = [1, 0, 0];
    this.colors = [new Uint32Array(65536), new Uint32Array(256), new Uint32Array(256)];
    for (let doubt = 0; doubt < 256; doubt++) this.colors[2][doubt] = 0x00ff4dff | (doubt << 24);
    this.onPlace = () => {};
    this.onLayout = () => {};
  }

  get layouts() {
    if (this.isFlat) return [];
    return [["Planes", "P"], ["Axial", "A"], ["Coronal", "C"], ["Sagittal", "S"], ["3D", "D"]];
  }

  get keys() {
    if (this.isFlat) return [["↑ ↓ ← →", "move over the picture when it is enlarged, else the page"], ["+ − 0", "larger, smaller, whole"]];
    return [
      ["↑ ↓", "axial slices; of a single plane, its slices"],
      ["← →", "sagittal slices; of a single plane, its slices"],
      ["Page ↑ ↓", "with the focus on the image (Tab or click): coronal slices; of a single plane, ten of its slices"],
      ["P A C S D", "planes, axial, coronal, sagittal, 3D"],
      ["+ − 0", "larger, smaller, whole"],
    ];
  }

  async open(cells) {
    [this.image, this.mask] = [await unpack("image"), await unpack("mask")];
    this.doubt = this.said.uncertainty ? await unpack("uncertainty") : null;
    this.position = this.said.start;
    const names = this.isFlat ? [this.said.flat] : ["Axial", "Coronal", "Sagittal"];
    this.planes = names.map((name) => new Plane(name, cells[name], this));
    this.solid = this.isFlat ? null : new Solid(cells["3D"], this);
    for (const plane of this.planes) new ResizeObserver(() => this.draw()).observe(plane.canvas);
  }

  setWindow(low, high) {
    const { slope } = this.image;
    for (let at = 0; at < 65536; at++) {
      const share = ((at - 32768) * slope - low) / (high - low);
      this.colors[0][at] = 0xff000000 | (Math.round(Math.min(Math.max(share, 0), 1) * 255) * 0x010101);
    }
    this.window = [low, high];
    this.solid?.setWindow();
    this.draw();
  }

  setLabels(opacity, shown) {
    this.shown = shown;
    this.colors[1].fill(0);
    for (const { value, color } of this.said.labels) {
      if (shown.has(value)) this.colors[1][value] = 0xff000000 | (color[2] << 16) | (color[1] << 8) | color[0];
    }
    this.opacity[1] = opacity;
    this.solid?.setLabels();
    this.draw();
  }

  setUncertainty(opacity) {
    this.opacity[2] = opacity;
    this.draw();
  }

  setLayout(name) {
    this.layout = name;
    this.onLayout(name);
    if (name === "3D") this.solid.open();
    this.draw();
  }

  goTo(voxel) {
    const { dims } = this.image;
    this.position = voxel.map((at, axis) => Math.min(Math.max(Math.round(at), 0), dims[axis] - 1));
    this.tell(this.position);
    this.draw();
  }

  step(axis, by) {
    const voxel = [...this.position];
    voxel[axis] += by;
    this.goTo(voxel);
  }

  enlarge(times) {
    this.zoom = times ? Math.min(Math.max(this.zoom * times, 1), 40) : 1;
    this.solid?.enlarge(times);
    this.draw();
  }

  // draws once in a frame, however often it is asked to
  draw() {
    this.asked ??= requestAnimationFrame(() => {
      this.asked = undefined;
      for (const plane of this.planes) plane.draw();
    });
  }

  key(key) {
    const zoom = { "+": 1.25, "=": 1.25, "-": 0.8, 0: 0 }[key];
    if (zoom !== undefined) {
      this.enlarge(zoom);
      return true;
    }
    // steps along the patient's axes: towards right, anterior, superior
    const [axis, by] = {
      ArrowUp: [2, 1], ArrowDown: [2, -1], ArrowRight: [0, -1], ArrowLeft: [0, 1], PageUp: [1, 1], PageDown: [1, -1],
    }[key] ?? [];
    if (axis === undefined) return false;
    const [plane] = this.planes.filter(({ name }) => name === this.layout);
    if (this.isFlat) {
      if (this.zoom === 1 || key.startsWith("Page")) return false;
      const along = key === "ArrowLeft" || key === "ArrowRight" ? plane.across : plane.up;
      this.step(along, by * Math.ceil(this.image.dims[along] / 20 / this.zoom));
    } else if (plane) {
      const onwards = key === "ArrowRight" || by * (axis ? 1 : -1) > 0;
      this.step(plane.through, (onwards ? 1 : -1) * (key.startsWith("Page") ? 10 : 1));
    } else {
      this.step(axis, by);
    }
    return true;
  }

  // says where a voxel is and what is there
  tell(voxel) {
    const { dims, voxels, slope } = this.image;
    const [x, y, z] = voxel;
    const at = x + dims[0] * (y + dims[1] * z);
    const name = this.said.labels.find(({ value }) => value === this.mask.voxels[at])?.name;
    const where = this.isPicture
      ? [`column ${dims[0] - x} of ${dims[0]}`, `row ${dims[1] - y} of ${dims[1]}`]
      : [`axial ${z + 1} of ${dims[2]}`, `coronal ${y + 1} of ${dims[1]}`, `sagittal ${x + 1} of ${dims[0]}`];
    const value = Math.round(voxels[at] * slope);
    this.onPlace(
      [
        ...where, this.said.unit === "HU" ? `${value} HU` : `grey ${value}`, ...(name ? [name] : []),
        ...(this.doubt ? [`uncertainty ${(this.doubt.voxels[at] * this.doubt.slope).toFixed(2)}`] : []),
      ].join(" · "),
    );
  }
}
