// Pooling: what the kernels in native.cpp are asked for. Steps are in numbers, not bytes.
#pragma once

#include "../native/isa.hpp"

namespace kinone {

// Along each of three spatial axes; an image with fewer has 1s for those that it lacks.
struct Windows {
  Index size[3], out[3], kernel[3], stride[3], before[3], dilation[3];
};

// `batch` images of `channels` planes. Either the channels of a position lie side by side, images `apart` and positions
// `step` numbers from each other, or plane follows plane without gaps. Results lie in the same way, without gaps.
template <class T>
struct Images {
  const T* data;
  Index batch, channels;
  bool is_channels_last;
  Index apart, step[3];
};

template <class T>
struct MaxPool {
  Images<T> x;
  Windows windows;
  T* y;
  Index* indices;
};

template <class T>
struct MaxPoolBackward {
  Images<T> g;
  const Index* indices;  // like g, which has no gaps
  Index positions, area;  // of g and x
  T* x;
};

// By what a window is divided: a step of 0 repeats.
struct Counts {
  const double* data;
  Index step[3];
};

template <class T>
struct AvgPool {
  Images<T> from;  // x, or g in backward
  Windows windows;
  Counts counts;
  T* to;
};

KINONE_IN_EACH_ISA(
  void max_pool_forward(const MaxPool<float>&);
  void max_pool_forward(const MaxPool<double>&);
  bool max_pool_backward(const MaxPoolBackward<float>&);  // false if an index lies outside
  bool max_pool_backward(const MaxPoolBackward<double>&);
  void avg_pool_forward(const AvgPool<float>&);
  void avg_pool_forward(const AvgPool<double>&);
  void avg_pool_backward(const AvgPool<float>&);
  void avg_pool_backward(const AvgPool<double>&);
)

}  // namespace kinone
