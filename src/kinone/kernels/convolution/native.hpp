// Convolutions: what the kernels in native*.cpp are asked for.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

// y[n, i, o] = Σ w[o, c, k]·x[n, i·stride + k·dilation − before, c] over the channels c of o's group and k (+ bias[o],
// + residual[n, i, o], relu), the three arrays of one such convolution. Images are channels-last without gaps, (batch,
// *size, channels); w is (out_channels, channels / groups, *kernel) as it is written. There are always three spatial
// axes: an image has a first one of length 1, with a kernel of 1, a stride of 1 and no padding.
//
// Of x, w and y a kernel computes the one that its name says: convolution_backward_input makes x out of y and w, which
// is the transposed convolution too; bias and residual are then those of x.
template <class T>
struct Convolution {
  Index batch, channels, out_channels, groups;
  Index size[3], out[3], kernel[3], stride[3], before[3], dilation[3];
  T *x, *w, *y;
  const T *bias, *residual;  // or null
  bool is_relu;              // negative numbers become +0 at the end
};

KINONE_IN_EACH_ISA(
  void convolution_forward(const Convolution<float>&);
  void convolution_forward(const Convolution<double>&);
  void convolution_backward_input(const Convolution<float>&);
  void convolution_backward_input(const Convolution<double>&);
  void convolution_backward_weight(const Convolution<float>&);
  void convolution_backward_weight(const Convolution<double>&);

  // The same with a quarter of the multiplications, where is_winograd says so: by the shape of one sample alone.
  bool is_winograd(const Convolution<float>&);
  void winograd_forward(const Convolution<float>&);
  void winograd_backward_input(const Convolution<float>&);
  void winograd_backward_weight(const Convolution<float>&);

  // The windows of x as columns, y, and their transpose; x (batch, channels, *size) and y (batch, channels, *kernel,
  // *out) as they are written.
  void unfold(const Convolution<float>&);
  void unfold(const Convolution<double>&);
  void fold(const Convolution<float>&);
  void fold(const Convolution<double>&);

  // (batch, channels, pixels) as (batch, pixels, channels).
  void to_channels_last(const float* from, float* to, Index batch, Index channels, Index pixels);
  void to_channels_last(const double* from, double* to, Index batch, Index channels, Index pixels);
)

}  // namespace kinone
