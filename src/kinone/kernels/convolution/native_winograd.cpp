// 3×3 convolutions of float32 with stride 1 by Winograd's F(4×4, 3×3), see winograd.hpp.
//
// y is cut into tiles of 4×4, numbered by (image, row, column). Of x each sees 6×6; what lies outside x or y is +0.
//
//   forward          v[s, t, c] = of_x(x's tile t, channel c)         36 numbers s for each
//                    u[s, c, o] = of_w(w[o, c])
//                    m[s, t, o] = Σ_c v[s, t, c]·u[s, c, o]
//                    y's tile t, channel o = to_y(m[·, t, o])  (+ bias, + residual, relu)
//   backward input   the same of ∂y, with w[c, o] turned by 180°, and 2 − padding
//   backward weight  v as above;  u[s, t, o] = of_y(∂y's tile t, channel o)
//                    m[s, c, o] = Σ_t v[s, t, c]·u[s, t, o]
//                    ∂w[o, c] = to_w(m[·, c, o])
//
// The sums are 36 products of matrices. In profile kn1 each is a chain of fma over c (or t) from +0 in chunks of 128,
// the chunk results added in order. Which of the loops below computes it changes no bit.
//
// A NaN or an infinity in a tile of x makes all numbers of y's tile NaN, not only those whose windows see it; and sums
// of numbers beyond 10³⁶ may overflow here that do not elsewhere.
#include "product.hpp"
#include "winograd.hpp"

namespace kinone::KINONE_ISA {
namespace {

constexpr Index terms = 128;  // of a chunk, of the profile
constexpr int n = lanes<float>;

// None of these changes a bit.
constexpr Index near_bytes = 640 << 10;  // of a second-level cache, for what a thread works on
constexpr Index most_filters = 12 << 20, most_numbers = 4 << 20;  // bytes of the last-level cache, for all threads
constexpr Index few_tiles = 64, tiles_at_once = 4, filters_at_once = 8;

// Room for `count` numbers, in cache lines: rows an odd number of lines apart fall into different sets of a cache.
constexpr Index room(Index count) { return rounded(count, 16) | 16; }

// The columns of a matrix, cut into panels of 1 to most_vectors vectors.
struct Panels {
  Index columns, count;
  Index vectors() const { return blocks(columns, n); }
  Index first(Index panel) const { return panel * vectors() / count; }
  Index begin(Index panel) const { return first(panel) * n; }
  int vectors(Index panel) const { return first(panel + 1) - first(panel); }
  Index widest() const { return blocks(vectors(), count) * n; }
};

// Panels as wide as a tile of gemm, or narrower, so that they are a multiple of `tasks`; but not under two vectors.
Panels panels_of(Index columns, Index tasks) {
  Index vectors = blocks(columns, n);
  return {columns, min(rounded(blocks(vectors, most_vectors), tasks), max(vectors / 2, 1))};
}

// ---------------------------------------------------------------------------------- images and their tiles
// Channels-last without gaps.
template <class T>
struct Image {
  T* data;
  Index rows, columns, channels;
  T* outside;  // what is read where the image has nothing: zeros
};

struct Grid {
  Index rows, columns, count;  // of tiles: of an image, of all
  explicit Grid(Index batch, Index y_rows, Index y_columns)
      : rows(blocks(y_rows, 4)), columns(blocks(y_columns, 4)), count(batch * rows * columns) {}
};

// at[i][j]: the channels of a tile's numbers, image.outside for those that do not exist. The first tile of an image
// begins at `top`, `left`.
template <int SIDE, class T>
void look(const Image<T>& image, const Grid& grid, Index tile, Index top, Index left, T* (&at)[SIDE][SIDE]) {
  Index row = tile / grid.columns % grid.rows * 4 + top, column = tile % grid.columns * 4 + left;
  T* data = image.data + tile / (grid.rows * grid.columns) * image.rows * image.columns * image.channels;
  for (Index i = 0; i < SIDE; i++)
    for (Index j = 0; j < SIDE; j++) {
      bool is_inside = row + i >= 0 && row + i < image.rows && column + j >= 0 && column + j < image.columns;
      at[i][j] = is_inside ? data + ((row + i) * image.columns + column + j) * image.channels : image.outside;
    }
}

// The first of the channels of a vector: the last vector begins before the end of the one before it, if need be.
inline Index vector_at(Index i, Index channels) { return min(i * n, channels - n); }

// Tiles [begin, end), transformed: to[s·apart + (tile − begin)·room(channels) + channel].
template <auto transform, int SIDE>
void of_tiles(const Image<const float>& image, const Grid& grid, Index begin, Index end, Index top, Index left, float* to,
              Index apart) {
  for (Index tile = begin; tile < end; tile++, to += room(image.channels)) {
    const float* at[SIDE][SIDE];
    look(image, grid, tile, top, left, at);
    for (Index i = 0; i < blocks(image.channels, n); i++) {
      Index c = vector_at(i, image.channels);
      both_ways<transform, SIDE, points>(
          [&](int i, int j) { return load<Numbers>(at[i][j] + c); },
          [&](int i, int j, Numbers v) { store(to + (points * i + j) * apart + c, v); });
    }
  }
}

// ---------------------------------------------------------------------------------- filters
// w as u has it: `from` the first of the 9 taps of (c, o) = (0, 0), and how far those of the next c and o lie apart.
struct Filters {
  const float* from;
  Index of_c, of_o;
  bool is_turned;
};

// u[s, c, o] of one panel and one chunk: to[s·apart + (c − c0)·wide + o − o0].
void of_filters(const Filters& w, const Panels& panels, Index panel, Index c0, Index depth, float* to, Index apart,
                float* taps) {
  Index o0 = panels.begin(panel), wide = panels.vectors(panel) * n, count = min(wide, panels.columns - o0);
  for (Index c = 0; c < depth; c += filters_at_once) {
    Index now = min(filters_at_once, depth - c);
    const float* from = w.from + (c0 + c) * w.of_c + o0 * w.of_o;
    if (w.of_c == 9)  // taps[c, tap, o]
      pack<side<float>>(taps, wide, from, count, wide, w.of_o, now * 9, 1);
    else
      for (Index i = 0; i < now; i++)
        pack<side<float>>(taps + i * 9 * wide, wide, from + i * w.of_c, count, wide, w.of_o, 9, 1);
    for (Index i = 0; i < now; i++)
      for (Index o = 0; o < wide; o += n)
        both_ways<of_w, 3, points>(
            [&](int j, int k) {
              return load<Numbers>(taps + (i * 9 + (w.is_turned ? 8 - 3 * j - k : 3 * j + k)) * wide + o);
            },
            [&](int j, int k, Numbers u) { store(to + (points * j + k) * apart + (c + i) * wide + o, u); });
  }
}

// ---------------------------------------------------------------------------------- products
// A matrix for each of the 36: data[s·apart + row·of_row + column·of_column]
template <class T>
struct Matrices {
  T* data;
  Index apart, of_row, of_column;
};

// One chunk of m = v·u, ROWS × (VECTORS·n) numbers of one of the 36, in registers.
template <int ROWS, int VECTORS>
void tile_of_m(Index depth, const float* v, Index v_row, Index v_column, const float* u, Index u_row, float* m, Index m_row,
               bool is_first) {
  Numbers sums[ROWS][VECTORS] = {};
  for (Index k = 0; k < depth; k++, v += v_column, u += u_row) {
    Numbers x[VECTORS];
    for (int j = 0; j < VECTORS; j++) x[j] = load<Numbers>(u + j * n);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      Numbers w = broadcast(v[i * v_row]);
#pragma GCC unroll 3
      for (int j = 0; j < VECTORS; j++) sums[i][j] = fma(w, x[j], sums[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 3
    for (int j = 0; j < VECTORS; j++) {
      float* to = m + i * m_row + j * n;
      store(to, is_first ? sums[i][j] : load<Numbers>(to) + sums[i][j]);
    }
}

struct TilesOfM {
  decltype(&tile_of_m<1, 1>) of[most_rows][most_vectors];

  template <int... i>
  static constexpr TilesOfM all(Indices<i...>) {
    return {{{tile_of_m<i + 1, 1>, tile_of_m<i + 1, 2>, tile_of_m<i + 1, 3>}...}};
  }
};
constexpr TilesOfM tiles_of_m = TilesOfM::all(Counted<most_rows>::type{});

// One chunk of m = v·u, of `rows` rows and one panel of u. The rows of u and m lie as wide apart.
void multiply(const Matrices<const float>& v, const Matrices<const float>& u, const Matrices<float>& m, Index rows,
              Index depth, int vectors, bool is_first) {
  Index count = blocks(rows, most_rows);
  for (int s = 0; s < pairs; s++)
    for (Index tile = 0; tile < count; tile++) {  // of nearly the same height
      Index i = tile * rows / count, height = (tile + 1) * rows / count - i;
      tiles_of_m.of[height - 1][vectors - 1](depth, v.data + s * v.apart + i * v.of_row, v.of_row, v.of_column,
                                             u.data + s * u.apart, u.of_row, m.data + s * m.apart + i * m.of_row,
                                             m.of_row, is_first);
    }
}

// ---------------------------------------------------------------------------------- x to y
struct Work {
  Image<const float> x;
  Image<float> y;
  Filters w;
  Grid grid;
  Index top, left;  // of x, that y's first number sees
  const float *bias, *residual;
  bool is_relu;
};

// y's tiles [begin, end), the channels of one panel, of m.
void to_tiles(const Work& g, const Matrices<float>& m, Index begin, Index end, Index o0, Index channels) {
  for (Index tile = begin; tile < end; tile++) {
    float* at[4][4];
    look(g.y, g.grid, tile, 0, 0, at);
    const float* from = m.data + (tile - begin) * m.of_row;
    for (Index i = 0; i < blocks(channels, n); i++) {
      Index o = vector_at(i, channels);
      Numbers bias = g.bias ? load<Numbers>(g.bias + o0 + o) : Numbers{};
      both_ways<to_y, points, 4>(
          [&](int i, int j) { return load<Numbers>(from + (points * i + j) * m.apart + o); },
          [&](int i, int j, Numbers x) {
            if (!at[i][j]) return;
            float* to = at[i][j] + o0 + o;
            if (g.bias) x = x + bias;
            if (g.residual) x = x + load<Numbers>(g.residual + (to - g.y.data));
            if (g.is_relu) x = x <= 0 ? Numbers{} : x;
            store(to, one_nan(x));
          });
    }
  }
}

// With many tiles all filters are transformed at once, and each thread takes some tiles from x to y. With few tiles, or
// filters that no cache holds, the tiles are, and each thread takes a panel of y's channels and transforms the filters
// of it for itself, chunk by chunk.
void x_to_y(Work g) {
  Index tiles = g.grid.count, channels = g.x.channels, row = room(channels), chunks = blocks(channels, terms);
  Index multiplications = pairs * channels * g.y.channels;
  bool is_by_tiles = tiles > few_tiles && multiplications * Index{sizeof(float)} <= most_filters;
  Index crew = crew_for(4.0 * multiplications * tiles);
  Panels panels = panels_of(g.y.channels, is_by_tiles ? 1 : crew);
  Index wide = panels.widest(), u_apart = room(min(channels, terms) * wide);
  Index most = near_bytes / (pairs * sizeof(float) * (is_by_tiles ? row + wide : 2 * wide));
  Index pieces = blocks(tiles, max(most, most_rows));
  if (is_by_tiles) pieces = rounded(pieces, crew);
  most = blocks(tiles, pieces);
  Index v_apart = room(most * row), m_apart = room(most * wide);
  auto begin = [&](Index piece) { return piece * tiles / pieces; };

  Index common = pairs * (is_by_tiles ? panels.count * chunks * u_apart : v_apart);
  size_t taps_bytes = 9 * filters_at_once * wide * sizeof(float);
  size_t bytes = pairs * (m_apart + (is_by_tiles ? v_apart : u_apart)) * sizeof(float) + taps_bytes;
  char* memory = workspace((row + common) * sizeof(float));
  float* zeros = take<float>(memory, row);
  float* shared = take<float>(memory, common);
  for (Index c = 0; c < channels; c++) zeros[c] = 0;
  g.x.outside = zeros;

  auto tiles_of_x = [&](Index from, Index until, float* v) {
    of_tiles<of_x, 6>(g.x, g.grid, from, until, g.top, g.left, v, v_apart);
  };
  auto filters = [&](Index panel, Index chunk, float* u, float* taps) {
    of_filters(g.w, panels, panel, chunk * terms, min(terms, channels - chunk * terms), u, u_apart, taps);
  };
  auto products = [&](Index from, Index until, Index panel, const float* v, float* m, const auto& u) {
    Index width = panels.vectors(panel) * n, o = panels.begin(panel);
    for (Index chunk = 0; chunk < chunks; chunk++)
      multiply({v + chunk * terms, v_apart, row, 1}, {u(chunk), u_apart, width, 1}, {m, m_apart, width, 1},
               until - from, min(terms, channels - chunk * terms), panels.vectors(panel), chunk == 0);
    to_tiles(g, {m, m_apart, width, 1}, from, until, o, min(width, g.y.channels - o));
  };

  if (is_by_tiles) {
    share_out(crew, panels.count * chunks, taps_bytes, [&](Index task, char* scratch) {
      filters(task / chunks, task % chunks, shared + task * pairs * u_apart, reinterpret_cast<float*>(scratch));
    });
    share_out(crew, pieces, bytes, [&](Index piece, char* scratch) {
      float *m = reinterpret_cast<float*>(scratch), *v = m + pairs * m_apart;
      tiles_of_x(begin(piece), begin(piece + 1), v);
      for (Index panel = 0; panel < panels.count; panel++)
        products(begin(piece), begin(piece + 1), panel, v, m, [&](Index chunk) {
          return shared + (panel * chunks + chunk) * pairs * u_apart;
        });
    });
  } else {
    for (Index piece = 0; piece < pieces; piece++) {
      Index from = begin(piece), until = begin(piece + 1);
      share_out(crew, blocks(until - from, tiles_at_once), 0, [&](Index task, char*) {
        Index done = task * tiles_at_once;
        tiles_of_x(from + done, min(from + done + tiles_at_once, until), shared + done * row);
      });
      share_out(crew, panels.count, bytes, [&](Index panel, char* scratch) {
        float *m = reinterpret_cast<float*>(scratch), *u = m + pairs * m_apart;
        products(from, until, panel, shared, m, [&](Index chunk) {
          filters(panel, chunk, u, u + pairs * u_apart);
          return u;
        });
      });
    }
  }
}

}  // namespace

bool is_winograd(const Convolution<float>& c) {
  bool is_3x3 = c.groups == 1 && c.size[0] == 1 && c.out[0] == 1 && c.kernel[0] == 1;
  for (int i = 1; i < 3; i++)
    is_3x3 = is_3x3 && c.kernel[i] == 3 && c.stride[i] == 1 && c.dilation[i] == 1 && min(c.size[i], c.out[i]) >= 4;
  return is_3x3 && min(c.channels, c.out_channels) >= 16;
}

void winograd_forward(const Convolution<float>& c) {
  x_to_y({{c.x, c.size[1], c.size[2], c.channels, nullptr},
          {c.y, c.out[1], c.out[2], c.out_channels, nullptr},
          {c.w, 9, 9 * c.channels, false},
          Grid(c.batch, c.out[1], c.out[2]), -c.before[1], -c.before[2],
          c.bias, c.residual, c.is_relu});
}

void winograd_backward_input(const Convolution<float>& c) {
  x_to_y({{c.y, c.out[1], c.out[2], c.out_channels, nullptr},
          {c.x, c.size[1], c.size[2], c.channels, nullptr},
          {c.w, 9 * c.channels, 9, true},
          Grid(c.batch, c.size[1], c.size[2]), c.before[1] - 2, c.before[2] - 2,
          c.bias, c.residual, c.is_relu});
}

// ---------------------------------------------------------------------------------- x and y to w
// All threads transform tiles of x and y, some chunks of them at a time; then each takes a block of m.
void winograd_backward_weight(const Convolution<float>& c) {
  Grid grid(c.batch, c.out[1], c.out[2]);
  Index crew = crew_for(4.0 * pairs * c.channels * c.out_channels * grid.count);
  Panels panels = panels_of(c.out_channels, 1);
  Index wide = panels.widest(), v_row = room(c.channels), u_row = room(c.out_channels);
  // What all threads read of v and u is to stay in a cache, unless writing m time and again would cost more.
  Index most = max(most_numbers / (pairs * Index{sizeof(float)}), c.channels * c.out_channels) / (v_row + u_row);
  most = min(max(most / terms, 1) * terms, grid.count);
  bool is_one_round = most == grid.count;
  Index high = max(near_bytes / (pairs * Index{sizeof(float)} * wide) / most_rows, 1) * most_rows;
  Index parts = min(max(blocks(c.channels, high), blocks(2 * crew, panels.count)), blocks(c.channels, most_rows));
  Index tasks = panels.count * parts;
  Index v_apart = room(most * v_row), u_apart = room(most * u_row), m_apart = room(blocks(c.channels, parts) * wide);

  Index zero_count = max(v_row, u_row), sum_count = is_one_round ? 0 : tasks * pairs * m_apart;
  char* memory = workspace((zero_count + pairs * (v_apart + u_apart) + sum_count) * sizeof(float));
  float* zeros = take<float>(memory, zero_count);
  float* v = take<float>(memory, pairs * v_apart);
  float* u = take<float>(memory, pairs * u_apart);
  float* sums = take<float>(memory, sum_count);
  for (Index i = 0; i < zero_count; i++) zeros[i] = 0;
  Image<const float> x{c.x, c.size[1], c.size[2], c.channels, zeros}, y{c.y, c.out[1], c.out[2], c.out_channels, zeros};

  for (Index begin = 0; begin < grid.count; begin += most) {
    Index end = min(begin + most, grid.count);
    share_out(crew, blocks(end - begin, tiles_at_once), 0, [&](Index task, char*) {
      Index done = task * tiles_at_once, from = begin + done, until = min(from + tiles_at_once, end);
      of_tiles<of_x, 6>(x, grid, from, until, -c.before[1], -c.before[2], v + done * v_row, v_apart);
      of_tiles<of_y, 4>(y, grid, from, until, 0, 0, u + done * u_row, u_apart);
    });
    share_out(crew, tasks, (pairs * m_apart + 2 * 9 * n * n) * sizeof(float), [&](Index task, char* scratch) {
      Index panel = task / parts, c0 = task % parts * c.channels / parts, c1 = (task % parts + 1) * c.channels / parts;
      Index width = panels.vectors(panel) * n, o0 = panels.begin(panel);
      float *taps = reinterpret_cast<float*>(scratch), *turned = taps + 9 * n * n;
      float* m = is_one_round ? turned + 9 * n * n : sums + task * pairs * m_apart;
      for (Index t = 0; t < end - begin; t += terms)
        multiply({v + t * v_row + c0, v_apart, 1, v_row}, {u + t * u_row + o0, u_apart, u_row, 1},
                 {m, m_apart, width, 1}, c1 - c0, min(terms, end - begin - t), panels.vectors(panel), begin + t == 0);
      if (end < grid.count) return;
      for (Index o = 0; o < min(width, c.out_channels - o0); o += n)
        for (Index i = 0; i < c1 - c0; i += n) {  // taps[channel, tap, o], and turned[o, channel, tap] as w has it
          Index count = min(n, c1 - c0 - i), filters = min(n, c.out_channels - o0 - o);
          for (Index k = 0; k < count; k++)
            both_ways<to_w, points, 3>(
                [&](int p, int q) { return load<Numbers>(m + (points * p + q) * m_apart + (i + k) * width + o); },
                [&](int p, int q, Numbers w) { store(taps + (k * 9 + 3 * p + q) * n, one_nan(w)); });
          pack<side<float>>(turned, 9 * count, taps, 9 * count, 9 * count, n, filters, 1);
          for (Index f = 0; f < filters; f++)
            copy<n>(c.w + ((o0 + o + f) * c.channels + c0 + i) * 9, turned + f * 9 * count, 9 * count);
        }
    });
  }
}

}  // namespace kinone::KINONE_ISA
