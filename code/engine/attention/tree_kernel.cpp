// Attention over a packed prefix tree and its gradients, block by block, on a CPU; see tree_kernel.py.
//
// A task is a block of consecutive queries for one head of keys; the heads of its group ask together. All scores are
// held transposed, (keys, queries): a key is visible to a run of queries, so masks are fills of runs, and the softmax
// goes over rows, eight or sixteen queries at once. Products are those of oneDNN's brgemm, which sums in fp32; in bf16
// it reads its second factor in pairs of rows (VNNI). Probabilities are rounded to the input's type, as elsewhere.

#include <ATen/native/CPUBlas.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <type_traits>
#include <vector>

using at::BFloat16;

namespace {

constexpr int64_t LANES = 16;  // sizes are rounded up to it: pairs of rows, whole vectors
constexpr float NEVER = -std::numeric_limits<float>::infinity();

int64_t padded(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// Of one tree: blocks of queries [starts[b], starts[b + 1]) and their keys, keys[offsets[b]] to keys[offsets[b + 1]].
struct Tree {
  const int64_t *starts, *offsets;
  const int32_t *keys, *end, *depth;
  int64_t blocks, nodes, reach;  // reach 0: the whole path is seen

  int64_t queries(int64_t block) const { return starts[block + 1] - starts[block]; }
  int64_t seen(int64_t block) const { return offsets[block + 1] - offsets[block]; }
};

struct Shape {
  int64_t heads, kv_heads, width, value_width;  // width: of queries and keys
  float scale;

  int64_t group() const { return heads / kv_heads; }
};

// exp for x <= 0, to about 2 units in the last place; 0 below -80. Plain arithmetic, so that compilers vectorize it.
inline float exponential(float x) {
  const float power = x * 1.44269504f;
  const float whole = std::nearbyint(power);
  const float part = (power - whole) * 0.69314718f;
  float value = 1.0f / 720;
  value = value * part + 1.0f / 120;
  value = value * part + 1.0f / 24;
  value = value * part + 1.0f / 6;
  value = value * part + 0.5f;
  value = value * part + 1.0f;
  value = value * part + 1.0f;
  const int32_t exponent = static_cast<int32_t>(std::max(whole, -126.0f)) + 127;
  const uint32_t bits = static_cast<uint32_t>(exponent) << 23;
  float factor;
  std::memcpy(&factor, &bits, sizeof factor);
  return x < -80.0f ? 0.0f : value * factor;
}

// Round to nearest even, as torch does; no NaN comes here.
inline uint16_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float widened(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

inline float to_float(float value) { return value; }
inline float to_float(BFloat16 value) { return widened(value.x); }
inline void store(float value, float& place) { place = value; }
inline void store(float value, BFloat16& place) { place.x = rounded(value); }

using Words = uint32_t __attribute__((vector_size(32)));
constexpr int64_t TILE = 8;  // words of a vector; every size that is transposed is a multiple

// (rows, columns) words -> (columns, rows).
void transpose(int64_t rows, int64_t columns, const uint32_t* source, uint32_t* result) {
  for (int64_t r = 0; r < rows; r += TILE)
    for (int64_t c = 0; c < columns; c += TILE) {
      Words line[TILE], pair[TILE], four[TILE];
      for (int64_t i = 0; i < TILE; ++i) std::memcpy(&line[i], source + (r + i) * columns + c, sizeof(Words));
      for (int64_t i = 0; i < TILE; i += 2) {
        pair[i] = __builtin_shufflevector(line[i], line[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pair[i + 1] = __builtin_shufflevector(line[i], line[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
      }
      for (int64_t i = 0; i < TILE; i += 4)
        for (int64_t j = 0; j < 2; ++j) {
          four[i + 2 * j] = __builtin_shufflevector(pair[i + j], pair[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
          four[i + 2 * j + 1] = __builtin_shufflevector(pair[i + j], pair[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
        }
      for (int64_t i = 0; i < TILE / 2; ++i) {
        const Words low = __builtin_shufflevector(four[i], four[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        const Words high = __builtin_shufflevector(four[i], four[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        std::memcpy(result + (c + i) * rows + r, &low, sizeof(Words));
        std::memcpy(result + (c + i + TILE / 2) * rows + r, &high, sizeof(Words));
      }
    }
}

void transpose(int64_t rows, int64_t columns, const float* source, float* result) {
  transpose(rows, columns, reinterpret_cast<const uint32_t*>(source), reinterpret_cast<uint32_t*>(result));
}

// Two rows of bf16 -> (columns) words, the first row's number in the lower half.
inline void interleave(int64_t columns, const BFloat16* first, const BFloat16* second, uint32_t* words) {
  for (int64_t c = 0; c < columns; ++c)
    words[c] = static_cast<uint32_t>(first[c].x) | static_cast<uint32_t>(second[c].x) << 16;
}

// One second factor of a product, (rows, columns) as brgemm reads it; rows is even.
template <typename T>
struct Factor {
  std::vector<T> data;

  void from_rows(int64_t rows, int64_t columns, const T* source) {
    data.resize(rows * columns);
    if constexpr (std::is_same_v<T, float>) {
      std::memcpy(data.data(), source, rows * columns * sizeof(T));
    } else {
      uint32_t* words = reinterpret_cast<uint32_t*>(data.data());
      for (int64_t r = 0; r < rows; r += 2)
        interleave(columns, source + r * columns, source + (r + 1) * columns, words + r / 2 * columns);
    }
  }

  // Of the transposed: source (columns, rows).
  void from_columns(int64_t rows, int64_t columns, const T* source) {
    data.resize(rows * columns);
    const int64_t words = rows * sizeof(T) / sizeof(uint32_t);  // in bf16 pairs of a row stay pairs
    transpose(columns, words, reinterpret_cast<const uint32_t*>(source), reinterpret_cast<uint32_t*>(data.data()));
  }
};

// (rows, columns) = first (rows, inner) times second (inner, columns).
template <typename T>
void product(int64_t rows, int64_t columns, int64_t inner, const T* first, const Factor<T>& second, float* result) {
  at::native::cpublas::brgemm(rows, columns, inner, inner, columns, columns, false, first, second.data.data(), result,
                              !std::is_same_v<T, float>);
}

// What a thread needs for one task after another.
template <typename T>
struct Bench {
  std::vector<T> key, value, turned, query, gradient, probability, d_score;
  std::vector<float> score, d_probability, result, highest, total, logarithm, delta, upright;
  Factor<T> query_columns, gradient_columns, query_rows, gradient_rows, weights, scratch;
};

// Rows of a (nodes, heads, width) table, one for each key; rows of padding are 0.
template <typename T>
void gather_keys(const Tree& tree, int64_t block, int64_t head, int64_t heads, int64_t width, const T* table,
                 std::vector<T>& rows) {
  const int64_t seen = tree.seen(block);
  rows.assign(padded(seen) * width, T(0.0f));
  const int32_t* keys = tree.keys + tree.offsets[block];
  for (int64_t k = 0; k < seen; ++k)
    std::memcpy(&rows[k * width], table + (keys[k] * heads + head) * width, width * sizeof(T));
}

// The block's queries, those of a group's heads side by side; rows of padding are 0.
template <typename T>
void gather_queries(const Tree& tree, const Shape& shape, int64_t block, int64_t head, int64_t width, const T* table,
                    std::vector<T>& rows) {
  const int64_t group = shape.group(), queries = tree.queries(block);
  rows.assign(padded(queries * group) * width, T(0.0f));
  for (int64_t q = 0; q < queries; ++q) {
    const int64_t node = tree.starts[block] + q;
    std::memcpy(&rows[q * group * width], table + (node * shape.heads + head * group) * width,
                group * width * sizeof(T));
  }
}

// (rows, columns) -> (columns, rows); scratch: of a Factor's size.
void turn(int64_t rows, int64_t columns, const std::vector<float>& source, std::vector<float>& result,
          Factor<float>&) {
  result.resize(rows * columns);
  transpose(rows, columns, source.data(), result.data());
}

void turn(int64_t rows, int64_t columns, const std::vector<BFloat16>& source, std::vector<BFloat16>& result,
          Factor<BFloat16>& scratch) {
  scratch.from_rows(rows, columns, source.data());
  result.resize(rows * columns);
  transpose(rows / 2, columns, reinterpret_cast<const uint32_t*>(scratch.data.data()),
            reinterpret_cast<uint32_t*>(result.data()));
}

// (width, queries) of the block -> the rows of its queries in a (nodes, heads, width) table. factors: of each query.
template <typename T>
void scatter_queries(const Tree& tree, const Shape& shape, int64_t block, int64_t head, int64_t width,
                     const std::vector<float>& result, const float* factors, T* table, std::vector<float>& turned) {
  const int64_t group = shape.group(), queries = tree.queries(block) * group, columns = padded(queries);
  turned.resize(width * columns);
  transpose(width, columns, result.data(), turned.data());
  for (int64_t c = 0; c < queries; ++c) {
    T* place = table + ((tree.starts[block] + c / group) * shape.heads + head * group + c % group) * width;
    const float factor = factors ? factors[c] : 1.0f;
    for (int64_t w = 0; w < width; ++w) store(turned[c * width + w] * factor, place[w]);
  }
}

// Scores (keys, queries) that nobody may see become -inf.
void hide(const Tree& tree, int64_t block, int64_t group, float* score) {
  const int64_t start = tree.starts[block], queries = tree.queries(block), seen = tree.seen(block);
  const int64_t columns = padded(queries * group), rows = padded(seen);
  const int32_t* keys = tree.keys + tree.offsets[block];
  for (int64_t k = 0; k < seen; ++k) {
    float* row = score + k * columns;
    const int64_t first = std::max<int64_t>(keys[k] - start, 0);
    const int64_t last = std::min<int64_t>(tree.end[keys[k]] - start, queries);
    std::fill(row, row + first * group, NEVER);
    std::fill(row + last * group, row + columns, NEVER);
    for (int64_t q = first; tree.reach && q < last; ++q)
      if (tree.depth[start + q] - tree.depth[keys[k]] >= tree.reach)
        std::fill(row + q * group, row + (q + 1) * group, NEVER);
  }
  std::fill(score + seen * columns, score + rows * columns, NEVER);
}

// Weights (keys, queries) from two rows of floats at a time into the second factor of a product.
template <typename T>
void place_rows(int64_t pair, int64_t columns, const float* first, const float* second, Factor<T>& factor) {
  T* place = &factor.data[pair * columns];
  if constexpr (std::is_same_v<T, float>) {
    std::memcpy(place, first, columns * sizeof(T));
    std::memcpy(place + columns, second, columns * sizeof(T));
  } else {
    uint32_t* words = reinterpret_cast<uint32_t*>(place);
    for (int64_t c = 0; c < columns; ++c)
      words[c] = static_cast<uint32_t>(rounded(first[c])) | static_cast<uint32_t>(rounded(second[c])) << 16;
  }
}

template <typename T>
void answer(const Tree& tree, const Shape& shape, int64_t block, int64_t head, const T* query, const T* key,
            const T* value, T* output, float* logarithm, Bench<T>& bench) {
  const int64_t group = shape.group(), queries = tree.queries(block) * group;
  const int64_t columns = padded(queries), rows = padded(tree.seen(block)), width = shape.width;
  gather_keys(tree, block, head, shape.kv_heads, width, key, bench.key);
  gather_keys(tree, block, head, shape.kv_heads, shape.value_width, value, bench.value);
  gather_queries(tree, shape, block, head, width, query, bench.query);
  bench.query_columns.from_columns(width, columns, bench.query.data());
  bench.score.resize(rows * columns);
  float* score = bench.score.data();
  product(rows, columns, width, bench.key.data(), bench.query_columns, score);
  hide(tree, block, group, score);

  bench.highest.assign(columns, NEVER);
  bench.total.assign(columns, 0.0f);
  float *highest = bench.highest.data(), *total = bench.total.data();
  for (int64_t k = 0; k < rows; ++k)
    for (int64_t c = 0; c < columns; ++c)
      highest[c] = score[k * columns + c] > highest[c] ? score[k * columns + c] : highest[c];
  for (int64_t c = queries; c < columns; ++c) highest[c] = 0.0f;
  for (int64_t k = 0; k < rows; ++k) {
    float* row = score + k * columns;
    for (int64_t c = 0; c < columns; ++c) {
      row[c] = exponential((row[c] - highest[c]) * shape.scale);
      total[c] += row[c];
    }
  }
  bench.weights.data.resize(rows * columns);
  for (int64_t k = 0; k < rows; k += 2)
    place_rows(k, columns, score + k * columns, score + (k + 1) * columns, bench.weights);
  turn(rows, shape.value_width, bench.value, bench.turned, bench.scratch);
  bench.result.resize(shape.value_width * columns);
  product(shape.value_width, columns, rows, bench.turned.data(), bench.weights, bench.result.data());

  for (int64_t c = 0; c < queries; ++c) {
    const int64_t place = (tree.starts[block] + c / group) * shape.heads + head * group + c % group;
    logarithm[place] = highest[c] * shape.scale + std::log(total[c]);
    total[c] = 1.0f / total[c];
  }
  scatter_queries(tree, shape, block, head, shape.value_width, bench.result, total, output, bench.upright);
}

template <typename T>
void add_rows(const Tree& tree, int64_t block, int64_t head, int64_t heads, int64_t width, const float* rows,
              float* sums) {
  const int32_t* keys = tree.keys + tree.offsets[block];
  for (int64_t k = 0; k < tree.seen(block); ++k) {
    float* place = sums + (keys[k] * heads + head) * width;
    for (int64_t c = 0; c < width; ++c) place[c] += rows[k * width + c];
  }
}

// logarithm, delta: of every query, in the block's order; those of padding are 0.
template <typename T>
void gather_sums(const Tree& tree, const Shape& shape, int64_t block, int64_t head, const T* output,
                 const T* gradient, const float* logarithm, Bench<T>& bench) {
  const int64_t group = shape.group(), queries = tree.queries(block) * group, columns = padded(queries);
  bench.logarithm.assign(columns, 0.0f);
  bench.delta.assign(columns, 0.0f);
  for (int64_t c = 0; c < queries; ++c) {
    const int64_t place = (tree.starts[block] + c / group) * shape.heads + head * group + c % group;
    bench.logarithm[c] = logarithm[place];
    const T *said = output + place * shape.value_width, *back = gradient + place * shape.value_width;
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t e = 0; e < shape.value_width; ++e) sum += to_float(said[e]) * to_float(back[e]);
    bench.delta[c] = sum;
  }
}

template <typename T>
void take_back(const Tree& tree, const Shape& shape, int64_t block, int64_t head, const T* query, const T* key,
               const T* value, const T* output, const T* gradient, const float* logarithm, T* d_query, float* d_key,
               float* d_value, Bench<T>& bench) {
  const int64_t group = shape.group(), queries = tree.queries(block) * group;
  const int64_t columns = padded(queries), rows = padded(tree.seen(block));
  const int64_t width = shape.width, value_width = shape.value_width;
  gather_keys(tree, block, head, shape.kv_heads, width, key, bench.key);
  gather_keys(tree, block, head, shape.kv_heads, value_width, value, bench.value);
  gather_queries(tree, shape, block, head, width, query, bench.query);
  gather_queries(tree, shape, block, head, value_width, gradient, bench.gradient);
  gather_sums(tree, shape, block, head, output, gradient, logarithm, bench);
  bench.query_columns.from_columns(width, columns, bench.query.data());
  bench.gradient_columns.from_columns(value_width, columns, bench.gradient.data());
  bench.query_rows.from_rows(columns, width, bench.query.data());
  bench.gradient_rows.from_rows(columns, value_width, bench.gradient.data());
  bench.score.resize(rows * columns);
  bench.d_probability.resize(rows * columns);
  product(rows, columns, width, bench.key.data(), bench.query_columns, bench.score.data());
  product(rows, columns, value_width, bench.value.data(), bench.gradient_columns, bench.d_probability.data());
  hide(tree, block, group, bench.score.data());

  bench.probability.resize(rows * columns);
  bench.d_score.resize(rows * columns);
  const float *log_total = bench.logarithm.data(), *delta = bench.delta.data();
  for (int64_t k = 0; k < rows; ++k) {
    const float *score = &bench.score[k * columns];
    float* d_probability = &bench.d_probability[k * columns];
    T *probability = &bench.probability[k * columns], *d_score = &bench.d_score[k * columns];
    for (int64_t c = 0; c < columns; ++c) {
      const float share = exponential(std::min(score[c] * shape.scale - log_total[c], 0.0f));
      const float change = share * (d_probability[c] - delta[c]) * shape.scale;
      store(share, probability[c]);
      store(change, d_score[c]);
      d_probability[c] = change;
    }
  }
  bench.result.resize(std::max(rows * std::max(width, value_width), width * columns));
  product(rows, value_width, columns, bench.probability.data(), bench.gradient_rows, bench.result.data());
  add_rows<T>(tree, block, head, shape.kv_heads, value_width, bench.result.data(), d_value);
  product(rows, width, columns, bench.d_score.data(), bench.query_rows, bench.result.data());
  add_rows<T>(tree, block, head, shape.kv_heads, width, bench.result.data(), d_key);

  bench.weights.data.resize(rows * columns);
  for (int64_t k = 0; k < rows; k += 2)
    place_rows(k, columns, &bench.d_probability[k * columns], &bench.d_probability[(k + 1) * columns], bench.weights);
  turn(rows, width, bench.key, bench.turned, bench.scratch);
  product(width, columns, rows, bench.turned.data(), bench.weights, bench.result.data());
  scatter_queries<T>(tree, shape, block, head, width, bench.result, nullptr, d_query, bench.upright);
}

// The first task of each of `parts` runs of tasks that cost about the same; tasks go head by head, block by block.
std::vector<int64_t> share_out(const Tree& tree, int64_t heads, int64_t parts) {
  std::vector<double> costs(tree.blocks + 1, 0.0);
  for (int64_t b = 0; b < tree.blocks; ++b)
    costs[b + 1] = costs[b] + static_cast<double>(padded(tree.seen(b))) * static_cast<double>(tree.queries(b));
  std::vector<int64_t> starts;
  for (int64_t part = 0, task = 0; part < parts; ++part) {
    const double before = costs[tree.blocks] * static_cast<double>(heads * part) / static_cast<double>(parts);
    while (task < heads * tree.blocks &&
           static_cast<double>(task / tree.blocks) * costs[tree.blocks] + costs[task % tree.blocks] < before)
      ++task;
    starts.push_back(task);
  }
  starts.push_back(heads * tree.blocks);
  return starts;
}

// A thread's share of the sums of all parts, which lie `apart` floats from each other.
template <typename T>
void add_parts(int64_t size, int64_t own, int64_t team, int64_t parts, int64_t apart, float* sums, T* result) {
  const int64_t from = size * own / team, to = size * (own + 1) / team;
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t place = from; place < to; ++place) sums[place] += sums[part * apart + place];
  for (int64_t place = from; place < to; ++place) store(sums[place], result[place]);
}

template <typename T>
void attend(const Tree& tree, const Shape& shape, int64_t threads, const T* query, const T* key, const T* value,
            T* output, float* logarithm) {
  const std::vector<int64_t> starts = share_out(tree, shape.kv_heads, threads);
#pragma omp parallel num_threads(threads)
  {
    const int64_t team = omp_get_num_threads();
    static thread_local Bench<T> bench;
    for (int64_t part = omp_get_thread_num(); part < threads; part += team)
      for (int64_t task = starts[part]; task < starts[part + 1]; ++task)
        answer(tree, shape, task % tree.blocks, task / tree.blocks, query, key, value, output, logarithm, bench);
    at::native::cpublas::brgemm_release(!std::is_same_v<T, float>);
  }
}

template <typename T>
void attend_back(const Tree& tree, const Shape& shape, int64_t threads, const T* query, const T* key, const T* value,
                 const T* output, const T* gradient, const float* logarithm, T* d_query, T* d_key, T* d_value,
                 float* sums) {
  const std::vector<int64_t> starts = share_out(tree, shape.kv_heads, threads);
  const int64_t keys = tree.nodes * shape.kv_heads * shape.width;
  const int64_t values = tree.nodes * shape.kv_heads * shape.value_width, both = keys + values;
#pragma omp parallel num_threads(threads)
  {
    const int64_t team = omp_get_num_threads(), own = omp_get_thread_num();
    static thread_local Bench<T> bench;
    for (int64_t part = own; part < threads; part += team) {
      float* mine = sums + part * both;
      std::memset(mine, 0, both * sizeof(float));
      for (int64_t task = starts[part]; task < starts[part + 1]; ++task)
        take_back(tree, shape, task % tree.blocks, task / tree.blocks, query, key, value, output, gradient, logarithm,
                  d_query, mine, mine + keys, bench);
    }
    at::native::cpublas::brgemm_release(!std::is_same_v<T, float>);
#pragma omp barrier
    // The parts are added in their order, so that equal thread counts give equal bits.
    add_parts(keys, own, team, threads, both, sums, d_key);
    add_parts(values, own, team, threads, both, sums + keys, d_value);
  }
}

}  // namespace

extern "C" {

// Whether this processor multiplies numbers of the kind: an exception of brgemm must not leave a parallel region.
int64_t erc_supports(int64_t is_float) {
  const auto run = [](auto kind) {
    using T = decltype(kind);
    const std::vector<T> first(LANES * LANES, T(0.0f));
    Factor<T> second;
    second.from_rows(LANES, LANES, first.data());
    std::vector<float> result(LANES * LANES);
    product(LANES, LANES, LANES, first.data(), second, result.data());
    at::native::cpublas::brgemm_release(!std::is_same_v<T, float>);
  };
  try {
    is_float ? run(float()) : run(BFloat16());
    return 1;
  } catch (const std::exception&) {
    return 0;
  }
}

void erc_attend(const Tree* tree, const Shape* shape, int64_t threads, int64_t is_float, const void* query,
                const void* key, const void* value, void* output, float* logarithm) {
  const auto run = [&](auto kind) {
    using T = decltype(kind);
    attend<T>(*tree, *shape, threads, static_cast<const T*>(query), static_cast<const T*>(key),
              static_cast<const T*>(value), static_cast<T*>(output), logarithm);
  };
  is_float ? run(float()) : run(BFloat16());
}

// sums: (threads, nodes * kv_heads * (width + value_width)) of work space.
void erc_attend_back(const Tree* tree, const Shape* shape, int64_t threads, int64_t is_float, const void* query,
                     const void* key, const void* value, const void* output, const void* gradient,
                     const float* logarithm, void* d_query, void* d_key, void* d_value, float* sums) {
  const auto run = [&](auto kind) {
    using T = decltype(kind);
    attend_back<T>(*tree, *shape, threads, static_cast<const T*>(query), static_cast<const T*>(key),
                   static_cast<const T*>(value), static_cast<const T*>(output), static_cast<const T*>(gradient),
                   logarithm, static_cast<T*>(d_query), static_cast<T*>(d_key), static_cast<T*>(d_value), sums);
  };
  is_float ? run(float()) : run(BFloat16());
}

}  // extern "C"
