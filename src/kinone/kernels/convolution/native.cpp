// The forward convolution and the gradient of its input (the transposed convolution), in the order of profile kn1:
//
//   forward          y[n, i, o] = Σ x[n, i·stride + k·dilation − before, c]·w[o, c, k]
//                    over kernel positions k and channels c of o's group
//   backward_input   x[n, i, c] = Σ y[n, j, o]·w[o, c, k] over the kernel positions k that meet the pixel, those where
//                    i + before − k·dilation is a multiple j·stride, and out channels o of c's group
//
// Both run over k in order and over the channels in order for each k: a chain of fused multiply-adds from +0 in chunks
// of 384, the chunk results added in order, and then bias, residual and relu. What lies outside the source is +0 and
// takes part. The pixels whose places have one remainder by the stride meet the same k: the input's gradient is one
// product of this kind for each remainder (`phases`).
//
//   w is packed into panels (kernel position, channel, up to 4 vectors of columns)          (all threads, shared)
//   for blocks of up to 192 pixels, for shares of the panels                                (each thread its own)
//     where the source's pixels lie is looked up; where a pixel has few channels, what it sees is gathered side by side
//     for each group, for each chunk
//       for panels          one panel stays in the second-level cache
//         for tiles of 6 or 8 pixels
//
// With a group for each channel there is nothing to share between columns: depthwise.hpp.
#include "../native/layout.hpp"
#include "depthwise.hpp"
#include "tile.hpp"

namespace kinone::KINONE_ISA {
namespace {

// None of these changes a bit.
constexpr Index most_pixels = 192;  // of a block
constexpr Index few_channels = 32;  // of a pixel, up to which what it sees is gathered

Index volume(const Index (&n)[3]) { return n[0] * n[1] * n[2]; }

// w as the panels of B, (group, panel, kernel position, channel of the source, column of the panel).
template <class T>
void pack(const Convolution<T>& c, bool is_transposed, const Panels<T>& panels, T* to) {
  Index kernel = volume(c.kernel), out = c.out_channels / c.groups, in = c.channels / c.groups;
  Index depth = is_transposed ? out : in, columns = is_transposed ? in : out;
  double numbers = static_cast<double>(c.groups) * kernel * in * out;
  auto pack_panel = [&](Index task, char*) {
    Index group = task / panels.count, panel = task % panels.count, j = panels.begin(panel), width = panels.width(panel);
    Index m = min(columns - j, width);
    T* b = to + (group * panels.begin(panels.count) + j) * kernel * depth;
    const T* w = c.w + group * out * in * kernel;
    if (is_transposed)
      for (Index p = 0; p < depth; p++)
        transposed(b + p * width, 0, depth * width, kernel, w + (p * in + j) * kernel, kernel, m, kernel);
    else
      transposed(b, width, depth * width, kernel, w + j * in * kernel, in * kernel, m, in * kernel);
    for (Index p = 0; p < kernel * depth && m < width; p++)
      for (Index i = m; i < width; i++) b[p * width + i] = 0;
  };
  share_out(crew_for(numbers * 32), c.groups * panels.count, 0, pack_panel);
}

// Whether the taps are all kernel positions, in order.
template <class T>
bool is_whole(const Product<T>& p, Index kernel) {
  return p.taps() == kernel && p.axis[0].skip * p.axis[1].skip * p.axis[2].skip == 1;
}

template <class T>
void compute(const Product<T>& p, const Panels<T>& panels, const T* packed, Index kernel, const Index* position,
             const T* zeros) {
  Index pixels = p.pixels(), taps = p.taps(), depth = taps * p.depth, most = panels.count * p.groups;
  bool is_gathered = p.depth < few_channels && taps > 1 && is_whole(p, kernel);
  Index crew = crew_for(static_cast<double>(pixels) * depth * p.columns * p.groups);
  Index whole = Pixels<T>::whole, block = min(rounded(blocks(pixels, crew > 1 ? 4 * crew : 1), whole), most_pixels);
  block = max(block, min(2 * whole, rounded(pixels, whole)));
  Index pixel_blocks = blocks(pixels, block), shares = crew > 1 ? min(most, blocks(4 * crew, pixel_blocks)) : 1;
  Index wide = min(chunk, depth);
  size_t bytes = Pixels<T>::bytes(block) + (is_gathered ? block * (wide + 64) * sizeof(T) : 0) +
                 (is_gathered ? 1 : taps) * block * sizeof(T*) + 256;

  share_out(crew, pixel_blocks * shares, bytes, [&](Index task, char* scratch) {
    Index first = task / shares * block, share = task % shares, begin = share * most / shares;
    Index end = (share + 1) * most / shares;
    Pixels<T> x(p, first, min(block, pixels - first), scratch);
    const T** at = take<const T*>(scratch, (is_gathered ? 1 : taps) * block);
    T* gathered = reinterpret_cast<T*>(scratch);
    if (is_gathered)
      for (Index i = 0; i < block; i++) at[i] = gathered + min(i, x.count - 1) * wide;
    else
      x.look_up(p, zeros, at, block);

    for (Index group = begin / panels.count; group * panels.count < end; group++)
      for (Index p0 = 0; p0 == 0 || p0 < depth; p0 += chunk) {
        Index p1 = min(p0 + chunk, depth);
        if (is_gathered) x.gather(p, group * p.depth, p0, p1, gathered, wide);
        for (Index panel = max(begin - group * panels.count, 0); panel < min(end - group * panels.count, panels.count);
             panel++) {
          Index j = panels.begin(panel), width = panels.width(panel), rows = panels.rows(panel);
          const T* b = packed + (group * panels.begin(panels.count) + j) * kernel * p.depth;
          Piece<T> t{at, block, group * p.depth, 1, p.depth, b, position, p0, p1,
                    x.y, group * p.columns + j, rows, min(p.columns - j, width), p0 == 0, p1 == depth,
                    p.bias, p.y, p.residual, p.is_relu};
          t.is_large = p.is_large(p.columns);
          if (taps == 1) t.ahead = rows * depth, t.pace = rows;
          if (is_gathered) {
            t.channel = t.begin = 0, t.end = t.run = p1 - p0;
            t.b += p0 * width, t.position = nullptr;
          }
          for (Index i = 0; i < x.count; i += rows, t.at += rows, t.y += rows) {
            t.rows = min(x.count - i, rows);
            panels.compute(t, panel);
          }
        }
      }
  });
}

// Along one axis: the pixels of the input whose place has that remainder by the stride, and the taps that meet them.
template <class T>
Axis phase(const Convolution<T>& c, int axis, Index remainder) {
  Index stride = c.stride[axis], dilation = c.dilation[axis], reached = remainder + c.before[axis], skip = 1, k = 0;
  while (skip * dilation % stride) skip++;
  while (k < skip && (reached - k * dilation) % stride) k++;
  Index taps = k < skip && k < c.kernel[axis] ? blocks(c.kernel[axis] - k, skip) : 0;
  return {blocks(c.size[axis] - remainder, stride), remainder, stride, c.size[axis], c.out[axis], 1,
          taps, taps ? (reached - k * dilation) / stride : 0, -skip * dilation / stride, k, skip};
}

template <class T, class F>
void phases(const Convolution<T>& c, const F& f) {
  Product<T> p{{}, c.batch, c.groups, c.out_channels / c.groups, c.channels / c.groups, c.y, c.x,
               c.bias, c.residual, c.is_relu};
  for (Index i = 0; i < min(c.stride[0], c.size[0]); i++)
    for (Index j = 0; j < min(c.stride[1], c.size[1]); j++)
      for (Index k = 0; k < min(c.stride[2], c.size[2]); k++) {
        p.axis[0] = phase(c, 0, i), p.axis[1] = phase(c, 1, j), p.axis[2] = phase(c, 2, k);
        f(p);
      }
}

template <class T>
void convolution(const Convolution<T>& given, bool is_transposed) {
  const Convolution<T> c = flattened(given);
  Index kernel = volume(c.kernel), source = is_transposed ? c.out_channels : c.channels;
  bool is_by_channel = is_depthwise(c);
  Panels<T> panels((is_transposed ? c.channels : c.out_channels) / c.groups);
  Index packed = is_by_channel ? kernel * source : panels.begin(panels.count) * kernel * source;
  Index most = is_transposed ? min(c.stride[0], c.size[0]) * min(c.stride[1], c.size[1]) * min(c.stride[2], c.size[2]) : 1;
  char* memory = workspace((packed + source) * sizeof(T) + kernel * sizeof(Index) + most * sizeof(Product<T>) + 4 * 64);
  T* w = take<T>(memory, packed);
  T* zeros = take<T>(memory, source);
  Index* position = take<Index>(memory, kernel);
  Product<T>* products = take<Product<T>>(memory, most);
  Index count = 0, taps = 0;
  auto add = [&](const Product<T>& p) {
    positions(p, c.kernel, position + taps);
    products[count++] = p, taps += p.taps();
  };
  is_transposed ? phases(c, add) : add(product_of(c));
  for (Index i = 0; i < source; i++) zeros[i] = 0;
  if (is_by_channel) {
    transposed(w, source, 0, 1, c.w, kernel, source, kernel);
    depthwise(products, count, taps, w, position, zeros);
  } else {
    pack(c, is_transposed, panels, w);
    for (Index i = 0; i < count; position += products[i++].taps()) compute(products[i], panels, w, kernel, position, zeros);
  }
}

}  // namespace

void convolution_forward(const Convolution<float>& c) { is_winograd(c) ? winograd_forward(c) : convolution(c, false); }
void convolution_forward(const Convolution<double>& c) { convolution(c, false); }
void convolution_backward_input(const Convolution<float>& c) {
  is_winograd(c) ? winograd_backward_input(c) : convolution(c, true);
}
void convolution_backward_input(const Convolution<double>& c) { convolution(c, true); }

}  // namespace kinone::KINONE_ISA
