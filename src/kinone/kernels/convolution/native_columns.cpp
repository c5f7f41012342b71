// Where no number is multiplied: windows as columns, columns added back, images turned channels-last.
//
//   unfold   y[n, c, k, i] = x[n, c, i·stride + k·dilation − before], +0 outside x
//   fold     x[n, c, j]    = +0 + y[n, c, k, i] for the k in order whose i sees j
//
// An image and a channel is a task. Along the last axis the pixels that lie inside are one run.
#include "../native/layout.hpp"
#include "product.hpp"

namespace kinone::KINONE_ISA {
namespace {

// Calls f(x, inside, y, first, last) for the rows of all columns of an image's channel: of a row y, the pixels first <=
// i < last see x[i·stride]; the others see nothing, and in a row that is not inside all do.
template <class T, class F>
void rows_of_columns(const Convolution<T>& c, T* x, T* y, const F& f) {
  const Product<T> p = product_of(c);
  const Axis &a = p.axis[0], &b = p.axis[1], &d = p.axis[2];
  for (Index u = 0; u < a.taps; u++)
    for (Index v = 0; v < b.taps; v++)
      for (Index w = 0; w < d.taps; w++)
        for (Index i = 0; i < a.count; i++)
          for (Index j = 0; j < b.count; j++, y += d.count) {
            Index k0 = i * a.stride + a.offset + u * a.apart, k1 = j * b.stride + b.offset + v * b.apart;
            Index k2 = d.offset + w * d.apart;
            bool is_inside = k0 >= 0 && k0 < a.length && k1 >= 0 && k1 < b.length;
            Index first = is_inside ? min(k2 < 0 ? blocks(-k2, d.stride) : 0, d.count) : d.count;
            Index last = max(first, min(k2 < d.length ? blocks(d.length - k2, d.stride) : 0, d.count));
            f(x + (k0 * b.length + k1) * d.length + k2, y, first, last);
          }
}

template <class T, class F>
void each_channel(const Convolution<T>& c, const F& f) {
  Index size = c.size[0] * c.size[1] * c.size[2], out = c.out[0] * c.out[1] * c.out[2];
  Index columns = out * c.kernel[0] * c.kernel[1] * c.kernel[2], images = c.batch * c.channels;
  share_out(crew_for(16.0 * images * columns), images, 0,
            [&](Index image, char*) { f(c.x + image * size, c.y + image * columns, size); });
}

template <class T>
void windows(const Convolution<T>& c) {
  each_channel(c, [&](T* image, T* columns, Index) {
    rows_of_columns(c, image, columns, [&](const T* x, T* y, Index first, Index last) {
      for (Index i = 0; i < first; i++) y[i] = 0;
      if (c.stride[2] == 1)
        copy<lanes<T>>(y + first, x + first, last - first);
      else
        for (Index i = first; i < last; i++) y[i] = x[i * c.stride[2]];
      for (Index i = last; i < c.out[2]; i++) y[i] = 0;
    });
  });
}

template <class T>
void add_windows(const Convolution<T>& c) {
  each_channel(c, [&](T* image, T* columns, Index size) {
    for (Index i = 0; i < size; i++) image[i] = 0;
    rows_of_columns(c, image, columns, [&](T* x, const T* y, Index first, Index last) {
      if (c.stride[2] == 1)
        for (Index i = first; i < last; i++) x[i] = x[i] + y[i];
      else
        for (Index i = first; i < last; i++) x[i * c.stride[2]] = x[i * c.stride[2]] + y[i];
    });
    for (Index i = 0; i < size; i++) image[i] = one_nan(image[i]);
  });
}

template <class T>
void turn(const T* from, T* to, Index batch, Index channels, Index pixels) {
  constexpr Index most = 256;
  Index tasks = blocks(pixels, most);
  share_out(crew_for(16.0 * batch * channels * pixels), batch * tasks, 0, [&](Index task, char*) {
    Index image = task / tasks, first = task % tasks * most;
    transposed(to + (image * pixels + first) * channels, channels, 0, 1, from + image * channels * pixels + first, pixels,
               channels, min(most, pixels - first));
  });
}

}  // namespace

void unfold(const Convolution<float>& c) { windows(c); }
void unfold(const Convolution<double>& c) { windows(c); }
void fold(const Convolution<float>& c) { add_windows(c); }
void fold(const Convolution<double>& c) { add_windows(c); }
void to_channels_last(const float* from, float* to, Index batch, Index channels, Index pixels) {
  turn(from, to, batch, channels, pixels);
}
void to_channels_last(const double* from, double* to, Index batch, Index channels, Index pixels) {
  turn(from, to, batch, channels, pixels);
}

}  // namespace kinone::KINONE_ISA
