// relu(maxpool2(batchnorm(conv3x3(x)))) for a stack of independent trials: training, its gradients, and testing.
//
// The images are [trials, batch, digits, 14, 14], and the maps that the second block makes are
// [trials, batch, digits, outputs, q, q], as the heads flatten them. Between the blocks the digits come first and the
// channels last: [trials, digits, batch, size, size, channels]. So no other operation has to bring anything into another
// order. Weights are [trials, outputs, channels, 3, 3]: a trial has one set for all its digits; batch statistics belong
// to one digit of one trial ("one after the other").
//
// The convolution is Winograd's minimal filtering F(2x2, 3x3) (Lavin & Gray, Fast algorithms for convolutional neural
// networks, CVPR 2016, section 4.1): 16 multiplications for 2x2 outputs instead of 36, in float32 about as accurate as
// the sum written out (a test compares both with float64; the larger F(4x4, 3x3) would not be). A 2x2 tile of outputs Y
// comes from the 4x4 tile of inputs d and the 3x3 filter g:
//
//     Y = A^T [ (G g G^T) * (B^T d B) ] A      (* is elementwise, the sum over channels is taken inside the brackets)
//
//     A^T = [1 1  1 0]    B^T = [1  0 -1  0]    G = [ 1    0   0 ]
//           [0 1 -1 1]          [0  1  1  0]        [1/2  1/2 1/2]
//                               [0 -1  1  0]        [1/2 -1/2 1/2]
//                               [0  1  0 -1]        [ 0    0  -1 ]
//
// It suits this block for a second reason: the tile of outputs is exactly one window of the pooling, so that a window
// never leaves the registers. And equal neighbours stay equal: where the inputs are constant along an axis, components
// 0, 2 and 3 of B^T d are exactly 0 and both outputs are the same number, so ties in the pooling remain ties.
// The gradients are the transposed maps: dM = A dY A^T, dg = G^T (V * dM) G, dd = B (U * dM) B^T.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

namespace {

// ---- Vectors of floats ----------------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int WIDEST = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int WIDEST = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int WIDEST = 4, REGISTERS = 32;
#else
constexpr int WIDEST = 4, REGISTERS = 16;
#endif

template <int W> struct Vector;
#define VECTOR(W)                                             \
  template <> struct Vector<W> {                              \
    typedef float Floats __attribute__((vector_size(4 * W))); \
    typedef int Ints __attribute__((vector_size(4 * W)));     \
  }
VECTOR(4);
VECTOR(8);
VECTOR(16);
template <int W> using Floats = typename Vector<W>::Floats;
template <int W> using Ints = typename Vector<W>::Ints;

// The widest vector that divides n channels (n is a multiple of 8).
constexpr int width(int n) { return WIDEST > 8 && n % 16 ? 8 : WIDEST; }

// Loops over registers must be unrolled completely, or the registers become memory.
#define UNROLL _Pragma("GCC unroll 32")
#define INLINED __attribute__((always_inline))  // also keeps GCC from dropping a function that only prefetches
#define INLINE static inline INLINED

template <class V> INLINE V load(const void* p) {
  V v;
  std::memcpy(&v, p, sizeof v);  // no alignment is asked of the caller
  return v;
}
template <class V> INLINE void store(void* p, V v) { std::memcpy(p, &v, sizeof v); }
template <class V> INLINE V greater_of(V a, V b) { return a > b ? a : b; }
template <class V> INLINE V greatest_of(const V (&z)[2][2]) {
  return greater_of(greater_of(z[0][0], z[0][1]), greater_of(z[1][0], z[1][1]));
}
template <class V> INLINE V relu(V v) { return V{} > v ? V{} : v; }  // keeps NaN, as torch does

// Ask for memory that is needed later, while the arithmetic is busy: `part` of 16 parts of an array. A stack of trials
// does not fit into the cache, and waiting for it would cost a fifth of the time. Beyond an array it does nothing.
enum { READ, WRITE };
template <int WHAT> INLINE void prefetch(const float* p, long floats, int part) {
  for (long at = floats * part / 16; at < floats * (part + 1) / 16; at += 16) __builtin_prefetch(p + at, WHAT, 2);
}

// ---- The maps of F(2x2, 3x3), on anything that adds -----------------------------------------------------------------

template <class V> INLINE void input_map(const V (&d)[4][4], V (&v)[4][4]) {  // v = B^T d B
  V t[4][4];
  for (int j = 0; j < 4; j++) {
    t[0][j] = d[0][j] - d[2][j];
    t[1][j] = d[1][j] + d[2][j];
    t[2][j] = d[2][j] - d[1][j];
    t[3][j] = d[1][j] - d[3][j];
  }
  for (int i = 0; i < 4; i++) {
    v[i][0] = t[i][0] - t[i][2];
    v[i][1] = t[i][1] + t[i][2];
    v[i][2] = t[i][2] - t[i][1];
    v[i][3] = t[i][1] - t[i][3];
  }
}
template <class V> INLINE void input_gradient(const V (&v)[4][4], V (&d)[4][4]) {  // d = B v B^T
  V t[4][4];
  for (int j = 0; j < 4; j++) {
    t[0][j] = v[0][j];
    t[1][j] = v[1][j] - v[2][j] + v[3][j];
    t[2][j] = v[1][j] + v[2][j] - v[0][j];
    t[3][j] = -v[3][j];
  }
  for (int i = 0; i < 4; i++) {
    d[i][0] = t[i][0];
    d[i][1] = t[i][1] - t[i][2] + t[i][3];
    d[i][2] = t[i][1] + t[i][2] - t[i][0];
    d[i][3] = -t[i][3];
  }
}
template <class V> INLINE void filter_map(const V (&g)[3][3], V (&u)[4][4]) {  // u = G g G^T
  V t[4][3];
  for (int j = 0; j < 3; j++) {
    V even = 0.5f * (g[0][j] + g[2][j]), odd = 0.5f * g[1][j];
    t[0][j] = g[0][j];
    t[1][j] = even + odd;
    t[2][j] = even - odd;
    t[3][j] = -g[2][j];
  }
  for (int i = 0; i < 4; i++) {
    V even = 0.5f * (t[i][0] + t[i][2]), odd = 0.5f * t[i][1];
    u[i][0] = t[i][0];
    u[i][1] = even + odd;
    u[i][2] = even - odd;
    u[i][3] = -t[i][2];
  }
}
template <class V> INLINE void filter_gradient(const V (&u)[4][4], V (&g)[3][3]) {  // g = G^T u G
  V t[3][4];
  for (int j = 0; j < 4; j++) {
    V half = 0.5f * (u[1][j] + u[2][j]);
    t[0][j] = u[0][j] + half;
    t[1][j] = 0.5f * (u[1][j] - u[2][j]);
    t[2][j] = half - u[3][j];
  }
  for (int i = 0; i < 3; i++) {
    V half = 0.5f * (t[i][1] + t[i][2]);
    g[i][0] = t[i][0] + half;
    g[i][1] = 0.5f * (t[i][1] - t[i][2]);
    g[i][2] = half - t[i][3];
  }
}
template <class V> INLINE void output_map(const V (&m)[4][4], V (&y)[2][2]) {  // y = A^T m A
  V t[2][4];
  for (int j = 0; j < 4; j++) {
    t[0][j] = m[0][j] + m[1][j] + m[2][j];
    t[1][j] = m[1][j] - m[2][j] + m[3][j];
  }
  for (int i = 0; i < 2; i++) {
    y[i][0] = t[i][0] + t[i][1] + t[i][2];
    y[i][1] = t[i][1] - t[i][2] + t[i][3];
  }
}
template <class V> INLINE void output_gradient(const V (&y)[2][2], int i, V (&m)[4]) {  // row i of m = A y A^T
  const V left = i == 0 ? y[0][0] : i == 1 ? y[0][0] + y[1][0] : i == 2 ? y[0][0] - y[1][0] : y[1][0];
  const V right = i == 0 ? y[0][1] : i == 1 ? y[0][1] + y[1][1] : i == 2 ? y[0][1] - y[1][1] : y[1][1];
  m[0] = left;
  m[1] = left + right;
  m[2] = left - right;
  m[3] = right;
}

// ---- Batch normalisation --------------------------------------------------------------------------------------------

// Backward (Ioffe & Szegedy 2015, section 3), of one channel over n positions: with g the gradient of the block's
// output at the position that the pooling chose (0 elsewhere, 0 where the ReLU is off) and r = 1/sqrt(var + eps),
//     dbeta = sum g,   dgamma = sum g (z - mean) r,   dz = gamma r (g - dbeta/n - (z - mean) r dgamma/n),
// which is dz = scale g + slope z + offset:
struct Affine {
  double scale, slope, offset;
  Affine(double gamma, double mean, double rstd, double dgamma, double dbeta, double n)
      : scale(gamma * rstd), slope(-scale * rstd * dgamma / n), offset(-scale * dbeta / n - slope * mean) {}
};

// ---- The first block: one channel of 14x14, 36 tiles ----------------------------------------------------------------

// With one channel the 9 pixels of a patch are all that a position sees. z = w . patch is linear in them, so sums over
// positions of z, z^2 and z * patch follow from the sums of the patches and of their products:
//     sum z = w . S,    sum z^2 = w . G w,    sum z patch = G w,    S = sum patch,  G = sum patch patch^T.
// Hence the statistics are known before the convolution, which then runs once, normalised, and is never stored; and the
// backward pass only meets the one position in four that the pooling chose.
template <int OUTPUTS> struct First {
  static constexpr int CHANNELS = 1, SIZE = 14, Q = 6, O = OUTPUTS, W = width(O);
  static constexpr int IMAGE = SIZE * SIZE, POOLED = Q * Q * O, POSITIONS = 144;
  using F = Floats<W>;
  using I = Ints<W>;
  using L = Floats<WIDEST>;  // along a row of the image

  struct Patches {
    double sum[9], gram[9][9];
  };
  // Kept for the backward pass, per digit: the sums of the patches, and which position each window chose.
  static constexpr long PATCHES = sizeof(Patches) / sizeof(float);
  static constexpr int CHOSEN = Q * O;
  static long saved(long batch) { return PATCHES + batch * CHOSEN; }
  // The choices of a row of six windows are one integer per output, four bits a window, of which one is set, or none
  // where the ReLU is off. Rows are written from the top and read from the bottom.
  static constexpr int BITS = 4, TOP = BITS * (Q - 1);

  // Rows are read as 16 floats, beyond their end: the last image of a batch is read from a copy with room behind it.
  struct Images {
    alignas(64) float last[IMAGE + 64] = {};
    const float* x;
    long batch, step;
    Images(const float* x, long batch, long step) : x(x), batch(batch), step(step) {
      std::memcpy(last, x + (batch - 1) * step, IMAGE * sizeof(float));
    }
    const float* operator[](long n) const { return n == batch - 1 ? last : x + n * step; }
  };

  // Products of pixels at a distance of (di, dj), the only ones a patch has: (0, 0..2), (1, -2..2), (2, -2..2).
  static constexpr int pair(int di, int dj) { return di ? 5 * di + dj : dj; }
  static void patches(const Images& images, Patches& out) {
    alignas(64) float products[13][SIZE][16], pixels[SIZE][16];
    for (int a = 0; a < SIZE; a++)
      for (int k = 0; k < 16; k += WIDEST) {
        L p[13] = {}, s = {};
        for (long n = 0; n < images.batch; n++) {
          const float* row = images[n] + a * SIZE + k;
          L x[3][3];
          for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) x[i][j] = load<L>(row + i * SIZE + j);
          s += x[0][0];
          for (int j = 0; j < 3; j++) p[j] += x[0][0] * x[0][j];
          for (int i = 1; i < 3; i++) {
            for (int j = 0; j < 3; j++) p[pair(i, j)] += x[0][0] * x[i][j];
            for (int j = 1; j < 3; j++) p[pair(i, -j)] += x[0][j] * x[i][0];  // the lane is the left pixel's column
          }
        }
        store(pixels[a] + k, s);
        for (int e = 0; e < 13; e++) store(products[e][a] + k, p[e]);
      }
    auto columns = [](const float (*table)[16], int top, double (&sum)[16]) {  // over the 12 rows that a pixel visits
      for (int c = 0; c < 16; c++) sum[c] = 0;
      for (int a = top; a < top + 12; a++)
        for (int c = 0; c < 16; c++) sum[c] += table[a][c];
    };
    double sum[16];
    for (int i = 0; i < 3; i++) {
      columns(pixels, i, sum);
      for (int j = 0; j < 3; j++) {
        out.sum[3 * i + j] = 0;
        for (int c = j; c < j + 12; c++) out.sum[3 * i + j] += sum[c];
      }
      for (int di = 0; i + di < 3; di++)
        for (int dj = di ? -2 : 0; dj < 3; dj++) {
          columns(products[pair(di, dj)], i, sum);
          for (int j = std::max(0, -dj); j < 3 && j + dj < 3; j++) {
            int k = 3 * i + j, l = 3 * (i + di) + j + dj, left = std::min(j, j + dj);
            double total = 0;
            for (int c = left; c < left + 12; c++) total += sum[c];
            out.gram[k][l] = out.gram[l][k] = total;
          }
        }
    }
  }

  // V = B^T d B for all tiles, a row of the image at a time. Components 0 and 3 along the row are the same difference,
  // taken at an even and at an odd column. So v is [tile row][component i][3: difference, sum, reverse difference][16].
  static constexpr int COMPONENT[4] = {0, 16 + 1, 32 + 1, 1};  // of tile 0; tile t is 2 t further
  static void inputs(const float* x, float* v) {
    for (int r = 0; r < Q; r++, x += 2 * SIZE)
      for (int k = 0; k < 16; k += WIDEST) {
        L t[4][3];
        for (int j = 0; j < 3; j++) {
          L d[4];
          for (int i = 0; i < 4; i++) d[i] = load<L>(x + i * SIZE + j + k);
          t[0][j] = d[0] - d[2];
          t[1][j] = d[1] + d[2];
          t[2][j] = d[2] - d[1];
          t[3][j] = d[1] - d[3];
        }
        for (int i = 0; i < 4; i++) {
          float* to = v + (r * 4 + i) * 48 + k;
          store(to, t[i][0] - t[i][2]);
          store(to + 16, t[i][0] + t[i][1]);
          store(to + 32, t[i][1] - t[i][0]);
        }
      }
  }

  // U = G g G^T with normalisation folded into the filter; u is [16][O].
  static void filters(const float* w, const float* scale, float* u) {
    for (int o = 0; o < O; o++) {
      float g[3][3], m[4][4];
      for (int k = 0; k < 9; k++) g[k / 3][k % 3] = w[o * 9 + k] * scale[o];
      filter_map(g, m);
      for (int k = 0; k < 16; k++) u[k * O + o] = m[k / 4][k % 4];
    }
  }

  // One image: y, and for training the chosen position of each window.
  template <bool TRAIN>
  static void image(const float* v, const float* u, const float* shift, float* y, float* chosen) {
    for (int o = 0; o < O; o += W) {
      F filter[4][4];
      for (int k = 0; k < 16; k++) filter[k / 4][k % 4] = load<F>(u + k * O + o);
      const F plus = load<F>(shift + o);
      for (int r = 0; r < Q; r++) {
        I row = {};
        for (int q = 0; q < Q; q++) {
          F m[4][4], z[2][2];
          for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) m[i][j] = v[(r * 4 + i) * 48 + COMPONENT[j] + 2 * q] * filter[i][j];
          output_map(m, z);
          const int at = (r * Q + q) * O + o;
          if (TRAIN) {
            F best = z[0][0];
            I where = I{} + (1 << TOP);
            for (int e = 1; e < 4; e++) {  // a later position must be greater: the first greatest wins
              const F next = z[e / 2][e % 2];
              where = next > best ? I{} + (1 << (TOP + e)) : where;
              best = greater_of(next, best);
            }
            const F out = relu(best + plus);
            store(y + at, out);
            row = (row >> BITS) | (out > F{} ? where : I{});
          } else {
            store(y + at, relu(greatest_of(z) + plus));
          }
        }
        if (TRAIN) store(chosen + r * O + o, row);
      }
    }
  }

  struct Work {
    alignas(64) float u[16 * O], v[Q * 4 * 48], scale[O], shift[O];
  };

  static void forward(Work& work, long batch, long digits, const float* x, const float* w, const float* gamma,
                      const float* beta, double eps, float* y, float* mean, float* var, float* kept) {
    for (long d = 0; d < digits; d++) {
      Images images(x, batch, digits * IMAGE);
      Patches sums;
      patches(images, sums);
      std::memcpy(kept, &sums, sizeof sums);
      const double n = (double)batch * POSITIONS;
      for (int o = 0; o < O; o++) {
        double first = 0, second = 0;
        for (int k = 0; k < 9; k++) {
          double row = 0;
          for (int l = 0; l < 9; l++) row += sums.gram[k][l] * w[o * 9 + l];
          first += w[o * 9 + k] * sums.sum[k];
          second += w[o * 9 + k] * row;
        }
        const double m = first / n, s = std::max(second / n - m * m, 0.);  // in this order NaN stays NaN
        const double scale = gamma[o] / std::sqrt(s + eps);
        mean[o] = m, var[o] = s, work.scale[o] = scale, work.shift[o] = beta[o] - m * scale;
      }
      filters(w, work.scale, work.u);
      for (long i = 0; i < batch; i++) {
        inputs(images[i], work.v);
        image<true>(work.v, work.u, work.shift, y + i * POOLED, kept + PATCHES + i * CHOSEN);
      }
      x += IMAGE, y += batch * POOLED, mean += O, var += O, kept += saved(batch);
    }
  }

  static void test(Work& work, long batch, long digits, const float* x, const float* w, const float* scale,
                   const float* shift, float* y) {
    filters(w, scale, work.u);
    for (long d = 0; d < digits; d++) {
      Images images(x + d * IMAGE, batch, digits * IMAGE);
      for (long i = 0; i < batch; i++, y += POOLED) {
        inputs(images[i], work.v);
        image<false>(work.v, work.u, shift, y, nullptr);
      }
    }
  }

  // The gradient of an image is not computed: the first block reads data.
  static void backward(Work& work, long batch, long digits, const float* gy, const float* x, const float* w,
                       const float* gamma, const float* mean, const float* var, double eps, const float*,
                       const float* kept, float*, float* dw, float* dgamma, float* dbeta) {
    double weight[O * 9] = {}, sum_gamma[O] = {}, sum_beta[O] = {};
    for (long d = 0; d < digits; d++) {
      Images images(x, batch, digits * IMAGE);
      Patches sums;
      std::memcpy(&sums, kept, sizeof sums);
      alignas(64) float du[16 * O] = {}, total[O] = {};
      for (long i = 0; i < batch; i++) {
        inputs(images[i], work.v);
        gradients(work.v, gy + i * POOLED, kept + PATCHES + i * CHOSEN, du, total);
      }
      for (int o = 0; o < O; o++) {
        double u[4][4], g[3][3], along = 0;
        for (int k = 0; k < 16; k++) u[k / 4][k % 4] = du[k * O + o];
        filter_gradient(u, g);  // sum of g patch over the chosen positions
        for (int k = 0; k < 9; k++) along += w[o * 9 + k] * g[k / 3][k % 3];  // sum of g z
        const double rstd = 1 / std::sqrt(var[o] + eps), gradient = (along - mean[o] * total[o]) * rstd;
        const Affine dz(gamma[o], mean[o], rstd, gradient, total[o], (double)batch * POSITIONS);
        for (int k = 0; k < 9; k++) {  // dw = sum dz patch
          double row = 0;
          for (int l = 0; l < 9; l++) row += sums.gram[k][l] * w[o * 9 + l];
          weight[o * 9 + k] += dz.scale * g[k / 3][k % 3] + dz.slope * row + dz.offset * sums.sum[k];
        }
        sum_gamma[o] += gradient, sum_beta[o] += total[o];
      }
      x += IMAGE, gy += batch * POOLED, mean += O, var += O, kept += saved(batch);
    }
    for (int k = 0; k < 9 * O; k++) dw[k] = weight[k];
    for (int o = 0; o < O; o++) dgamma[o] = sum_gamma[o], dbeta[o] = sum_beta[o];
  }

  // One image: du += V * (A g A^T), total += sum of g.
  static void gradients(const float* v, const float* gy, const float* chosen, float* du, float* total) {
    for (int o = 0; o < O; o += W) {
      F sum[4][4] = {}, all = {};
      for (int r = 0; r < Q; r++) {
        I row = load<I>(chosen + r * O + o);
        for (int q = 0; q < Q; q++, row >>= BITS) {
          const F g = load<F>(gy + (r * Q + q) * O + o), none = {};
          const F dz[2][2] = {{(row & 1) != 0 ? g : none, (row & 2) != 0 ? g : none},
                              {(row & 4) != 0 ? g : none, (row & 8) != 0 ? g : none}};
          UNROLL for (int i = 0; i < 4; i++) {
            F m[4];
            output_gradient(dz, i, m);
            for (int j = 0; j < 4; j++) sum[i][j] += v[(r * 4 + i) * 48 + COMPONENT[j] + 2 * q] * m[j];
            if (i == 1) all += m[1];
          }
        }
      }
      for (int k = 0; k < 16; k++) store(du + k * O + o, load<F>(du + k * O + o) + sum[k / 4][k % 4]);
      store(total + o, load<F>(total + o) + all);
    }
  }
};

// ---- The second block: many channels of 6x6, 4 tiles ----------------------------------------------------------------

// c [M][N] (+)= a b with b [K][N] and a(m, k) = a[m * AM + k * AK]: rows x vectors of c stay in registers.
template <int M, int K, int N, int AM, int AK, bool ADD> INLINE void product(const float* a, const float* b, float* c) {
  constexpr int W = width(N), V = N / W % 2 ? 1 : 2, MOST = (REGISTERS - 4) / V;
  constexpr int R = M <= MOST ? M : M % 10 == 0 && MOST >= 10 ? 10 : M % 8 == 0 && MOST >= 8 ? 8 : M % 5 == 0 ? 5 : 4;
  static_assert(M % R == 0, "rows come in equal groups");
  using F = Floats<W>;
  for (int n = 0; n < N; n += V * W)
    for (int m = 0; m < M; m += R) {
      F sum[R][V];
      UNROLL for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) sum[r][v] = ADD ? load<F>(c + (m + r) * N + n + v * W) : F{};
      for (int k = 0; k < K; k++) {
        F right[V];
        for (int v = 0; v < V; v++) right[v] = load<F>(b + k * N + n + v * W);
        UNROLL for (int r = 0; r < R; r++)
          for (int v = 0; v < V; v++) sum[r][v] += a[(m + r) * AM + k * AK] * right[v];
      }
      UNROLL for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) store(c + (m + r) * N + n + v * W, sum[r][v]);
    }
}

// Here the sums over channels (forward, and dU, dV backward) are the work: for each of 16 components a small matrix
// product over the tiles of a few images. The rest is passes over memory, fused with the maps around the products. The
// batch must be complete before it can be normalised, so z is kept.
template <int INPUTS, int OUTPUTS> struct Second {
  static constexpr int CHANNELS = INPUTS, SIZE = 6, Q = 2, C = INPUTS, O = OUTPUTS;
  static constexpr int IMAGE = SIZE * SIZE * C, POOLED = Q * Q * O, MAP = 16 * O, POSITIONS = 16;
  static constexpr int CHUNK = 5, TILES = 4 * CHUNK;  // images at a time: their tiles fill the registers and the cache
  static constexpr int WC = width(C), WO = width(O);
  using FC = Floats<WC>;
  using F = Floats<WO>;
  using I = Ints<WO>;
  using L = Floats<WIDEST>;  // over all channels and outputs

  // Kept for the backward pass, per digit: z [batch][tile][2x2][O] and its pooled maximum p [batch][tile][O].
  static long saved(long batch) { return batch * (MAP + POOLED); }

  struct Work {
    alignas(64) float u[16][C * O], ut[16][O * C], du[16][C * O], v[16][TILES * C], m[16][TILES * O], dv[16][TILES * C];
    alignas(64) float g[9][C * O], sign[O], scale[O], shift[O], slope[O], offset[O], pooled[TILES * O];
  };

  // U = G g G^T, as [16][C][O], or [16][O][C] for the gradient of the input; each output's filter times `factor`.
  template <bool TRANSPOSED> static void filters(Work& work, const float* w, const float* factor, float (*u)[C * O]) {
    for (int o = 0; o < O; o++)
      for (int c = 0; c < C; c++)
        for (int k = 0; k < 9; k++) work.g[k][TRANSPOSED ? o * C + c : c * O + o] = w[(o * C + c) * 9 + k] * factor[o];
    for (int at = 0; at < C * O; at += WIDEST) {
      L g[3][3], m[4][4];
      for (int k = 0; k < 9; k++) g[k / 3][k % 3] = load<L>(work.g[k] + at);
      filter_map(g, m);
      for (int k = 0; k < 16; k++) store(u[k] + at, m[k / 4][k % 4]);
    }
  }

  // V = B^T d B of `count` images, as [16][tile][C]; tiles that are not there are 0.
  static void inputs(Work& work, const float* x, int count) {
    for (int tile = 0; tile < 4 * count; tile++) {
      const float* from = x + tile / 4 * IMAGE + (tile / 2 % 2 * 2 * SIZE + tile % 2 * 2) * C;
      for (int c = 0; c < C; c += WC) {
        FC d[4][4], v[4][4];
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < 4; j++) d[i][j] = load<FC>(from + (i * SIZE + j) * C + c);
        input_map(d, v);
        for (int k = 0; k < 16; k++) store(work.v[k] + tile * C + c, v[k / 4][k % 4]);
      }
    }
    if (count < CHUNK)
      for (int k = 0; k < 16; k++) std::memset(work.v[k] + 4 * count * C, 0, (TILES - 4 * count) * C * sizeof(float));
  }

  // M = sum over channels of U * V, as [16][tile][O].
  template <class Ahead> static void multiply(Work& work, Ahead ahead) {
    for (int k = 0; k < 16; k++) {
      ahead(k);
      product<TILES, C, O, C, 1, false>(work.v[k], work.u[k], work.m[k]);
    }
  }

  INLINE void outputs(const Work& work, int tile, int o, F (&z)[2][2]) {
    F m[4][4];
    for (int k = 0; k < 16; k++) m[k / 4][k % 4] = load<F>(work.m[k] + tile * O + o);
    output_map(m, z);
  }

  // From [tile][O], as all is computed, to y's [O][tile] and back: the four windows of an image are its 2x2 outputs.
  static void write(const float* pooled, float* y, long step, int count) {
    for (int n = 0; n < count; n++, pooled += POOLED, y += step)
      for (int o = 0; o < O; o++)
        for (int tile = 0; tile < 4; tile++) y[4 * o + tile] = pooled[tile * O + o];
  }
  // The gradient of the pooled maximum, before the normalisation's scale: 0 where the ReLU is off.
  static void read(const float* y, const float* gy, float* pooled, long step, int count) {
    alignas(64) float g[POOLED];
    for (int n = 0; n < count; n++, pooled += POOLED, y += step, gy += step) {
      for (int i = 0; i < POOLED; i += WIDEST) {
        const L off = {};
        store(g + i, load<L>(y + i) > off ? load<L>(gy + i) : off);
      }
      for (int o = 0; o < O; o++)
        for (int tile = 0; tile < 4; tile++) pooled[tile * O + o] = g[4 * o + tile];
    }
  }

  // The pooling takes the greatest z although it stands behind the normalisation: where gamma < 0, the filter's sign is
  // turned and gamma's with it.
  static void signs(Work& work, const float* gamma) {
    for (int o = 0; o < O; o++) work.sign[o] = gamma[o] < 0 ? -1.f : 1.f;
  }

  static void forward(Work& work, long batch, long digits, const float* x, const float* w, const float* gamma,
                      const float* beta, double eps, float* y, float* mean, float* var, float* kept) {
    const long step = digits * POOLED;  // in y, from one image of a digit to the next
    signs(work, gamma);
    filters<false>(work, w, work.sign, work.u);
    for (long d = 0; d < digits; d++) {
      float *z = kept, *p = kept + batch * MAP;
      double first[O] = {}, second[O] = {};
      for (long n = 0; n < batch; n += CHUNK) {
        const int count = std::min<long>(CHUNK, batch - n);
        inputs(work, x + n * IMAGE, count);
        multiply(work, [&](int part) INLINED {
          prefetch<READ>(x + (n + CHUNK) * IMAGE, CHUNK * IMAGE, part);
          prefetch<WRITE>(z + n * MAP, count * MAP, part);
          prefetch<WRITE>(p + n * POOLED, count * POOLED, part);
        });
        for (int o = 0; o < O; o += WO) {
          F sum = {}, squares = {};
          for (int tile = 0; tile < 4 * count; tile++) {
            F t[2][2];
            outputs(work, tile, o, t);
            float* to = z + n * MAP + tile * 4 * O + o;
            for (int e = 0; e < 4; e++) store(to + e * O, t[e / 2][e % 2]);
            store(p + n * POOLED + tile * O + o, greatest_of(t));
            sum += (t[0][0] + t[0][1]) + (t[1][0] + t[1][1]);
            squares += (t[0][0] * t[0][0] + t[0][1] * t[0][1]) + (t[1][0] * t[1][0] + t[1][1] * t[1][1]);
          }
          for (int l = 0; l < WO; l++) first[o + l] += sum[l], second[o + l] += squares[l];
        }
      }
      const double n = (double)batch * POSITIONS;
      for (int o = 0; o < O; o++) {
        const double m = first[o] / n, s = std::max(second[o] / n - m * m, 0.);
        const double scale = std::abs(gamma[o]) / std::sqrt(s + eps);
        mean[o] = m * work.sign[o], var[o] = s, work.scale[o] = scale, work.shift[o] = beta[o] - m * scale;
        if (gamma[o] == 0)  // normalised, all positions are equal: the first of each window is the greatest
          for (long i = 0; i < batch * 4; i++) p[i * O + o] = z[i * 4 * O + o];
      }
      for (long n = 0; n < batch; n++) {
        for (int o = 0; o < O; o += WO) {
          const F scale = load<F>(work.scale + o), shift = load<F>(work.shift + o);
          for (int i = o; i < POOLED; i += O) store(work.pooled + i, relu(load<F>(p + n * POOLED + i) * scale + shift));
        }
        write(work.pooled, y + n * step, step, 1);
      }
      x += batch * IMAGE, y += POOLED, mean += O, var += O, kept += saved(batch);
    }
  }

  static void test(Work& work, long batch, long digits, const float* x, const float* w, const float* scale,
                   const float* shift, float* y) {
    const long step = digits * POOLED;
    filters<false>(work, w, scale, work.u);
    for (long d = 0; d < digits; d++, x += batch * IMAGE, y += POOLED)
      for (long n = 0; n < batch; n += CHUNK) {
        const int count = std::min<long>(CHUNK, batch - n);
        inputs(work, x + n * IMAGE, count);
        multiply(work, [&](int part) INLINED { prefetch<READ>(x + (n + CHUNK) * IMAGE, CHUNK * IMAGE, part); });
        for (int o = 0; o < O; o += WO) {
          const F plus = load<F>(shift + o);
          for (int tile = 0; tile < 4 * count; tile++) {
            F z[2][2];
            outputs(work, tile, o, z);
            store(work.pooled + tile * O + o, relu(greatest_of(z) + plus));
          }
        }
        write(work.pooled, y + n * step, step, count);
      }
  }

  static void backward(Work& work, long batch, long digits, const float* gy, const float* x, const float* w,
                       const float* gamma, const float* mean, const float* var, double eps, const float* y,
                       const float* kept, float* dx, float* dw, float* dgamma, float* dbeta) {
    const long step = digits * POOLED;  // in y, from one image of a digit to the next
    signs(work, gamma);
    if (dx) filters<true>(work, w, work.sign, work.ut);
    std::memset(work.du, 0, sizeof work.du);
    double sum_gamma[O] = {}, sum_beta[O] = {};
    for (long d = 0; d < digits; d++) {
      const float *z = kept, *p = kept + batch * MAP;
      double total[O] = {}, along[O] = {};  // sums of g and of g z, a few images at a time
      for (long n = 0; n < batch; n += CHUNK) {
        const int count = std::min<long>(CHUNK, batch - n);
        read(y + n * step, gy + n * step, work.pooled, step, count);
        for (int o = 0; o < O; o += WO) {
          F sum = {}, weighted = {};
          for (int i = o; i < count * POOLED; i += O) {
            const F g = load<F>(work.pooled + i);
            sum += g, weighted += g * load<F>(p + n * POOLED + i);
          }
          for (int l = 0; l < WO; l++) total[o + l] += sum[l], along[o + l] += weighted[l];
        }
      }
      for (int o = 0; o < O; o++) {
        const double m = (double)mean[o] * work.sign[o], rstd = 1 / std::sqrt(var[o] + eps);
        const double gradient = (along[o] - m * total[o]) * rstd;
        const Affine dz(std::abs(gamma[o]), m, rstd, gradient, total[o], (double)batch * POSITIONS);
        work.scale[o] = dz.scale, work.slope[o] = dz.slope, work.offset[o] = dz.offset;
        sum_gamma[o] += gradient * work.sign[o], sum_beta[o] += total[o];
      }
      for (long n = 0; n < batch; n += CHUNK) {
        const int count = std::min<long>(CHUNK, batch - n);
        inputs(work, x + n * IMAGE, count);
        read(y + n * step, gy + n * step, work.pooled, step, count);
        output_gradients(work, z + n * MAP, p + n * POOLED, count);
        multiply_filters(work, [&](int part) INLINED {
          prefetch<READ>(x + (n + CHUNK) * IMAGE, CHUNK * IMAGE, part);
        });
        if (dx) {
          multiply_inputs(work, [&](int part) INLINED {
            prefetch<READ>(z + (n + CHUNK) * MAP, CHUNK * MAP, part);
            prefetch<WRITE>(dx + n * IMAGE, count * IMAGE, part);
          });
          input_gradients(work, dx + n * IMAGE, count);
        }
      }
      x += batch * IMAGE, y += POOLED, gy += POOLED, mean += O, var += O, kept += saved(batch);
      if (dx) dx += batch * IMAGE;
    }
    for (int at = 0; at < C * O; at += WIDEST) {
      L u[4][4], g[3][3];
      for (int k = 0; k < 16; k++) u[k / 4][k % 4] = load<L>(work.du[k] + at);
      filter_gradient(u, g);
      for (int k = 0; k < 9; k++) store(work.g[k] + at, g[k / 3][k % 3]);
    }
    for (int o = 0; o < O; o++)
      for (int c = 0; c < C; c++)
        for (int k = 0; k < 9; k++) dw[(o * C + c) * 9 + k] = work.g[k][c * O + o] * work.sign[o];
    for (int o = 0; o < O; o++) dgamma[o] = sum_gamma[o], dbeta[o] = sum_beta[o];
  }

  // dM = A dz A^T, with dz = scale g (at the first greatest of the window) + slope z + offset.
  static void output_gradients(Work& work, const float* z, const float* p, int count) {
    for (int o = 0; o < O; o += WO) {
      const F scale = load<F>(work.scale + o), slope = load<F>(work.slope + o), offset = load<F>(work.offset + o);
      for (int tile = 0; tile < 4 * count; tile++) {
        const int at = tile * O + o;
        const F greatest = load<F>(p + at);
        F g = load<F>(work.pooled + at) * scale;
        F dz[2][2];
        for (int e = 0; e < 4; e++) {
          const F here = load<F>(z + (tile * 4 + e) * O + o);
          const I it = here == greatest;
          dz[e / 2][e % 2] = here * slope + offset + (it ? g : F{});
          g = it ? F{} : g;
        }
        UNROLL for (int i = 0; i < 4; i++) {
          F m[4];
          output_gradient(dz, i, m);
          for (int j = 0; j < 4; j++) store(work.m[4 * i + j] + at, m[j]);
        }
      }
    }
    if (count < CHUNK)
      for (int k = 0; k < 16; k++) std::memset(work.m[k] + 4 * count * O, 0, (TILES - 4 * count) * O * sizeof(float));
  }

  template <class Ahead> static void multiply_filters(Work& work, Ahead ahead) {  // dU += sum over tiles of V * dM
    for (int k = 0; k < 16; k++) {
      ahead(k);
      product<C, TILES, O, 1, C, true>(work.v[k], work.m[k], work.du[k]);
    }
  }
  template <class Ahead> static void multiply_inputs(Work& work, Ahead ahead) {  // dV = sum over outputs of U * dM
    for (int k = 0; k < 16; k++) {
      ahead(k);
      product<TILES, O, C, O, 1, false>(work.m[k], work.ut[k], work.dv[k]);
    }
  }

  // dx = B dV B^T, summed where tiles overlap.
  static void input_gradients(const Work& work, float* dx, int count) {
    for (int n = 0; n < count; n++, dx += IMAGE)
      for (int c = 0; c < C; c += WC)
        for (int tile = 0; tile < 4; tile++) {
          const int top = tile / 2 * 2, left = tile % 2 * 2;
          FC v[4][4], d[4][4];
          for (int k = 0; k < 16; k++) v[k / 4][k % 4] = load<FC>(work.dv[k] + (n * 4 + tile) * C + c);
          input_gradient(v, d);
          for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) {
              float* to = dx + ((top + i) * SIZE + left + j) * C + c;
              const bool again = (top && i < 2) || (left && j < 2);
              store(to, again ? load<FC>(to) + d[i][j] : d[i][j]);
            }
        }
  }
};

// ---- The shapes that are compiled: the project's widths, half and twice of them -------------------------------------

template <class... Blocks> struct Table {
  // Calls `call(block)` with the block of this shape; 1 if there is none.
  template <class Call> static int find(int channels, int outputs, int size, Call call) {
    auto attempt = [&](auto block) {
      using B = decltype(block);
      return B::CHANNELS == channels && B::O == outputs && B::SIZE == size && (call(block), true);
    };
    return (attempt(Blocks{}) || ...) ? 0 : 1;
  }
};
using Blocks = Table<First<8>, First<16>, First<32>, Second<8, 16>, Second<16, 32>, Second<32, 64>>;

}  // namespace

// All functions return 0, or 1 where these channels and this size are not compiled.
extern "C" {

// How many floats `forward` keeps for `backward`, per trial; 0 where the shape is not compiled.
long fused_saved(int channels, int outputs, int size, long batch, long digits) {
  long count = 0;
  Blocks::find(channels, outputs, size, [&](auto block) { count = digits * block.saved(batch); });
  return count;
}

int fused_forward(int channels, int outputs, int size, long trials, long batch, long digits, const float* x,
                  const float* w, const float* gamma, const float* beta, double eps, float* y, float* mean, float* var,
                  float* saved) {
  return Blocks::find(channels, outputs, size, [&](auto block) {
    using B = decltype(block);
    auto work = std::make_unique<typename B::Work>();
    const long images = digits * batch, kept = digits * B::saved(batch);
    for (long t = 0; t < trials; t++)
      B::forward(*work, batch, digits, x + t * images * B::IMAGE, w + t * B::O * B::CHANNELS * 9, gamma + t * B::O,
                 beta + t * B::O, eps, y + t * images * B::POOLED, mean + t * digits * B::O, var + t * digits * B::O,
                 saved + t * kept);
  });
}

// dx may be null: then it is not computed. The first block never computes it.
int fused_backward(int channels, int outputs, int size, long trials, long batch, long digits, const float* gy,
                   const float* x, const float* w, const float* gamma, const float* mean, const float* var, double eps,
                   const float* y, const float* saved, float* dx, float* dw, float* dgamma, float* dbeta) {
  return Blocks::find(channels, outputs, size, [&](auto block) {
    using B = decltype(block);
    auto work = std::make_unique<typename B::Work>();
    const long images = digits * batch, kept = digits * B::saved(batch), filter = B::O * B::CHANNELS * 9;
    for (long t = 0; t < trials; t++)
      B::backward(*work, batch, digits, gy + t * images * B::POOLED, x + t * images * B::IMAGE, w + t * filter,
                  gamma + t * B::O, mean + t * digits * B::O, var + t * digits * B::O, eps, y + t * images * B::POOLED,
                  saved + t * kept, dx ? dx + t * images * B::IMAGE : nullptr, dw + t * filter, dgamma + t * B::O,
                  dbeta + t * B::O);
  });
}

// With running statistics instead of those of a batch: z scale + shift.
int fused_test(int channels, int outputs, int size, long trials, long batch, long digits, const float* x,
               const float* w, const float* gamma, const float* beta, const float* mean, const float* var, double eps, float* y) {
  return Blocks::find(channels, outputs, size, [&](auto block) {
    using B = decltype(block);
    auto work = std::make_unique<typename B::Work>();
    const long images = digits * batch;
    for (long t = 0; t < trials; t++) {
      for (long o = 0; o < B::O; o++) {
        const long at = t * B::O + o;
        const double scale = gamma[at] / std::sqrt(var[at] + eps);
        work->scale[o] = scale, work->shift[o] = beta[at] - mean[at] * scale;
      }
      B::test(*work, batch, digits, x + t * images * B::IMAGE, w + t * B::O * B::CHANNELS * 9, work->scale, work->shift,
              y + t * images * B::POOLED);
    }
  });
}
}
